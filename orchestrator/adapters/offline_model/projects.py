"""Which project the records of standalone files belong to: an existing one, a new one, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from orchestrator.adapters.offline_model.conversation import Call, text_of
from orchestrator.adapters.offline_model.extraction import Extraction
from orchestrator.adapters.offline_model.extraction.titles import trimmed
from orchestrator.adapters.offline_model.extraction.words import KINDS_OF_FILES, normal
from orchestrator.adapters.offline_model.reading import id_of
from orchestrator.runs.domain import JsonObject

MIN_SOURCES = 2
"""So many files with something in them make a folder a project, if none of them is a brief."""
MAX_FIELD_CHARS = 200

_BRIEF = re.compile(
    r"\b(?:brief|briefing|readme|scope|proposal|statement of work|sow|project|lastenheft|pflichtenheft|projekt|auftrag"
    r"|capitolato|incarico|progetto|cahier des charges|projet|encargo|propuesta|proyecto)\b"
)
_README = re.compile(r"\breadme\b")
_CLIENT = re.compile(r"\W*(?:Client|Customer|Cliente|Committente|Kundin|Kunde|Auftraggeber(?:in)?)\s*:\W*(?P<name>.+)")
_NAME_END = re.compile(r"[,;(|<]")
_TOP_LINES = 12


def matching(title: str, rows: list[JsonObject]) -> str:
    """Return the id of the project with this name, one that is not completed if there is any; empty for none."""
    found = [row for row in rows if normal(text_of(row.get("name"))) == normal(title) and id_of(row)]
    found.sort(key=lambda row: row.get("status") == "Completed")
    return id_of(found[0]) if found else ""


def creating(title: str, texts: Mapping[str, str], found: Mapping[str, Extraction]) -> Call | None:
    """Return the call that creates the project, or None when the folder is not clearly one.

    Args:
        title: The folder's name.
        texts: The text of each file.
        found: What was found in each file.
    """
    sources = [path for path, extraction in found.items() if not extraction.empty]
    briefs = [path for path in texts if _BRIEF.search(_stem(path)) and (sources or not _README.search(_stem(path)))]
    if not normal(title) or (not briefs and (len(sources) < MIN_SOURCES or normal(title) in KINDS_OF_FILES)):
        return None
    arguments: JsonObject = {"name": project_name(title)}
    if briefs:
        arguments.update(_described(texts[briefs[0]]))
    return Call("create_project", {**arguments, "source": (briefs or sources)[0]})


def project_name(folder: str) -> str:
    """Return the name for a folder: spaces for hyphens, words that are all small capitalised."""
    words = re.sub(r"[-_\s]+", " ", folder).split()
    return " ".join(word[:1].upper() + word[1:] if word.islower() else word for word in words)[:MAX_FIELD_CHARS]


def _stem(path: str) -> str:
    return normal(PurePosixPath(path).stem)


def _described(text: str) -> JsonObject:
    """Return what a brief's first lines say of the project: its heading, and for whom it is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()][:_TOP_LINES]
    result: JsonObject = {}
    heading = trimmed(lines[0].lstrip("# ")) if lines else ""
    if heading:
        result["description"] = heading[:MAX_FIELD_CHARS]
    for line in lines:
        client = _CLIENT.match(line)
        name = trimmed(_NAME_END.split(client["name"])[0]) if client else ""
        if name:
            result["client_name"] = name[:MAX_FIELD_CHARS]
            break
    return result
