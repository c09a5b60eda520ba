"""Triage answers: reading them from whatever text a model wrote, and checking them against what it was offered."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.runs.domain import JsonObject
from orchestrator.runs.prompts import STANDALONE, quoted

MAX_ANSWER_CHARS = 2_000_000
MAX_OBJECTS = 50
"""How many places of an answer are tried as the beginning of its object."""
MAX_SCHEMA_PROJECTS = 100
"""Endpoints bound the size of a strict schema."""
MAX_NAMED = 20

Mapped = dict[str, list[str]]
"""Project id, or `standalone`, to paths: as the model wrote it."""

_FENCED = re.compile(r"```[A-Za-z]*\s*\n(.*?)```", re.DOTALL)


def triage_schema(project_ids: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the strict schema of a triage answer, or None where there are too many projects for one."""
    if len(project_ids) > MAX_SCHEMA_PROJECTS:
        return None
    keys = [*project_ids, STANDALONE]
    return {
        "type": "object",
        "properties": {key: {"type": "array", "items": {"type": "string"}} for key in keys},
        "required": keys,
        "additionalProperties": False,
    }


def parse_mapping(text: str) -> Mapped | None:
    """Return the mapping that an answer holds, or None when it holds none. Never raises.

    The object may stand between fences or in prose; a single path may stand for a list of one; a key that comes twice
    has the paths of both.
    """
    text = text[:MAX_ANSWER_CHARS]
    for candidate in _candidates(text):
        mapping = _mapping(candidate)
        if mapping is not None:
            return mapping
    return None


@dataclass(frozen=True, slots=True)
class Sorting:
    """A checked mapping.

    Attributes:
        project_of: For every file that was offered its project's id; empty for standalone.
        complaints: What was wrong, in sentences for the model. They repeat nothing that it made up, for that may be
            file text.
    """

    project_of: dict[str, str]
    complaints: tuple[str, ...]


def sort_files(mapping: Mapped, offered: Sequence[str], project_ids: Collection[str]) -> Sorting:
    """Check a mapping against what was offered.

    Files under keys that are no project, and files that it leaves out, are standalone. Of a file that it names twice
    the first place counts.
    """
    known = set(offered)
    project_of: dict[str, str] = {}
    unknown_keys = strangers = 0
    twice: list[str] = []
    for key, paths in mapping.items():
        if key == STANDALONE:
            project_id = ""
        elif key in project_ids:
            project_id = key
        else:
            unknown_keys += 1
            continue
        for path in paths:
            if path not in known:
                strangers += 1
            elif path in project_of:
                twice.append(path)
            else:
                project_of[path] = project_id
    missing = [path for path in offered if path not in project_of]
    complaints = _complaints(unknown_keys, strangers, twice, missing)
    return Sorting({path: project_of.get(path, "") for path in offered}, complaints)


def _complaints(unknown_keys: int, strangers: int, twice: list[str], missing: list[str]) -> tuple[str, ...]:
    found = []
    if unknown_keys:
        found.append(f'Keys that are neither the id of a listed project nor "{STANDALONE}": {unknown_keys}.')
    if strangers:
        found.append(f"Paths that are not in the list of files: {strangers}.")
    if twice:
        found.append(f"These files are named more than once: {_named(twice)}.")
    if missing:
        found.append(f"These files are missing: {_named(missing)}.")
    return tuple(found)


def _named(paths: list[str]) -> str:
    shown = ", ".join(quoted(path) for path in paths[:MAX_NAMED])
    return shown if len(paths) <= MAX_NAMED else f"{shown} and {len(paths) - MAX_NAMED} more"


def _candidates(text: str) -> Iterator[object]:
    yield _loaded(text.strip())
    for block in _FENCED.findall(text):
        yield _loaded(block.strip())
    decoder = json.JSONDecoder(object_pairs_hook=_joined)
    position = -1
    for _ in range(MAX_OBJECTS):
        position = text.find("{", position + 1)
        if position < 0:
            return
        try:
            value, _end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            continue
        yield value


def _loaded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_joined)
    except (ValueError, RecursionError):
        return None


def _joined(pairs: list[tuple[str, Any]]) -> JsonObject:
    value: JsonObject = {}
    for key, item in pairs:
        before = value.get(key)
        value[key] = [*before, *item] if isinstance(before, list) and isinstance(item, list) else item
    return value


def _mapping(value: object) -> Mapped | None:
    if not isinstance(value, dict):
        return None
    mapping: Mapped = {}
    for key, paths in value.items():
        listed = [paths] if isinstance(paths, str) else paths
        if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
            return None
        mapping[key] = listed
    return mapping
