"""Bytes to text, without guessing: UTF-8, and UTF-16 and UTF-32 that say so with a byte order mark.

Everything else is refused by name: a known binary format or a NUL is BINARY, other bytes are UNSUPPORTED_ENCODING (a
legacy code page cannot be told from another one, and a wrong guess changes names and amounts silently).
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.sandbox.media import has_binary_magic

HEAD_BYTES = 64
"""Bytes from the start of a file that `detect` looks at."""

_CONTROLS = "".join(chr(code) for code in range(1, 32) if chr(code) not in "\t\n\v\f\r\b\x1b") + "\x7f"
_MAX_CONTROL_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes are text."""

    name: str
    """The codec, without byte order mark."""
    mark: int
    """Bytes of the byte order mark at the start of the file."""
    unit: int
    """Bytes of the smallest step: 1, 2 or 4."""

    def raw_limit(self, limit: int) -> int:
        """Return how many bytes of the file are at most `limit` bytes of UTF-8, whatever they hold; whole units."""
        # Two bytes of UTF-16 become up to three of UTF-8.
        raw = limit * 2 // 3 if self.unit == 2 else limit
        return raw - raw % 4 if self.unit > 1 else raw

    def misalignment(self, head: bytes, offset: int) -> int:
        """Return how many bytes of `head`, read at `offset` of the file, belong to a character that began before."""
        if offset <= self.mark:
            return 0
        if self.unit == 1:
            continuation = 0
            while continuation < min(3, len(head)) and head[continuation] & 0xC0 == 0x80:
                continuation += 1
            return continuation
        skip = -(offset - self.mark) % self.unit
        if self.unit == 2:
            high_byte = head[skip + 1 : skip + 2] if self.name == "utf-16-le" else head[skip : skip + 1]
            if high_byte and 0xDC <= high_byte[0] <= 0xDF:
                return skip + 2
        return skip

    def decode(self, data: bytes, *, more: bool) -> tuple[str, int]:
        """Return the text of `data`, which begins with a whole character, and how many of its bytes that text is.

        With `more`, a character that is cut by the end of `data` is left for the next call.

        Raises:
            ToolError: UNSUPPORTED_ENCODING, or BINARY when the text holds what no text does.
        """
        decoder = codecs.getincrementaldecoder(self.name)("strict")
        try:
            text = decoder.decode(data, not more)
        except UnicodeDecodeError:
            if self.unit == 1 and b"\0" in data:
                # Such as UTF-16 without a byte order mark: no text that says how it is written.
                raise _binary() from None
            raise ToolError(
                Reason.UNSUPPORTED_ENCODING,
                "The file is neither UTF-8 nor UTF-16 or UTF-32 with a byte order mark; save it as UTF-8 to read it.",
            ) from None
        if "\0" in text or sum(map(text.count, _CONTROLS)) > _MAX_CONTROL_SHARE * len(text):
            raise _binary()
        return text, len(data) - len(decoder.getstate()[0])

    def decode_context(self, data: bytes) -> str:
        """Return the text of bytes before or after a chunk, as well as it goes: it is searched, never handed out."""
        return data.decode(self.name, "replace")


_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, Encoding("utf-32-le", 4, 4)),
    (codecs.BOM_UTF32_BE, Encoding("utf-32-be", 4, 4)),
    (codecs.BOM_UTF16_LE, Encoding("utf-16-le", 2, 2)),
    (codecs.BOM_UTF16_BE, Encoding("utf-16-be", 2, 2)),
    (codecs.BOM_UTF8, Encoding("utf-8", 3, 1)),
)
_UTF8 = Encoding("utf-8", 0, 1)


def detect(head: bytes) -> Encoding:
    """Return the encoding of a file that begins with `head`.

    Raises:
        ToolError: BINARY when `head` is that of a known binary format.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if has_binary_magic(head):
        raise _binary()
    return _UTF8


def _binary() -> ToolError:
    return ToolError(Reason.BINARY, "The file is not text, and not of a kind that can be converted to text.")
