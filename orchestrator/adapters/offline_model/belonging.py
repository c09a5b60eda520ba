"""Which existing project messages belong to: the one project or client that is named where it counts most."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from orchestrator.adapters.offline_model.conversation import text_of
from orchestrator.adapters.offline_model.extraction import Message
from orchestrator.adapters.offline_model.extraction.message import subject_of
from orchestrator.adapters.offline_model.extraction.words import normal
from orchestrator.adapters.offline_model.reading import id_of
from orchestrator.runs.domain import JsonObject

_MIN_CHARS = 4
"""A shorter name stands in too many other words and sentences."""
_MAX_TEXT_CHARS = 20_000


def project_of(messages: Sequence[Message], rows: Iterable[JsonObject]) -> str:
    """Return the id of the project that the messages name; empty when they name none, or several alike.

    The subjects are looked at first, then who wrote them, then the texts. The longest name counts: who names "Acme
    Website" means that project and not "Acme". Of projects with the same name it is the one that is not completed.
    """
    named = [(row, names) for row in rows if id_of(row) and (names := _names(row))]
    for texts in (
        [subject_of(message) for message in messages],
        [f"{message.sender} {message.address}" for message in messages],
    ):
        best = _best(named, [normal(text) for text in texts])
        if best:
            return _only(best)
    in_texts = [message.text[:_MAX_TEXT_CHARS] for message in messages]
    plain = [(row, [name for name in names if _is_written(name, row, in_texts)]) for row, names in named]
    return _only(_best(plain, [normal(text) for text in in_texts]))


def _best(named: Sequence[tuple[JsonObject, Sequence[str]]], texts: Sequence[str]) -> list[JsonObject]:
    """Return the projects whose name in the texts is the longest."""
    found = [
        (len(name), row) for row, names in named for name in names if any(f" {name} " in f" {text} " for text in texts)
    ]
    longest = max((length for length, _ in found), default=0)
    best = {id_of(row): row for length, row in found if length == longest}
    return list(best.values())


def _only(rows: Sequence[JsonObject]) -> str:
    if len({normal(text_of(row.get("name"))) for row in rows}) != 1:
        return ""
    return id_of(min(rows, key=lambda row: row.get("status") == "Completed"))


def _names(row: JsonObject) -> list[str]:
    names = {normal(text_of(row.get("name"))), normal(text_of(row.get("client_name")))}
    return sorted(name for name in names if len(name) >= _MIN_CHARS)


def _is_written(name: str, row: JsonObject, texts: Sequence[str]) -> bool:
    """Return whether the name stands in a text as a name: one that is a single word is written as the user wrote it.

    Else every website would be a project of the name "Website".
    """
    if " " in name:
        return True
    written = [text_of(row.get(field)).strip() for field in ("name", "client_name")]
    own = [text for text in written if normal(text) == name]
    return any(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", whole) for text in own for whole in texts)
