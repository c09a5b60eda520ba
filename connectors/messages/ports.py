"""What fetching needs from outside: connections with their grants, providers, and stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import Connection
from connectors.messages.domain import Ref
from connectors.providers.port import Provider, TokenSource
from connectors.vault.vault import ConnectionKey

Now = Callable[[], datetime]
"""The present time, in UTC."""
Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""


class Providers(Protocol):
    """The providers of this service."""

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            ProviderUnknown: there is none of this name.
        """
        ...


class Connections(Protocol):
    """The connections as users see them."""

    async def get(self, user_id: str, connection_id: str) -> Connection:
        """Return a connection of the user, whatever its state.

        Raises:
            NotFound: the user has none of this id.
            StoreUnavailable: the database cannot be used now.
        """
        ...


class Keys(Protocol):
    """The data keys of the connections."""

    async def key(self, connection_id: str) -> ConnectionKey:
        """Open the data key of a connection.

        Raises:
            Disconnected: it was destroyed.
            DecryptFailed: it does not open; the connection's state says so from now on.
            Unavailable: the database, or what keeps the keys, cannot be used now.
        """
        ...


class TokenKeeper(Protocol):
    """Where access tokens come from. A refresh that has begun comes to its end, whoever leaves."""

    def source(self, connection: Connection) -> TokenSource:
        """Return where a provider gets the tokens of a connection from."""
        ...


class Health(Protocol):
    """How the providers of connections answer. What changes nothing about a connection is passed over.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """

    async def succeeded(self, connection_id: str) -> None:
        """The provider answered as it should."""
        ...

    async def throttled(self, connection_id: str, until: datetime) -> None:
        """The provider asked to wait until then."""
        ...

    async def failed(self, connection_id: str, fault: AdiuvaError) -> None:
        """The work ended with this error, whatever it is about."""
        ...


class Notices(Protocol):
    """What the watchers of connections hear of."""

    async def resynced(self, connection_id: str) -> None:
        """The provider had forgotten a cursor, and a window was read again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorName:
    """Whose cursor it is."""

    connection_id: str
    subscriber: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCursor:
    """A cursor as it lies in the database."""

    epoch: int
    """How often a fetch has begun; the newest may move the cursor."""
    filter_hash: str
    """What `state` and the round are for."""
    state: bytes | None = field(repr=False)
    """What the provider is asked with the next time; sealed. None before the first round has ended."""
    listed_at: datetime | None
    """When the listing began that `state` is from."""
    round_id: str
    """The round under way or, when there is none, the last one that ended; empty before the first."""
    round: bytes | None = field(repr=False)
    """The round under way; sealed."""
    position: int
    """How many refs of the round are committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRound:
    """A round to be delivered."""

    round_id: str
    sealed: bytes = field(repr=False)
    filter_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a cursor becomes when a round is over."""

    state: bytes = field(repr=False)
    listed_at: datetime
    forget_before: datetime
    """Delivered messages that came in before are not remembered any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """A step forward within a round."""

    epoch: int
    round_id: str
    position: int
    """Where the cursor is then."""
    seen: Sequence[tuple[bytes, datetime]]
    """Digests of what was delivered, with the times when it came in."""
    unseen: Sequence[bytes]
    """Digests of what did not come: should they be remembered of an earlier try, they are not any more."""
    cleared: Sequence[tuple[str, str]]
    """provider_id and version of what leaves the quarantine."""
    ended: Ended | None
    """Set when the round is over with this step."""


class CursorStore(Protocol):
    """The cursors, and what was delivered by them. Each method is one transaction of its own.

    What changes a cursor names the epoch that it is of, and does nothing and returns False when that is not the
    cursor's any more, or when there is no such cursor.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """

    async def begin(self, name: CursorName, *, filter_hash: str, now: datetime) -> StoredCursor:
        """Begin a fetch: count the epoch up, in a new cursor from 1, and return the cursor.

        The filter's hash is for a new cursor only: another one changes with its next round.

        A new cursor first makes those of the connection be forgotten that no fetch has used for IDLE_SUBSCRIBER.

        Raises:
            NotFound: there is no such connection.
            TooManySubscribers: it has MAX_SUBSCRIBERS cursors.
        """
        ...

    async def read(self, name: CursorName) -> StoredCursor | None:
        """Return a cursor."""
        ...

    async def store_round(self, name: CursorName, epoch: int, made: NewRound, *, now: datetime) -> bool:
        """Put a round in the place of the one under way, with nothing committed of it.

        With another filter the cursor also loses its state, which was for the old one.
        """
        ...

    async def settle(
        self, name: CursorName, epoch: int, round_id: str, ended: Ended, *, filter_hash: str, now: datetime
    ) -> bool:
        """End a round that has nothing to deliver, in the place of the one under way."""
        ...

    async def rewind(self, name: CursorName, epoch: int, round_id: str, position: int, *, now: datetime) -> bool:
        """Go back within the round under way, if that is `round_id` and the cursor is past `position`."""
        ...

    async def advance(self, name: CursorName, step: Advance, *, now: datetime) -> bool:
        """Go forward, if the round of the step is under way and the cursor is not there yet.

        At the end of the round its state becomes the cursor's, and what was delivered long ago is forgotten.
        """
        ...

    async def seen(self, name: CursorName, digests: Collection[bytes]) -> set[bytes]:
        """Return those of the digests that were delivered and committed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A message that could not be read."""

    user_id: str
    ref: Ref
    reason: str
    message: str
    """Holds nothing of the message."""


class Quarantine(Protocol):
    """The messages that could not be read. Each method is one transaction of its own.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """

    async def put(self, name: CursorName, trouble: Trouble, *, now: datetime) -> None:
        """Keep a message or, if it is there, count one more try; it is not to be retried then."""
        ...

    async def retries(self, name: CursorName, *, limit: int) -> list[Ref]:
        """Return messages that are to be tried again, oldest first."""
        ...

    async def drop(self, name: CursorName, refs: Collection[Ref]) -> None:
        """Keep these messages no longer."""
        ...
