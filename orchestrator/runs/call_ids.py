"""The ids of tool calls: minted from a call's place in its run, so that a repeat after a crash is known as one."""

from __future__ import annotations

import hashlib
import json
import re

MAX_CHARS = 128

_PLAIN = re.compile(r"[A-Za-z0-9._-]*")


def call_id(run_id: str, phase: str, group: str, step: int | str, index: int) -> str:
    """Return the id of the call at a place of a run: the same place, the same id; another place, another id.

    It has at most `MAX_CHARS` characters of `[A-Za-z0-9._:-]`. It never depends on what a model said, on the epoch or
    on the time.

    Args:
        run_id: The run.
        phase: The value of a `Phase`.
        group: The conversation: a group's id, or `triage`, `triage2` …; empty outside any.
        step: The step of the conversation, or a word for a call that the run makes on its own.
        index: The place of the call within the step, from 0.
    """
    parts = (run_id, phase, group, str(step), str(index))
    plain = ":".join(parts)
    if len(plain) <= MAX_CHARS and all(_PLAIN.fullmatch(part) for part in parts):
        return plain
    # No plain id looks like this one: those have four colons.
    return "sha256." + hashlib.sha256(json.dumps(parts).encode()).hexdigest()
