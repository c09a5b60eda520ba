"""What can go wrong for the operator, beside `connectors.errors`."""

from __future__ import annotations

from adiuva_rpc.errors import NotFound


class NotInQuarantine(NotFound):
    """One of the messages is not in quarantine: it was read meanwhile, or its connection ended. List them again."""

    reason = "NOT_IN_QUARANTINE"

    def __init__(self) -> None:
        super().__init__(
            "quarantined message",
            "One of the messages is not in quarantine; it may have been read meanwhile. List them again.",
        )
