"""Which language a text is written in: good enough to know whose month names to try first."""

from __future__ import annotations

import re
from itertools import islice

from orchestrator.adapters.offline_model.extraction.words import FREQUENT, LANGUAGES, normal

_WORD = re.compile(r"[^\W\d_]+")
_MAX_WORDS = 3000


def languages(text: str) -> tuple[str, ...]:
    """Return all languages known here, the likeliest one for this text first; English first when nothing tells."""
    counts = dict.fromkeys(LANGUAGES, 0)
    for found in islice(_WORD.finditer(text), _MAX_WORDS):
        word = normal(found[0])
        for language, frequent in FREQUENT.items():
            counts[language] += word in frequent
    return tuple(sorted(LANGUAGES, key=lambda language: -counts[language]))
