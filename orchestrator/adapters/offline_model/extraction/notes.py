"""The record of a meeting, which is kept as a note."""

from __future__ import annotations

import re

from orchestrator.adapters.offline_model.extraction.items import Note
from orchestrator.adapters.offline_model.extraction.titles import MAX_TITLE_CHARS

MAX_NOTE_CHARS = 50_000

_FIRST_WORDS = re.compile(
    r"(?:(?:Meeting|Call|Workshop)\s+notes|(?:Meeting\s+)?Minutes|Notes\s+from"
    r"|Verbale|Appunti\s+(?:della\s+|dalla\s+)?(?:riunione|call)|Resoconto"
    r"|(?:Besprechungs|Sitzungs|Meeting)?-?Protokoll|Besprechungsnotiz(?:en)?|Gesprächsnotiz(?:en)?"
    r"|Compte[- ]rendu|Procès-verbal|Notes\s+de\s+réunion"
    r"|Acta|Minuta|Notas\s+de\s+(?:la\s+)?reunión)(?!\w)",
    re.IGNORECASE,
)


def read_note(text: str) -> Note | None:
    """Return the note that the document is, or None: its first line decides, and is the title."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    title = " ".join(lines[first].replace("**", "").strip(" \t#=\ufeff").split())
    content = "\n".join(lines[first + 1 :]).strip()
    if not _FIRST_WORDS.match(title) or len(title) > MAX_TITLE_CHARS or not content:
        return None
    return Note(title=title, content=content[:MAX_NOTE_CHARS].rstrip())
