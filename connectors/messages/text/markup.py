"""The HTML of a mail, made small and plain before a parser sees it.

Both HTML parsers in use take time that grows with the square of what a hostile document repeats: attributes of one
element, open elements. So one pass over the text, whose time grows with its length alone, keeps the elements that have
a meaning in plain text, none of their attributes but a link's target, and so many of them and no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape, unescape

MAX_ELEMENTS = 20_000
"""Elements that are kept of one document; a long thread with its tables has a few thousand."""
MAX_KEPT_CHARS = 400_000
"""Characters of what is kept of one document, its text included."""

QUOTE_BEGINS, QUOTE_ENDS = "\ue000", "\ue001"
"""Stand alone on a line where a quoted block begins and ends."""

_MAX_LINK_CHARS = 200
_MAX_TAG_CHARS = 8_192
_NAME = re.compile(r"(/?)([a-zA-Z][^\s/>]*)")
# Quotes mean something after an equals sign only: `title=Don't` closes at its bracket.
_REST = re.compile(r"""(?:[^>=]+|=\s*(?:"[^"]*"|'[^']*'|[^\s>"'][^\s>]*)?)*+>""")
_ATTRIBUTE = re.compile(r"""([^\s=>"'/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_COMMENT = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))", re.DOTALL)
_HIDDEN_STYLE = re.compile(
    r"(?:^|;)(?:display:none|visibility:hidden|opacity:0(?:\.0+)?(?:;|!|$)|max-height:0(?:px|pt|em|%)?(?:;|!|$))"
)
_NOT_FLAT = re.compile(r"white-space:pre")

_BLOCKS = (
    "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "thead", "tbody", "tfoot", "tr", "td",
    "th", "blockquote", "pre", "address", "article", "aside", "section", "header", "footer", "main", "nav", "figure",
    "figcaption", "q",
)  # fmt: skip
_DIVISIONS = ("center", "form", "fieldset", "dl", "dt", "dd", "details", "summary", "caption", "legend", "codeblock")
_INLINE = (
    "a", "abbr", "b", "bdi", "bdo", "big", "button", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var",
)  # fmt: skip
_AS = {
    **{name: name for name in _BLOCKS},
    **dict.fromkeys(_DIVISIONS, "div"),
    **dict.fromkeys(_INLINE, "span"),
    **dict.fromkeys(("xmp", "listing"), "pre"),
}
"""As what an element is kept; any other one is left out, and only its text stays."""
_WITH_CONTENT = frozenset({"script", "style", "title", "xml", "template", "svg", "math"})
_BREAKS = frozenset({"br", "hr"})


@dataclass(frozen=True, slots=True)
class Tidied:
    """HTML that any parser reads in a time that its length bounds."""

    html: str
    cut_chars: int
    """Characters at the end of the document that were not looked at."""


def tidy(html: str, *, limit: int, attachments: Mapping[str, str]) -> Tidied:
    """Return `html` reduced to structure, links and text.

    Scripts, styles and comments are gone; hidden elements are marked with `style="display:none"`. Images become their
    alternative text, mentions and attachments of a chat message become text too.

    Args:
        html: Cleaned, see `cleaning.clean`.
        limit: Characters of `html` that are looked at.
        attachments: The names of a chat message's attachments by their ids.
    """
    tidier = _Tidier(html[:limit], attachments)
    end = tidier.run()
    return Tidied("".join(tidier.out), len(html) - end)


class _Tidier:
    def __init__(self, html: str, attachments: Mapping[str, str]) -> None:
        self._html = html
        self._attachments = attachments
        self._elements = 0
        self._kept = 0
        self.out: list[str] = []

    def run(self) -> int:
        """Fill `out`; return where in the document it ended."""
        position = 0
        while self._elements < MAX_ELEMENTS and self._kept < MAX_KEPT_CHARS:
            bracket = self._html.find("<", position)
            text = self._html[position : bracket if bracket >= 0 else None]
            room = MAX_KEPT_CHARS - self._kept
            self._keep(text[:room])
            if bracket < 0 or len(text) > room:
                return min(position + room, len(self._html))
            position = self._markup(bracket)
        return position

    def _keep(self, text: str) -> None:
        self.out.append(text)
        self._kept += len(text)

    def _markup(self, bracket: int) -> int:
        """Handle what begins with the bracket; return the position behind it."""
        comment = _COMMENT.match(self._html, bracket)
        if comment:
            return comment.end()
        name = _NAME.match(self._html, bracket + 1)
        if not name:
            if self._html[bracket + 1 : bracket + 2] in {"!", "?", "/"}:
                return self._behind(">", bracket)
            self._keep("&lt;")
            return bracket + 1
        rest = _REST.match(self._html, name.end())
        if not rest:
            # It has no end, so it is none, as for every browser.
            return len(self._html)
        tag = name[2].lower()
        if tag in _WITH_CONTENT and not name[1] and not rest[0].endswith("/>"):
            return self._behind_element(tag, rest.end())
        if name[1]:
            self._close(tag)
        else:
            self._open(tag, rest[0][:_MAX_TAG_CHARS])
        return rest.end()

    def _behind(self, text: str, position: int) -> int:
        found = self._html.find(text, position)
        return len(self._html) if found < 0 else found + len(text)

    def _behind_element(self, tag: str, position: int) -> int:
        end = re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE).search(self._html, position)
        return self._behind(">", end.end()) if end else len(self._html)

    def _close(self, tag: str) -> None:
        if tag == "blockquote":
            self._keep(f"<div>{QUOTE_ENDS}</div></blockquote>")
        elif tag in _AS:
            self._keep("</a>" if tag == "a" else f"</{_AS[tag]}>")

    def _open(self, tag: str, rest: str) -> None:
        self._elements += 1
        if tag in _AS:
            attributes = _attributes(rest)
            self._keep(_link(attributes) if tag == "a" else f"<{_AS[tag]}{_style(attributes)}>")
            if tag == "blockquote":
                self._keep(f"<div>{QUOTE_BEGINS}</div>")
        elif tag in _BREAKS:
            self._keep("<br>")
        elif tag in {"img", "emoji"}:
            self._keep(escape(_alternative(_attributes(rest))))
        elif tag == "at":
            self._keep("@")
        elif tag == "attachment":
            self._keep(escape(self._attachment(_attributes(rest).get("id", ""))))
        else:
            self._elements -= 1

    def _attachment(self, wanted: str) -> str:
        named = self._attachments.get(wanted) or self._attachments.get(wanted.lower())
        return f"[attachment: {named}]" if named else "[attachment]"


def _attributes(rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(rest):
        value = match[2] or match[3] or match[4] or ""
        # The first of two attributes of a name counts.
        found.setdefault(match[1].lower(), unescape(value))
    return found


def _style(attributes: dict[str, str]) -> str:
    style = re.sub(r"\s+", "", attributes.get("style", "").lower())
    if "hidden" in attributes or _HIDDEN_STYLE.search(style):
        return ' style="display:none"'
    return ' style="white-space:pre"' if _NOT_FLAT.search(style) else ""


def _link(attributes: dict[str, str]) -> str:
    href = "".join(attributes.get("href", "").split())
    if not re.match(r"(?:https?|mailto|tel):.", href, re.IGNORECASE):
        return f"<a{_style(attributes)}>"
    if len(href) > _MAX_LINK_CHARS:
        # Trackers put what they know of the reader into a link; what a reader can use stands before it.
        href = href.split("?", 1)[0].split("#", 1)[0][: _MAX_LINK_CHARS - 2] + "?…"
    return f'<a href="{escape(href)}"{_style(attributes)}>'


def _alternative(attributes: dict[str, str]) -> str:
    """Return what to write for an image: nothing for one that is not seen or has no words."""
    words = " ".join(attributes.get("alt", "").split())[:_MAX_LINK_CHARS]
    if not words or _is_pixel(attributes):
        return ""
    return words if not words.isascii() and len(words) <= 4 else f"(image: {words})"


def _is_pixel(attributes: dict[str, str]) -> bool:
    sizes = (attributes.get(side, "").strip().removesuffix("px") for side in ("width", "height"))
    return any(size in {"0", "1"} for size in sizes) or "display:none" in _style(attributes)
