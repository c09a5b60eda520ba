r"""File names as text: every name a file can have, shown on one line, without invisible characters, and reversibly.

A backslash is written `\\`, a byte that is no UTF-8 `\xff`, and a control, bidirectional, zero-width, tag or otherwise
unprintable character `\u{202e}`. Everything else stands for itself; nothing else is ever decoded (`%2e` and `~` are
ordinary characters).
"""

from __future__ import annotations

import re

IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point: characters that a reader does not see, and that some file systems drop.

Source: DerivedCoreProperties.txt, Unicode 15.
"""

_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u\{([0-9a-f]{1,6})\})")


def to_text(name: bytes) -> str:
    """Return `name` as Unicode text; bytes that are no UTF-8 become lone surrogates (PEP 383)."""
    return name.decode("utf-8", "surrogateescape")


def escape(name: bytes) -> str:
    """Return `name` as it is shown and as it is written in a wire path."""
    text = to_text(name)
    if text.isprintable() and "\\" not in text and not IGNORABLE.search(text):
        return text
    return "".join(map(_escaped, text))


def unescape(component: str) -> bytes:
    """Return the file name that `component` of a wire path stands for.

    An escape counts only in a component that `escape` itself could have written; any other is taken literally. So each
    name has its own spelling, and no spelling hides a separator or a dot.

    Args:
        component: text without lone surrogates. The result may hold a NUL, which the caller refuses.
    """
    literal = component.encode("utf-8")
    if "\\" not in component:
        return literal
    try:
        name = _ESCAPE.sub(_unescaped, component).encode("utf-8", "surrogateescape")
    except (ValueError, OverflowError):
        return literal
    return name if escape(name) == component else literal


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable() and not IGNORABLE.match(character):
        return character
    return f"\\u{{{code:x}}}"


def _unescaped(match: re.Match[str]) -> str:
    backslash, byte, code = match.groups()
    if backslash:
        return "\\"
    return chr(0xDC00 + int(byte, 16)) if byte else chr(int(code, 16))
