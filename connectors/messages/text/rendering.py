"""Tidy HTML to text: by inscriptis as long as the document is one, else by a plain walk over its nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy

from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.model.canvas import Canvas
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_document_state import HtmlDocumentState
from inscriptis.model.table import TableCell
from inscriptis.model.tag import CustomHtmlTagHandlerMapping
from selectolax.lexbor import LexborHTMLParser, LexborNode

from connectors.messages.text.markup import MAX_ELEMENTS, QUOTE_BEGINS, QUOTE_ENDS

MAX_LEVELS = 200
"""Nested elements up to which inscriptis is used: beyond 256 its parser leaves text out without a word."""

_MAX_NODES = 4 * MAX_ELEMENTS
_MARKS = ">" * 10
"""Before a quoted line, one for each level of quotation."""
_MAX_INDENT = 24
_MAX_ROW_CHARS = 400
_MAX_CELL_LINES = 4
_CELLS = " | "
# inscriptis decodes entities once more at each level of a table; an ampersand that it never sees is decoded once.
_AMPERSAND = "\ue002"
_BLOCKS = frozenset({
    "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "tr", "blockquote", "pre", "address",
    "article", "aside", "section", "header", "footer", "main", "nav", "figure", "figcaption",
})  # fmt: skip


def render(html: str) -> str:
    """Return the text of `html`, which `markup.tidy` made."""
    tree = LexborHTMLParser(html)
    body = tree.body
    if body is None:
        return ""
    text = None
    if _is_shallow(body):
        try:
            text = get_text((tree.html or "").replace("&amp;", _AMPERSAND), _config()).replace(_AMPERSAND, "&")
        except Exception:  # noqa: BLE001 - whatever it stumbles over: the text is still to be had
            text = None
    return _finished(_walked(body) if text is None else text)


def _is_shallow(body: LexborNode) -> bool:
    nodes = 0
    for _, level, entering in _walk(body):
        nodes += entering
        if level > MAX_LEVELS or nodes > _MAX_NODES:
            return False
    return True


def _walk(body: LexborNode) -> Iterator[tuple[LexborNode, int, bool]]:
    """Yield the nodes below `body` with their level, and whether they are entered (else left), without recursion.

    What is hidden is passed over.
    """
    stack = [(body, 0, True)]
    while stack:
        node, level, entering = stack.pop()
        if entering and "none" in (node.attributes.get("style") or "" if node.is_element_node else ""):
            continue
        yield node, level, entering
        if not entering:
            continue
        stack.append((node, level, False))
        child = node.last_child
        while child is not None:
            stack.append((child, level + 1, True))
            child = child.prev


def _walked(body: LexborNode) -> str:
    """Return the text below `body`, with a line end around every block and a bar after every cell."""
    parts: list[str] = []
    for node, _, entering in _walk(body):
        tag = node.tag
        if tag == "-text":
            if entering:
                parts.append(re.sub(r"\s+", " ", node.text_content or ""))
        elif tag in _BLOCKS or (tag == "br" and entering):
            parts.append("\n")
        elif tag in {"td", "th"} and not entering:
            parts.append(_CELLS)
    lines = "".join(parts).split("\n")
    return "\n".join(" ".join(line.split()).removesuffix(_CELLS.rstrip()) for line in lines)


def _finished(text: str) -> str:
    """Return `text` with its quoted blocks marked, links without a use shortened, and no more than one empty line."""
    level = 0
    begun = False
    lines: list[str] = []
    for line in text.split("\n"):
        opened, closed = line.count(QUOTE_BEGINS), line.count(QUOTE_ENDS)
        kept = _links(_outdented(line.replace(QUOTE_BEGINS, "").replace(QUOTE_ENDS, "")))
        if kept:
            lines.append(f"{_MARKS[:level]} {kept}" if level else kept)
        elif not (opened or closed or begun) and lines and lines[-1].strip(">"):
            lines.append(_MARKS[:level])
        begun = bool(opened) or (begun and not kept)
        level = max(0, level + opened - closed)
        # An empty line belongs to what is outside of a quoted block.
        if (opened or closed) and lines and not lines[-1].strip(">"):
            lines[-1] = _MARKS[: min(level, len(lines[-1]))]
    return "\n".join(lines).strip("\n")


def _outdented(line: str) -> str:
    bare = line.strip()
    return " " * min(len(line) - len(line.lstrip()), _MAX_INDENT) + bare if bare else ""


_LINK = re.compile(r"\[([^\[\]\n]{0,300})\]\(((?:mailto:|tel:)?([^()\s]{1,300}))\)")


def _links(line: str) -> str:
    return _LINK.sub(_link, line) if "](" in line else line


def _link(found: re.Match[str]) -> str:
    words = found[1].strip()
    if not words:
        return ""
    same = words.rstrip("/").lower() in {found[2].rstrip("/").lower(), found[3].rstrip("/").lower()}
    return words if same else found[0]


class _Rows:
    """A table as rows of text, in place of the library's own, without the padding of columns.

    Columns made even take memory by the widest cell times the rows, and a model's attention for spaces.
    """

    def __init__(self) -> None:
        self.rows: list[list[TableCell]] = []

    def add_row(self) -> None:
        self.rows.append([])

    def add_cell(self, cell: TableCell) -> None:
        if not self.rows:
            self.add_row()
        self.rows[-1].append(cell)

    def get_text(self) -> str:
        return "\n".join(filter(None, map(_row, self.rows))) + "\n"

    def get_annotations(self, _index: int, _left_margin: int) -> list[object]:
        return []


def _row(cells: list[TableCell]) -> str:
    """Return a row on one line when its cells are short, else its cells below one another."""
    filled: list[list[str]] = []
    for cell in cells:
        cell.normalize_blocks()
        filled.append([line.rstrip() for line in cell.blocks if line.strip()])
    written = [lines for lines in filled if lines]
    chars = sum(len(line) for lines in written for line in lines)
    if len(written) > 1 and chars <= _MAX_ROW_CHARS and all(len(lines) <= _MAX_CELL_LINES for lines in written):
        return _CELLS.join(" / ".join(line.strip() for line in lines) for lines in filled)
    return "\n".join("\n".join(cell.blocks).strip("\n") for cell, lines in zip(cells, filled, strict=True) if lines)


def _begin_table(state: HtmlDocumentState, _: dict[str, str]) -> None:
    state.tags[-1].set_canvas(Canvas())
    state.current_table.append(_Rows())


def _config() -> ParserConfig:
    """Return how inscriptis is to work, for one document.

    It keeps the document's canvas in the style of `body` itself: with the library's own one, shared, a document that is
    read in another thread at the same time would be written into this one.
    """
    return ParserConfig(
        css={**STRICT_CSS_PROFILE, "body": copy(STRICT_CSS_PROFILE["body"])},
        display_links=True,
        custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping({"table": _begin_table}, {}),
    )
