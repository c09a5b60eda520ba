"""What Exchange makes of a raw mail: an HTML or text body, the part of it that is new, and attachments.

The part that is new (`uniqueBody`) ends at the first reply marker: in HTML an element that begins with one of
`HTML_MARKERS`, in text a line that is `TEXT_MARKER` or says `On … wrote:`. The real rule compares the mails of a
conversation; who writes a seed with a reply uses a marker.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value
from html.parser import HTMLParser

from tests.emulator.mails import Mail, decoded

HTML_MARKERS = ('<div id="divRplyFwdMsg"', '<div class="gmail_quote"', '<div id="appendonsend"')
TEXT_MARKER = "-----Original Message-----"
_TEXT_MARKERS = re.compile(rf"^(?:{TEXT_MARKER}|On .{{1,200}} wrote:)\s*$", re.MULTILINE)
_HTML_MARKERS = re.compile("|".join(map(re.escape, HTML_MARKERS)))
_BLOCKS = {"p", "div", "tr", "li", "br", "table", "h1", "h2", "h3", "blockquote", "ul", "ol", "hr"}
_SILENT = {"style", "script", "title"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A part of a mail that is no body."""

    name: str
    media_type: str
    content: bytes
    inline: bool
    content_id: str

    @property
    def is_item(self) -> bool:
        """Whether it is a mail itself."""
        return self.media_type == "message/rfc822"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The body as it was written, in one of two forms, and the attachments."""

    html: str | None
    text: str
    """Empty when there is HTML."""
    attachments: tuple[Attached, ...]

    def body(self, *, as_text: bool, unique: bool = False) -> str:
        """Return the body.

        Args:
            as_text: As plain text; otherwise as HTML, which is made from plain text if need be.
            unique: Only what stands before the first reply marker.
        """
        if self.html is None:
            text = _before(self.text, _TEXT_MARKERS) if unique else self.text
            return text if as_text else _as_html(text)
        source = self.html
        if unique:
            source = _before(source, _HTML_MARKERS)
        return html_to_text(source) if as_text else source


def contents_of(mail: Mail) -> Contents:
    """Return what Exchange makes of a mail. Nothing in a mail makes it fail: what cannot be decoded is replaced."""
    bodies: dict[str, str] = {}
    attachments = []
    for part in _leaves(mail.parsed):
        media_type = part.get_content_type()
        if media_type in {"text/plain", "text/html"} and not _is_attached(part) and media_type not in bodies:
            bodies[media_type] = _text_of(part)
        elif media_type.startswith("multipart/"):
            bodies.setdefault("text/plain", _text_of(part))
        else:
            attachments.append(_attached(part, media_type))
    source = bodies.get("text/html")
    text = bodies.get("text/plain", "") if source is None else ""
    return Contents(html=source, text=text, attachments=tuple(attachments))


def html_to_text(source: str) -> str:
    """Return HTML as plain text: blocks on lines of their own, at most one empty line between two of them."""
    reader = _Reader()
    try:
        reader.feed(source)
        reader.close()
    except AssertionError:
        # The parser gives up on some declarations; what came before them stays.
        reader.pieces.append("\n")
    lines = [" ".join(line.split()) for line in "".join(reader.pieces).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip().replace("\n", "\r\n")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in _SILENT and self._silent > 0
        if tag in _BLOCKS and tag != "br":
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(re.sub(r"\s+", " ", data))


def _leaves(part: Message[str, str]) -> Iterator[Message[str, str]]:
    payload = part.get_payload()
    if part.get_content_type() == "message/rfc822" or not isinstance(payload, list):
        yield part
        return
    for inner in payload:
        if isinstance(inner, Message):
            yield from _leaves(inner)


def _is_attached(part: Message[str, str]) -> bool:
    return part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _bytes_of(part: Message[str, str]) -> bytes:
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload
    inner = part.get_payload()
    if isinstance(inner, list) and inner and isinstance(inner[0], Message):
        return inner[0].as_bytes()
    return str(inner or "").encode("utf-8", "replace")


def _text_of(part: Message[str, str]) -> str:
    raw = _bytes_of(part)
    charset = collapse_rfc2231_value(part.get_param("charset") or "utf-8")
    try:
        return raw.decode(charset)
    except (LookupError, ValueError):
        return raw.decode("utf-8", "replace")


def _attached(part: Message[str, str], media_type: str) -> Attached:
    content_id = str(part.get("Content-ID", "")).strip().strip("<>")
    named = part.get_filename()
    default = "message.eml" if media_type == "message/rfc822" else "attachment"
    return Attached(
        name=decoded(named) if named else default,
        media_type=media_type,
        content=_bytes_of(part),
        inline=bool(content_id) and part.get_content_disposition() != "attachment",
        content_id=content_id,
    )


def _as_html(text: str) -> str:
    lines = "<br>\r\n".join(html.escape(line, quote=False) for line in text.splitlines())
    return (
        '<html><head>\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head>'
        f'<body><div class="PlainText">{lines}</div></body></html>'
    )


def _before(text: str, marker: re.Pattern[str]) -> str:
    found = marker.search(text)
    return text[: found.start()] if found else text
