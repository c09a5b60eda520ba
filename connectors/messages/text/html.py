"""The text of an HTML body, within bounds of time and size."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from connectors.messages.text.cleaning import clean
from connectors.messages.text.markup import tidy
from connectors.messages.text.rendering import render

MAX_HTML_CHARS = 2 * 1024 * 1024
"""Characters of one HTML body that are read."""

_NO_ATTACHMENTS: Mapping[str, str] = MappingProxyType({})


def html_to_text(html: str, *, limit: int = MAX_HTML_CHARS, attachments: Mapping[str, str] = _NO_ATTACHMENTS) -> str:
    """Return what a reader of `html` sees, as text.

    Rows of tables stay rows, links keep their targets, quoted blocks get `> ` before their lines; scripts, styles,
    hidden elements and tracking pixels are left out. The worst document that is accepted takes a few seconds: what
    lies behind `limit`, MAX_ELEMENTS or MAX_KEPT_CHARS is not read, and then the last line tells how much that was.

    Args:
        html: The body. Of a chat message, `<at>` becomes `@Name`, and `<attachment>` the name of the file.
        limit: Characters that are read.
        attachments: The names of a chat message's attachments by their ids.
    """
    tidied = tidy(clean(html), limit=limit, attachments=attachments)
    text = render(tidied.html)
    if not tidied.cut_chars:
        return text
    return f"{text}\n[… {tidied.cut_chars:,} more characters of HTML]".lstrip("\n")
