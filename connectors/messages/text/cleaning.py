"""What every text passes before it leaves: one kind of line end, no controls, no half characters."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` with line feeds as its only line ends, without other controls than tabs, without lone surrogates.

    A high and a low surrogate beside each other become the character they stand for, any other one U+FFFD.
    Characters that are invisible but legal stay: whoever shows the text to a model marks them.
    """
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))


def one_line(text: str) -> str:
    """Return `text` cleaned, and each run of white space in it as one space."""
    return " ".join(clean(text).split())
