"""Places where a test may make this process die, fail or hang.

    failpoint("journal.after_append")       # nothing at all, unless ADIUVA_FAILPOINTS names it

    ADIUVA_FAILPOINTS="journal.after_append=kill@3;outbox.put=raise"   ADIUVA_FAILPOINTS_DIR=/tmp/fired

Actions: `kill` (SIGKILL to this process), `raise` (FailpointError), `hang` (the thread stops for good, and with it the
event loop). `@3` acts at the third hit and at no other; without it every hit acts. Before it acts it makes the file
`<dir>/<name>`, so that a test can tell that it fired; where that file is, `kill` does not act again: a process that a
supervisor starts anew goes on.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path

_ENTRY = re.compile(r"(?P<name>[a-z0-9_.-]+)=(?P<action>kill|raise|hang)(?:@(?P<hit>[1-9][0-9]*))?")


@unique
class Action(Enum):
    """What happens at a failpoint."""

    KILL = "kill"
    RAISE = "raise"
    HANG = "hang"


class FailpointError(RuntimeError):
    """Raised by a failpoint that a test armed."""


@dataclass(slots=True)
class _Armed:
    action: Action
    at_hit: int | None
    hits: int = 0


class Failpoints:
    """The failpoints that are armed.

    Args:
        specification: As in ADIUVA_FAILPOINTS.
        directory: Where fired ones leave their file, if anywhere.

    Raises:
        ValueError: The specification cannot be read.
    """

    def __init__(self, specification: str, directory: Path | None = None) -> None:
        self._directory = directory
        self._armed: dict[str, _Armed] = {}
        for entry in filter(None, (part.strip() for part in specification.split(";"))):
            match = _ENTRY.fullmatch(entry)
            if match is None:
                msg = f"not a failpoint: {entry!r}; write name=kill|raise|hang, optionally with @hit"
                raise ValueError(msg)
            hit = match["hit"]
            self._armed[match["name"]] = _Armed(Action(match["action"]), None if hit is None else int(hit))

    def reach(self, name: str) -> None:
        """Do what is armed for this place.

        Raises:
            FailpointError: That was it.
        """
        armed = self._armed.get(name)
        if armed is None:
            return
        armed.hits += 1
        if armed.at_hit not in {None, armed.hits}:
            return
        if self._directory is not None:
            fired = self._directory / name
            if armed.action is Action.KILL and fired.exists():
                return
            fired.write_text(f"{os.getpid()} {armed.hits}\n", encoding="utf-8")
        if armed.action is Action.RAISE:
            raise FailpointError(name)
        if armed.action is Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()


def _from_environment() -> Failpoints:
    directory = os.environ.get("ADIUVA_FAILPOINTS_DIR")
    return Failpoints(os.environ.get("ADIUVA_FAILPOINTS", ""), Path(directory) if directory else None)


_ACTIVE = _from_environment()


def failpoint(name: str) -> None:
    """Mark a place where a test may interrupt this process.

    Raises:
        FailpointError: A test armed it so.
    """
    _ACTIVE.reach(name)
