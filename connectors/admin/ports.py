"""What the operator's methods need from outside."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

from connectors.admin.domain import QuarantinedMessage
from connectors.connections.domain import AuditEvent
from connectors.paging import Key

Now = Callable[[], datetime]
"""The present time, in UTC."""


class QuarantineDesk(Protocol):
    """The messages that could not be read, of all subscribers. Every method may raise StoreUnavailable."""

    async def page(
        self, *, user_id: str | None, connection_id: str, limit: int, after: Key | None
    ) -> list[QuarantinedMessage]:
        """Return messages, newest first by the time when they were first tried.

        Args:
            user_id: Only of this user; of all when None.
            connection_id: Only of this connection; of all when empty.
            limit: At most so many.
            after: The time and id of the last one of the page before; None for the first page.
        """
        ...

    async def request_retry(self, quarantine_ids: Collection[str], *, user_id: str | None) -> int:
        """Have messages tried again by the next fetch of their subscribers, all of them or none; return how many.

        Args:
            quarantine_ids: Which.
            user_id: Only those of this user are known; of all when None.

        Raises:
            NotInQuarantine: One of them is not there.
        """
        ...


class AuditTrail(Protocol):
    """What was done to grants. Every method may raise StoreUnavailable."""

    async def add(self, event: AuditEvent) -> None:
        """Write a line."""
        ...

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        """Return events, newest first; only those older than the `event_id` in `before`, unless it is empty."""
        ...
