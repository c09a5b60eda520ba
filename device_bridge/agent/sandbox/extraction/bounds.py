"""The bounds of a conversion, and the failures that it tells. Used on both sides of the worker's pipe."""

from __future__ import annotations

from enum import Enum, unique

MAX_TEXT_CHARACTERS = 2_000_000
"""Text of one document; the rest is cut off."""
MAX_PAGES = 500
"""Pages of a PDF."""
MAX_ROWS = 100_000
"""Rows of a workbook, empty ones and all sheets counted."""
MAX_COLUMNS = 256
"""Columns of a sheet."""
MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
"""What the parts of a Word or Excel file may be unpacked."""
MAX_ARCHIVE_PARTS = 5_000
MAX_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space of the worker, where the system can limit it."""


@unique
class Fault(Enum):
    """Why a document has no text for us."""

    BROKEN = "broken"
    """It is not what its name says, or is damaged."""
    PROTECTED = "protected"
    """It asks for a password."""
    TOO_LARGE = "too_large"
    """Unpacked it is larger than any document a person wrote."""


class Unconvertible(Exception):
    """The document cannot be converted, and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class TextBuilder:
    """Collects the text of a document, line by line, up to MAX_TEXT_CHARACTERS."""

    def __init__(self, limit: int = MAX_TEXT_CHARACTERS) -> None:
        self._parts: list[str] = []
        self._left = limit
        self.complete = True
        """False once something was left out."""

    def add(self, line: str) -> bool:
        """Append `line` and a line end; return whether there is room for more."""
        if len(line) >= self._left:
            self._parts.append(line[: self._left])
            self._left = 0
            self.complete = False
            return False
        self._parts += [line, "\n"]
        self._left -= len(line) + 1
        return True

    def cut(self) -> None:
        """Note that the rest of the document is left out."""
        self.complete = False

    def text(self) -> str:
        """Return what was collected, as text that any encoder takes."""
        return "".join(self._parts).encode("utf-8", "replace").decode("utf-8").replace("\0", "")
