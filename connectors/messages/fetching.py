"""Fetches: what a caller may ask for, and the way from there to a delivery."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from adiuva_rpc.errors import AdiuvaError, InvalidArgument
from connectors.errors import CursorInvalid
from connectors.messages.access import Access, Entered
from connectors.messages.cursors import open_place
from connectors.messages.delivery import Bounds, Delivery
from connectors.messages.domain import MessageFilter
from connectors.messages.errands import owned_tasks
from connectors.messages.events import Emit, Waiting
from connectors.messages.filters import fingerprint, normal
from connectors.messages.finding import RoundFinder, Wish
from connectors.messages.ports import CursorName, CursorStore, Notices, Now, Quarantine, Sleep

DEFAULT_MESSAGES: Final = 100
MAX_MESSAGES: Final = 2_000
DEFAULT_BODY_CHARS: Final = 8_000
MAX_BODY_CHARS: Final = 200_000
MAX_SUBSCRIBER_CHARS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What a caller asks for.

    Raises:
        InvalidArgument: no fetch can be so.
    """

    user_id: str
    connection_id: str
    subscriber: str
    filter: MessageFilter = field(default_factory=MessageFilter)
    since: datetime | None = None
    """Begin here, whatever the cursor says."""
    cursor_token: str = field(default="", repr=False)
    """Begin here; empty for the cursor."""
    max_messages: int = DEFAULT_MESSAGES
    max_body_chars: int = DEFAULT_BODY_CHARS
    deadline: datetime
    """When the caller stops waiting."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if not 0 < len(self.subscriber) <= MAX_SUBSCRIBER_CHARS or not self.subscriber.isprintable():
            raise InvalidArgument("subscriber", f"must be 1 to {MAX_SUBSCRIBER_CHARS} printable characters")
        if not 1 <= self.max_messages <= MAX_MESSAGES:
            raise InvalidArgument("max_messages", f"must be 1 to {MAX_MESSAGES}")
        if not 1 <= self.max_body_chars <= MAX_BODY_CHARS:
            raise InvalidArgument("max_body_chars", f"must be 1 to {MAX_BODY_CHARS}")


class FetchService:
    """Fetches new messages.

    Args:
        access: To the connections.
        store: Of the cursors.
        quarantine: Keeps the messages that cannot be read.
        notices: Who watches connections hears of resyncs.
        now: The present time.
        sleep: Waits.
    """

    def __init__(
        self,
        *,
        access: Access,
        store: CursorStore,
        quarantine: Quarantine,
        notices: Notices,
        now: Now,
        sleep: Sleep,
    ) -> None:
        self._access = access
        self._finder = RoundFinder(store=store, quarantine=quarantine, notices=notices, now=now)
        self._quarantine = quarantine
        self._now = now
        self._sleep = sleep

    async def fetch(self, request: FetchRequest, emit: Emit) -> None:
        """Tell what is new: `Started`, then messages with checkpoints between them, and `Completed` at a good end.

        Cancelling it, or an error of `emit`, cancels what is under way at the provider.

        Raises:
            NotFound: the user has no such connection.
            ConnectionPending, NeedsReauth, Disconnected, ConnectionBlocked, DecryptFailed: nothing can be read by it.
            FilterInvalid, FilterUnsupported: the filter.
            CursorInvalid: the cursor is of another connection, subscriber or filter, or too old.
            StaleFetch: a newer fetch of the subscriber has begun before this one knew what to deliver.
            WindowTooLarge: narrow the filter or the window.
            Throttled: the provider asked to wait past the deadline.
            OperatorFault, ProviderUnavailable, StoreUnavailable: as their names say.
        """
        wanted = normal(request.filter)
        entered = await self._access.enter(request.user_id, request.connection_id)
        entered.provider.check_filter(wanted)
        wish = _wish(request, wanted, entered)
        bounds = Bounds(
            max_messages=request.max_messages, max_body_chars=request.max_body_chars, deadline=request.deadline
        )
        async with owned_tasks() as tasks:
            delivery = Delivery(
                access=self._access,
                quarantine=self._quarantine,
                tasks=tasks,
                entered=entered,
                wish=wish,
                bounds=bounds,
                emit=emit,
                now=self._now,
            )
            # A throttle that is known already is no news: telling it again would make it longer.
            await self._hold_off(request, entered, emit)
            try:
                await delivery.run(self._finder)
            except AdiuvaError as error:
                await self._access.failed(entered.connection, error)
                raise

    async def _hold_off(self, request: FetchRequest, entered: Entered, emit: Emit) -> None:
        until = self._access.pause_of(entered.connection, deadline=request.deadline)
        if until is not None:
            await emit(Waiting(until=until))
            await self._sleep((until - self._now()).total_seconds())


def _wish(request: FetchRequest, wanted: MessageFilter, entered: Entered) -> Wish:
    filter_hash = fingerprint(wanted)
    place = open_place(entered.key, request.cursor_token) if request.cursor_token else None
    if place is not None and (place.subscriber, place.filter_hash) != (request.subscriber, filter_hash):
        raise CursorInvalid
    return Wish(
        name=CursorName(connection_id=request.connection_id, subscriber=request.subscriber),
        key=entered.key,
        filter=wanted,
        filter_hash=filter_hash,
        since=request.since,
        place=place,
    )
