"""The sample files as the text that the device reads from them, by the device's own converters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from device_bridge.agent.sandbox.extraction import mail, pdf, sheet, word
from device_bridge.agent.sandbox.extraction.bounds import TextBuilder
from tests.sample import FILES

_CONVERTERS = {".eml": mail.convert, ".docx": word.convert, ".pdf": pdf.convert, ".xlsx": sheet.convert}


def sample_texts() -> Iterator[tuple[str, str]]:
    """Yield each file's path below the sample folder with its text, in path order."""
    files = {path.relative_to(FILES).as_posix(): path for path in FILES.rglob("*") if path.is_file()}
    for name in sorted(files):
        yield name, text_of(files[name])


def text_of(path: Path) -> str:
    """Return a file's text in the form in which `read_file_content` gives it."""
    convert = _CONVERTERS.get(path.suffix)
    if convert is None:
        return path.read_text(encoding="utf-8")
    builder = TextBuilder()
    convert(path.read_bytes(), builder)
    return builder.text()
