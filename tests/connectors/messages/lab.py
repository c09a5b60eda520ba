"""Everything that a fetch needs, in memory, and callers that fetch, store and commit as a good subscriber does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import Connection, ConnectionState
from connectors.connections.errors import ConnectionUnknown
from connectors.errors import Disconnected
from connectors.messages.access import Access
from connectors.messages.attachments import AttachmentService
from connectors.messages.cursors import Cursors
from connectors.messages.domain import Message, MessageFilter
from connectors.messages.events import Checkpoint, Completed, Event, ItemError, Started, Waiting
from connectors.messages.fetching import FetchRequest, FetchService
from connectors.messages.ports import CursorName, CursorStore, Quarantine
from connectors.providers.port import Provider, TokenSource
from connectors.providers.registry import Registry
from connectors.vault.domain import Owner, WrappedKey
from connectors.vault.vault import ConnectionKey, Vault
from tests.fakes.cursor_store import InMemoryCursors, InMemoryQuarantine
from tests.fakes.key_provider import InMemoryKeys
from tests.fakes.provider import FakeMail, FakeProvider, ManualClock

ANNA = "anna"
SUBSCRIBER = "agent-1"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class FixedTokens:
    """Gives always the same token."""

    async def token(self) -> str:
        return "an-access-token"

    async def replace(self, refused: str) -> str:
        return "an-access-token"


class FakeConnections:
    """Connections, their data keys and their tokens."""

    def __init__(self) -> None:
        self.vault = Vault(InMemoryKeys())
        self.tokens: TokenSource = FixedTokens()
        self._connections: dict[str, Connection] = {}
        self._keys: dict[str, WrappedKey] = {}

    async def add(self, connection_id: str = "c-1", *, user_id: str = ANNA, provider: str = "fake") -> Connection:
        """Link an account."""
        connection = Connection(
            connection_id=connection_id,
            user_id=user_id,
            provider=provider,
            account_id="account",
            account="anna@example.org",
            state=ConnectionState.ACTIVE,
            created_at=NOON,
            updated_at=NOON,
        )
        self._connections[connection_id] = connection
        await self.rekey(connection_id)
        return connection

    async def rekey(self, connection_id: str) -> None:
        """Give a connection another data key: the old one is lost."""
        self._keys[connection_id] = await self.vault.new_key(self._connections[connection_id].owner)

    def change(self, connection_id: str, **changes: Any) -> None:
        """Change a connection's fields."""
        self._connections[connection_id] = replace(self._connections[connection_id], **changes)

    def disconnect(self, connection_id: str) -> None:
        """End a connection."""
        self.change(connection_id, state=ConnectionState.DISCONNECTED)
        del self._keys[connection_id]

    async def get(self, user_id: str, connection_id: str) -> Connection:
        connection = self._connections.get(connection_id)
        if connection is None or connection.user_id != user_id:
            raise ConnectionUnknown
        return connection

    async def key(self, connection_id: str) -> ConnectionKey:
        wrapped = self._keys.get(connection_id)
        if wrapped is None:
            raise Disconnected
        owner = self._connections[connection_id].owner
        return await self.vault.open_key(Owner(owner.user_id, connection_id), wrapped)

    def source(self, connection: Connection) -> TokenSource:
        return self.tokens


class FakeHealth:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def succeeded(self, connection_id: str) -> None:
        self.told.append("succeeded")

    async def throttled(self, connection_id: str, until: datetime) -> None:
        self.told.append(f"throttled until {until:%H:%M:%S}")

    async def failed(self, connection_id: str, fault: AdiuvaError) -> None:
        self.told.append(fault.reason)


class FakeNotices:
    """Writes down what watchers hear."""

    def __init__(self) -> None:
        self.resyncs: list[str] = []

    async def resynced(self, connection_id: str) -> None:
        self.resyncs.append(connection_id)


@dataclass
class Fetched:
    """What came of a fetch."""

    events: list[Event] = field(default_factory=list)
    error: AdiuvaError | None = None

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def keys(self) -> list[str]:
        """The keys of the messages, in order."""
        return [message.key for message in self.of(Message)]

    @property
    def errors(self) -> list[ItemError]:
        return self.of(ItemError)

    @property
    def started(self) -> Started:
        (started,) = self.of(Started)
        assert isinstance(started, Started)
        return started

    @property
    def completed(self) -> Completed:
        completed = self.events[-1]
        assert isinstance(completed, Completed)
        return completed

    @property
    def waits(self) -> list[Waiting]:
        return self.of(Waiting)

    @property
    def token(self) -> str:
        """The last place that was told."""
        marks = [event for event in self.events if isinstance(event, Checkpoint | Completed)]
        return marks[-1].cursor_token


class Stopped(Exception):
    """The caller has left."""


class Lab:
    """One user with one connection, and the services."""

    def __init__(
        self,
        *,
        clock: ManualClock | None = None,
        concurrency: int = 4,
        cursors: CursorStore | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.clock = clock or ManualClock(NOON)
        self.fake = FakeProvider(self.clock, concurrency=concurrency)
        self.provider: Provider = self.fake
        self.connections = FakeConnections()
        self.health = FakeHealth()
        self.notices = FakeNotices()
        self.desk = InMemoryQuarantine()
        self.store = InMemoryCursors(self.desk)
        self.access = Access(
            connections=self.connections,
            keys=self.connections,
            tokens=self.connections,
            providers=Registry([self.provider]),
            health=self.health,
            now=self.clock.now,
        )
        self.fetches = FetchService(
            access=self.access,
            store=cursors or self.store,
            quarantine=quarantine or self.desk,
            notices=self.notices,
            now=self.clock.now,
            sleep=self.clock.sleep,
        )
        self.cursors = Cursors(store=cursors or self.store, access=self.access, now=self.clock.now)
        self.attachments = AttachmentService(access=self.access, now=self.clock.now, sleep=self.clock.sleep)
        self.name = CursorName(connection_id="c-1", subscriber=SUBSCRIBER)

    @classmethod
    async def linked(cls, **options: Any) -> Lab:
        """A lab whose user has linked an account."""
        lab = cls(**options)
        await lab.connections.add()
        return lab

    def mail(self, provider_id: str, *, ago: timedelta = timedelta(hours=1), **fields: Any) -> FakeMail:
        """Put a message into the mailbox that came in so long ago."""
        mail = FakeMail(provider_id=provider_id, received_at=self.clock.now() - ago, **fields)
        self.fake.receive(mail)
        return mail

    def mails(self, count: int, *, start: int = 0) -> list[str]:
        """Put messages into the mailbox, a minute apart, and return their ids, oldest first."""
        ids = [f"m{number:04d}" for number in range(start, start + count)]
        for number, provider_id in enumerate(ids):
            self.mail(provider_id, ago=timedelta(minutes=count - number))
        return ids

    def request(self, **changes: Any) -> FetchRequest:
        """A request of the subscriber."""
        fields: dict[str, Any] = {
            "user_id": ANNA,
            "connection_id": "c-1",
            "subscriber": SUBSCRIBER,
            "filter": MessageFilter(),
            "deadline": self.clock.now() + timedelta(minutes=10),
        }
        return FetchRequest(**{**fields, **changes})

    async def fetch(self, emit: Callable[[Event], Awaitable[None]] | None = None, **changes: Any) -> Fetched:
        """Fetch to the end, or to an error of ours."""
        fetched = Fetched()

        async def take(event: Event) -> None:
            fetched.events.append(event)
            await asyncio.sleep(0)
            if emit is not None:
                await emit(event)

        try:
            await self.fetches.fetch(self.request(**changes), take)
        except AdiuvaError as error:
            fetched.error = error
        return fetched

    async def commit(self, token: str, *, user_id: str = ANNA, connection_id: str = "c-1") -> None:
        """Commit a place."""
        await self.cursors.commit(user_id, connection_id, token)

    async def consume(self, **changes: Any) -> Fetched:
        """Fetch, and commit the end."""
        fetched = await self.fetch(**changes)
        assert fetched.error is None, fetched.error
        await self.commit(fetched.completed.cursor_token)
        return fetched

    async def quarantined(self) -> list[str]:
        """The provider_ids in quarantine, oldest first."""
        page = await self.desk.page(user_id=None, connection_id="", limit=1000, after=None)
        return [one.provider_id for one in reversed(page)]


def leaving_after(count: int, kind: type[Any] = Message) -> Callable[[Event], Awaitable[None]]:
    """Return an `emit` that fails, as the stream of a caller that left, after so many events of a kind."""
    seen = 0

    async def emit(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, kind)
        if seen >= count:
            raise Stopped

    return emit
