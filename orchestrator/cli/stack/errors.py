"""Why a local stack cannot run. Each text is for people, and says what to do."""

from __future__ import annotations

from typing import ClassVar


class StackError(Exception):
    """The stack cannot run as asked.

    Attributes:
        reason: UPPER_SNAKE, fixed per class, as the services' errors have it.
    """

    reason: ClassVar[str] = "STACK_FAILED"


class DataInUse(StackError):
    """Another stack uses the data directory: two on one would destroy each other's database."""

    reason = "DATA_IN_USE"


class DataUnusable(StackError):
    """The data directory cannot be made or written, or what is in it cannot be used."""

    reason = "DATA_UNUSABLE"


class PortInUse(StackError):
    """Something else listens on a port that was asked for."""

    reason = "PORT_IN_USE"


class DatabaseError(StackError):
    """The database could not be started."""

    reason = "DATABASE_FAILED"


class StartError(StackError):
    """A process did not start."""

    reason = "START_FAILED"
