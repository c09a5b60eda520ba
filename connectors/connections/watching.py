"""Connections for watchers: a snapshot, then each change. A watcher that is too slow is sent away, not waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.domain import Connection, ConnectionState, Event, EventKind, Notice, NoticeKind
from connectors.connections.errors import ConnectorsStopping, SlowWatcher, WatchInterrupted
from connectors.connections.ports import ConnectionStore, Now
from connectors.errors import StoreUnavailable
from connectors.paging import Key

HEARTBEAT_SECONDS: Final = 15.0
MAX_WAITING_EVENTS: Final = 1024
"""Of one watcher."""
MAX_WAITING_NOTICES: Final = 20_000
SNAPSHOT_PAGE: Final = 500
BATCH: Final = 500

_KINDS: Final = {
    NoticeKind.CHANGED: EventKind.CHANGED,
    NoticeKind.GONE: EventKind.CHANGED,
    NoticeKind.RESYNCED: EventKind.RESYNCED,
}
"""A notice that is not here changes nothing that a watcher sees."""

Tell = Callable[[Event], Awaitable[None]]

_log = structlog.get_logger(__name__)


class _Watcher:
    """The events that wait for one watcher."""

    def __init__(self, user_id: str | None, limit: int) -> None:
        self.user_id = user_id
        self._limit = limit
        self._gone: AdiuvaError | None = None
        self._events: deque[Event] = deque()
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Queue an event; one too many ends the watch."""
        if len(self._events) >= self._limit:
            self.end(SlowWatcher())
        else:
            self._events.append(event)
            self._woken.set()

    def end(self, error: AdiuvaError) -> None:
        """End the watch: what waits is not delivered any more."""
        self._gone = self._gone or error
        self._ended.set()

    async def next(self, within: float) -> Event | None:
        """Return the next event, or None when there was none within so many seconds."""
        try:
            async with asyncio.timeout(within):
                while not self._events:
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError:
            return None
        return self._events.popleft()

    async def doom(self) -> None:
        """Wait for the end of the watch and raise its error, even while an event is stuck on its way."""
        await self._ended.wait()
        assert self._gone is not None  # noqa: S101 - set before the event
        raise self._gone


class ConnectionHub:
    """Turns what the replicas tell each other into events for watchers.

    Args:
        store: The connections.
        now: The present time.
        heartbeat: Seconds of silence after which a watcher is told that the watch is alive.
        max_waiting: Events that may wait for one watcher.
    """

    def __init__(
        self,
        store: ConnectionStore,
        *,
        now: Now,
        heartbeat: float = HEARTBEAT_SECONDS,
        max_waiting: int = MAX_WAITING_EVENTS,
    ) -> None:
        self._store = store
        self._now = now
        self._heartbeat = heartbeat
        self._max_waiting = max_waiting
        self._watchers: set[_Watcher] = set()
        self._notices: deque[Notice] = deque()
        self._woken = asyncio.Event()
        self._hears = False
        self.listening = asyncio.Event()
        """Set once the feed has listened for the first time."""

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def noticed(self, notice: Notice) -> None:
        """A replica said something."""
        if notice.kind not in _KINDS or not self._watchers:
            return
        if len(self._notices) >= MAX_WAITING_NOTICES:
            self.hears(False)
            self.hears(True)
            return
        self._notices.append(notice)
        self._woken.set()

    def hears(self, state: bool) -> None:
        """The feed listens from now on, or has missed something: then every watcher must begin again."""
        self._hears = state
        if state:
            self.listening.set()
        else:
            self._notices.clear()
            self._end_all(WatchInterrupted)

    def stop(self) -> None:
        """The service stops."""
        self._hears = False
        self._end_all(ConnectorsStopping)

    async def run(self) -> None:
        """Load the connections that notices are about, and tell the watchers; until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._spread()
            except Exception as error:  # noqa: BLE001 - whatever it is, the watchers begin again and the service goes on
                if not isinstance(error, StoreUnavailable):
                    _log.exception("changes of connections not told")
                self._notices.clear()
                self._end_all(WatchInterrupted)

    async def watch(self, user_id: str | None, tell: Tell) -> None:
        """Tell of every connection as it stands, then SNAPSHOT_END, then each change; until cancelled.

        Args:
            user_id: Whose connections; everybody's when None.
            tell: Takes one event; may wait.

        Raises:
            WatchInterrupted: Changes may have been missed: watch again.
            SlowWatcher: Too many events waited.
            ConnectorsStopping: The service stops.
            StoreUnavailable: The database cannot be reached.
        """
        if not self._hears:
            raise WatchInterrupted
        # Registered before the snapshot is read: a change in between is told twice rather than never.
        watcher = _Watcher(user_id, self._max_waiting)
        self._watchers.add(watcher)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watcher.doom())
                await self._tell_snapshot(user_id, tell)
                while True:
                    event = await watcher.next(self._heartbeat)
                    await tell(event or Event(EventKind.HEARTBEAT))
        finally:
            self._watchers.discard(watcher)

    async def _tell_snapshot(self, user_id: str | None, tell: Tell) -> None:
        after: Key | None = None
        while True:
            page = await self._store.page(user_id, limit=SNAPSHOT_PAGE, after=after, include_disconnected=False)
            for connection in page:
                await tell(Event(EventKind.SNAPSHOT, states.seen_at(connection, self._now())))
            if len(page) < SNAPSHOT_PAGE:
                break
            after = (page[-1].created_at, page[-1].connection_id)
        await tell(Event(EventKind.SNAPSHOT_END))

    async def _spread(self) -> None:
        while self._notices:
            batch = [self._notices.popleft() for _ in range(min(BATCH, len(self._notices)))]
            watched = [notice for notice in batch if self._watchers_of(notice.user_id)]
            if not watched:
                continue
            stored = {notice.connection_id for notice in watched if notice.kind is not NoticeKind.GONE}
            loaded = await self._store.load(stored) if stored else {}
            now = self._now()
            for notice in watched:
                connection = _gone(notice) or loaded.get(notice.connection_id)
                if connection is not None:
                    event = Event(_KINDS[notice.kind], states.seen_at(connection, now))
                    for watcher in self._watchers_of(notice.user_id):
                        watcher.tell(event)

    def _watchers_of(self, user_id: str) -> list[_Watcher]:
        return [watcher for watcher in self._watchers if watcher.user_id in {None, user_id}]

    def _end_all(self, error: type[AdiuvaError]) -> None:
        for watcher in list(self._watchers):
            watcher.end(error())


def _gone(notice: Notice) -> Connection | None:
    """Return the last that is seen of a connection that is deleted; None when it is still there to be loaded."""
    if notice.kind is not NoticeKind.GONE or notice.created_at is None:
        return None
    pending = Connection(
        connection_id=notice.connection_id,
        user_id=notice.user_id,
        provider=notice.provider,
        state=ConnectionState.PENDING,
        created_at=notice.created_at,
        updated_at=notice.created_at,
    )
    return states.gone(pending, now=notice.created_at)
