"""From the parts of a mail to its body and its files: which part is read, which is listed, which is left aside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from connectors.messages.domain import SourceFormat
from connectors.messages.text import parsing
from connectors.messages.text.calendars import invitation
from connectors.messages.text.charsets import charset_of_html, decode
from connectors.messages.text.cleaning import one_line
from connectors.messages.text.clipping import clip
from connectors.messages.text.headers import decode_words, header
from connectors.messages.text.html import MAX_HTML_CHARS, html_to_text
from connectors.messages.text.mail import AttachmentInfo, Part, UnreadableCode, UnreadableMessage

MAX_TEXT_CHARS = 1_000_000
"""Characters of a mail's whole text."""
MAX_PART_BYTES = 4 * 1024 * 1024
"""Bytes of one text part that are decoded."""
MAX_NESTED_MAILS = 5
"""Forwards within forwards that are opened; a deeper one is listed as a file."""

_MAX_NAME_CHARS = 255
_NOT_READ = frozenset({"rtf", "richtext", "enriched", "x-amp-html", "css", "javascript", "xml"})
_CHARS_PER_ELEMENT = 40
_MAX_STUB_CHARS = 400
_STUB = re.compile(
    r"in (?:your|a|the) (?:web ?)?browser|html[- ](?:version|e-?mail|capable|enabled)|(?:support|view|display)\w* html"
    r"|im (?:web)?browser|html-(?:ansicht|version|format|mail)|kein html|online-version|webversion"
    r"|dans (?:votre|un) navigateur|version en ligne|format html"
    r"|nel (?:tuo )?browser|versione (?:online|html)|formato html"
    r"|en (?:el|su|tu) navegador|versi[oó]n (?:en l[ií]nea|html)",
    re.IGNORECASE,
)
_FORWARDED = ("From", "Date", "To", "Subject")


@dataclass(slots=True)
class Body:
    """What the parts of a mail come to."""

    text: str
    source_format: SourceFormat
    attachments: tuple[AttachmentInfo, ...]


def read_body(root: Part) -> Body:
    """Return the text and the files of a mail.

    Of alternatives the plain text is read unless it is empty or only points to the HTML; of related parts the root.
    Mails within are read as forwards. Parts with a name or an attachment's disposition are listed and not read.

    Raises:
        UnreadableMessage: There are more parts, or they are nested deeper, than `parsing` allows.
    """
    walk = _Walk(parts=_count(root))
    walk.read(root, alone=True)
    text = clip("\n\n".join(walk.texts), MAX_TEXT_CHARS).text
    return Body(text, walk.source_format if text else SourceFormat.NONE, tuple(walk.attachments))


def _count(root: Part) -> int:
    """Return how many parts there are.

    Raises:
        UnreadableMessage: Too many, or nested too deeply.
    """
    count = 0
    level = [root]
    for _ in range(parsing.MAX_DEPTH + 2):
        count += len(level)
        if count > parsing.MAX_PARTS:
            raise UnreadableMessage(UnreadableCode.TOO_MANY_PARTS)
        level = [child for part in level for child in part.parts]
        if not level:
            return count
    raise UnreadableMessage(UnreadableCode.NESTED_TOO_DEEPLY)


@dataclass(slots=True)
class _Walk:
    parts: int
    """Parts of the mail so far, with those of the mails that were opened within it."""
    texts: list[str] = field(default_factory=list)
    attachments: list[AttachmentInfo] = field(default_factory=list)
    source_format: SourceFormat = SourceFormat.TEXT
    mails: int = 0
    """Mails around the part that is being read."""
    html_left: int = MAX_HTML_CHARS
    """Characters of HTML that may still be read in this mail, which bounds the time that it takes."""

    def read(self, part: Part, *, alone: bool = False) -> None:
        """Read or list `part`; `alone` when it is the whole content of a mail, whatever name it bears."""
        kind = _kind(part)
        if kind == "message/rfc822":
            self._mail(part)
        elif part.disposition == "attachment" or (part.filename and not alone and not part.parts):
            self.set_aside(part)
        elif kind == "multipart/alternative":
            self._alternatives(part)
        elif kind == "multipart/related":
            self._related(part)
        elif kind.startswith("multipart/"):
            for child in part.parts:
                self.read(child)
        elif not (_is_text(kind) and part.data is not None and self._add(self._text(part), kind)):
            self.set_aside(part, aside=part.data is not None and kind in {"text/plain", "text/html"})

    def set_aside(self, part: Part, *, inline: bool = False, aside: bool = False) -> None:
        """List the files that are in `part`, and read nothing.

        Args:
            part: A part that is no body.
            inline: It belongs to a body, as its pictures do.
            aside: It is another form of what was read: text without a name is none of its files.
        """
        kind = _kind(part)
        if part.parts and kind.startswith("multipart/"):
            for number, child in enumerate(part.parts):
                self.set_aside(child, inline=inline or (kind == "multipart/related" and number > 0), aside=aside)
            return
        named = part.filename or part.disposition == "attachment"
        if named or not (aside and kind.startswith("text/")):
            inline = inline or (part.disposition == "inline" and bool(header(part.headers, "content-id")))
            size = part.size or len(part.data or b"")
            self.attachments.append(AttachmentInfo(_name(part), kind, size, part.attachment_id, inline))

    def _add(self, text: str, kind: str) -> bool:
        text = text.strip("\n").rstrip()
        if not text.strip():
            return False
        self.texts.append(text)
        if kind == "text/html":
            self.source_format = SourceFormat.HTML
        return True

    def _text(self, part: Part) -> str:
        data = (part.data or b"")[:MAX_PART_BYTES]
        is_html = _kind(part) == "text/html"
        label = part.charset or (charset_of_html(data) if is_html else None)
        text = decode(data, label).text
        if _kind(part) == "text/calendar":
            return invitation(text)
        if is_html or re.match(r"\s*<(?:!doctype html|html)\b", text, re.IGNORECASE):
            limit = self.html_left
            # What takes time is elements, and each document may have its fill of them.
            self.html_left = max(0, limit - len(text) - _CHARS_PER_ELEMENT * text.count("<"))
            return html_to_text(text, limit=limit)
        return text

    def _alternatives(self, part: Part) -> None:
        plain = next((child for child in part.parts if _is_body(child, "text/plain")), None)
        text = self._text(plain) if plain is not None else ""
        rich = [child for child in part.parts if _holds(child, "text/html")]
        chosen: Part | None = plain
        if not text.strip() or (rich and _is_stub(text)):
            # The last one is the one that its author prefers (RFC 2046, 5.1.4).
            before = len(self.texts)
            chosen = rich[-1] if rich else None
            if chosen is not None:
                self.read(chosen)
            if len(self.texts) == before:
                self._add(text, "text/plain")
        else:
            self._add(text, "text/plain")
        for child in part.parts:
            if _is_body(child, "text/calendar"):
                self._add(self._text(child), "text/calendar")
            elif chosen is None and child is not plain:
                self.read(child)
            elif child is not chosen:
                self.set_aside(child, aside=True)

    def _related(self, part: Part) -> None:
        named = re.search(r"start=\"?<?([^\">;\s]+)", header(part.headers, "content-type"))
        wanted = named[1] if named else None
        root = next((child for child in part.parts if wanted and wanted in header(child.headers, "content-id")), None)
        for child in part.parts:
            if child is (root or part.parts[0]):
                self.read(child, alone=True)
            else:
                self.set_aside(child, inline=True)

    def _mail(self, part: Part) -> None:
        content = self._content_of_mail(part)
        if part.filename or part.disposition == "attachment" or part.attachment_id or content is None:
            self.set_aside(part)
        if content is None:
            return
        values = ((name, decode_words(header(content.headers, name))) for name in _FORWARDED)
        head = ["---------- Forwarded message ----------", *(f"{name}: {value}" for name, value in values if value)]
        self.texts.append("\n".join(head))
        self.mails += 1
        self.read(content, alone=True)
        self.mails -= 1

    def _content_of_mail(self, part: Part) -> Part | None:
        if self.mails >= MAX_NESTED_MAILS:
            return None
        if part.parts or not part.data:
            return part.parts[0] if part.parts else None
        try:
            content = parsing.parse(part.data)
            self.parts += _count(content)
        except UnreadableMessage:
            return None
        return content if self.parts <= parsing.MAX_PARTS else None


def _kind(part: Part) -> str:
    return part.content_type.lower() or "text/plain"


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") and kind.removeprefix("text/") not in _NOT_READ


def _is_body(part: Part, kind: str) -> bool:
    return _kind(part) == kind and not part.filename and part.disposition != "attachment" and part.data is not None


def _holds(part: Part, kind: str) -> bool:
    if _kind(part) == "message/rfc822":
        return False
    return _is_body(part, kind) or any(_holds(child, kind) for child in part.parts)


def _is_stub(text: str) -> bool:
    """Whether a plain alternative only says where to look at the real one."""
    words = re.sub(r"https?://\S+", "", text).strip()
    return len(words) <= _MAX_STUB_CHARS and _STUB.search(words) is not None


def _name(part: Part) -> str:
    name = one_line(re.split(r"[/\\]", part.filename)[-1])[:_MAX_NAME_CHARS]
    if name:
        return name
    if _kind(part) == "message/rfc822" and part.parts:
        subject = decode_words(header(part.parts[0].headers, "subject"))
        return re.sub(r"[/\\]", "_", subject)[: _MAX_NAME_CHARS - 4] + ".eml" if subject else "message.eml"
    return "unnamed"
