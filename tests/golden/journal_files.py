"""Journals as files: the run in the first line, then its events, one a line."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.runs.domain import Run
from orchestrator.runs.events import StoredEvent, decode, encode

FOLDER = Path(__file__).parent
_RUN: TypeAdapter[Run] = TypeAdapter(Run)


def write_journal(path: Path, run: Run, events: list[StoredEvent]) -> None:
    """Write a run and its events."""
    lines = [json.dumps({"run": json.loads(_RUN.dump_json(run))}, ensure_ascii=False, sort_keys=True)]
    for entry in events:
        kind, payload = encode(entry.event)
        lines.append(
            json.dumps({"seq": entry.seq, "at": entry.at.isoformat(), "kind": kind, "payload": json.loads(payload)})
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_journal(path: Path) -> tuple[Run, list[StoredEvent]]:
    """Read what `write_journal` wrote."""
    first, *rest = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    events = [
        StoredEvent(
            seq=line["seq"],
            at=datetime.fromisoformat(line["at"]),
            event=decode(line["kind"], json.dumps(line["payload"])),
        )
        for line in rest
    ]
    return _RUN.validate_python(first["run"]), events
