"""The text of a Word document, in reading order: headings and list items marked, table rows on a line each."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import docx

from device_bridge.agent.sandbox.extraction import archive
from device_bridge.agent.sandbox.extraction.bounds import TextBuilder

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH, _TABLE = f"{_W}p", f"{_W}tbl"
# The same text box again for old versions of Word, and where moved text stood before.
_DOUBLES = {"{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback", f"{_W}moveFrom"}
_CONTAINERS = {f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}smartTag", f"{_W}customXml"}
_BREAKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}


def convert(data: bytes, into: TextBuilder) -> None:
    """Add the paragraphs and tables of the body.

    Raises:
        Unconvertible: as `archive.check`. Any other exception means the document is broken.
    """
    archive.check(data)
    document = docx.Document(io.BytesIO(data))
    styles = {style.style_id: style.name or "" for style in document.styles}
    for line in _lines(document.element.body, styles):
        if not into.add(line):
            return


def _lines(container: Any, styles: dict[str, str]) -> Iterator[str]:
    for element in _children(container, {_PARAGRAPH, _TABLE}):
        if element.tag == _TABLE:
            for row in _children(element, {f"{_W}tr"}):
                yield " | ".join(" ".join(_text(cell).split()) for cell in _children(row, {f"{_W}tc"}))
            yield ""
            continue
        text = _text(element)
        yield _prefix(element, styles) + text if text.strip() else ""


def _children(element: Any, tags: set[str]) -> Iterator[Any]:
    """Yield the children of these tags, also those that a content control or an insertion wraps."""
    for child in element.iterchildren():
        if child.tag in tags:
            yield child
        elif child.tag in _CONTAINERS:
            yield from _children(child, tags)


def _prefix(paragraph: Any, styles: dict[str, str]) -> str:
    name = styles.get(paragraph.style, "")
    if name == "Title":
        return "# "
    heading = re.fullmatch(r"[Hh]eading ([1-9])", name)
    if heading:
        return "#" * int(heading[1]) + " "
    return "- " if name.startswith("List") else ""


def _text(element: Any) -> str:
    """Return the visible text of `element`: content controls and insertions too, deletions and doubles not."""
    parts: list[str] = []
    for child in element.iterchildren():
        if child.tag in _DOUBLES:
            continue
        if child.tag == f"{_W}t":
            parts.append(child.text or "")
        elif child.tag in _BREAKS:
            parts.append(_BREAKS[child.tag])
        else:
            parts.append(_text(child))
            if child.tag == _PARAGRAPH:
                parts.append("\n")
    return "".join(parts)
