"""What connections need from outside, and what they offer to whoever fetches messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import AuditEvent, Connection, Notice, StoredFlow, StoredGrant
from connectors.paging import Key
from connectors.providers.port import Provider

Now = Callable[[], datetime]
"""The present time, in UTC."""
Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""


class Providers(Protocol):
    """The providers of this service."""

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            ProviderUnknown: There is none of this name.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a grant becomes, and what is told about it, in one transaction.

    A store drops the lease when `grant_version` changes, and destroys the flows, cursors and what else belongs to a
    connection when its `wrapped_key` becomes None.
    """

    grant: StoredGrant
    audit: tuple[AuditEvent, ...] = ()
    rekeyed: bool = False
    """Whether `wrapped_key` is another data key: what was sealed under the old one, cursors for one, is dropped."""


Decide = Callable[[StoredGrant], Change | None]
"""Says what becomes of a grant, given how it is stored now; None for nothing. Pure and quick: the row is locked."""


class ConnectionStore(Protocol):
    """Connections as users see them. Every method may raise StoreUnavailable."""

    async def get(self, user_id: str, connection_id: str) -> Connection:
        """Return a connection.

        Raises:
            ConnectionUnknown: The user has no such connection.
        """
        ...

    async def page(
        self, user_id: str | None, *, limit: int, after: Key | None, include_disconnected: bool
    ) -> list[Connection]:
        """Return connections, newest first; of all users when `user_id` is None.

        Args:
            user_id: Whose.
            limit: At most so many.
            after: (created_at, connection_id) of the last one of the page before; None for the first page.
            include_disconnected: Whether those that were ended are listed too.
        """
        ...

    async def load(self, connection_ids: Collection[str]) -> dict[str, Connection]:
        """Return the connections with these ids that there are, whoever owns them."""
        ...


class GrantStore(Protocol):
    """Grants, sealed. For code that has already made sure whose they are. Every method may raise StoreUnavailable."""

    async def grant(self, connection_id: str) -> StoredGrant:
        """Return the grant of a connection.

        Raises:
            ConnectionUnknown: There is no such connection.
        """
        ...

    async def of_account(self, user_id: str, provider: str, account_id: str) -> StoredGrant | None:
        """Return the user's connection to this account that was not ended; None without one."""
        ...

    async def is_linked(self, provider: str, account_id: str) -> bool:
        """Tell whether anybody has a connection to this account that was not ended."""
        ...

    async def change(self, connection_id: str, decide: Decide) -> StoredGrant | None:
        """Change a grant as `decide` says, and tell the replicas when its `version` has changed.

        Returns:
            The grant as it is now; None when `decide` said None.

        Raises:
            ConnectionUnknown: There is no such connection.
        """
        ...

    async def take_lease(self, connection_id: str, *, grant_version: int, owner: str, seconds: float) -> bool:
        """Become the only one who goes to the provider for this version of the grant, for so long.

        Returns:
            False when somebody else is, or the grant has another version.
        """
        ...

    async def release_lease(self, connection_id: str, *, owner: str) -> None:
        """Give the lease back, if it is still this owner's, and tell the replicas."""
        ...

    async def stale(self, before: datetime, *, after: str, limit: int) -> list[Connection]:
        """Return WORKING connections whose access token expired before then, or is none, by their ids after `after`."""
        ...

    async def undecryptable(self, *, after: str, limit: int) -> list[Connection]:
        """Return DECRYPT_FAILED connections, by their ids after `after`."""
        ...

    async def end_throttles(self, now: datetime) -> int:
        """Make the THROTTLED connections whose time is over ACTIVE; return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFlow:
    """A flow that begins."""

    flow: StoredFlow
    state_hash: bytes | None
    """Of the state that the browser brings back; None for a device code."""
    request_id: str
    request_hash: str
    """Two requests with one id must have the same."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The flow that a request began when it came before."""

    flow: StoredFlow
    request_hash: str


class AccountTaken(Exception):
    """The user has another connection to the account, which has come in between."""


class FlowStore(Protocol):
    """Authorizations under way. Every method may raise StoreUnavailable."""

    async def earlier(self, user_id: str, request_id: str) -> Earlier | None:
        """Return the flow of a request that came before."""
        ...

    async def check_room(self, user_id: str, *, now: datetime, limit: int) -> None:
        """Refuse another flow when the user has so many that wait.

        Raises:
            TooManyFlows: With the time until the oldest expires.
        """
        ...

    async def begin(
        self, new: NewFlow, pending: StoredGrant | None, audit: AuditEvent, *, limit: int
    ) -> Earlier | None:
        """Store a flow, and the PENDING connection that it is for if that is new.

        Returns:
            None; or the flow of the same request that another call has stored meanwhile.

        Raises:
            TooManyFlows: As `check_room` at `flow.created_at`.
            ConnectionUnknown: The connection is gone.
        """
        ...

    async def take(self, user_id: str, state_hash: bytes, *, now: datetime) -> StoredFlow | None:
        """Use up the user's redirect flow with this state. Of many who try, one gets it; None for the others.

        Nobody gets a flow that is used, expired or another user's.
        """
        ...

    async def take_poll(self, user_id: str, flow_id: str, *, now: datetime, hold: datetime) -> StoredFlow:
        """Get the right to ask the provider once for the user's device flow, and keep everybody else off until `hold`.

        Returns:
            The flow; one that is completed is returned too, with `used_at`, and without keeping anybody off.

        Raises:
            StateInvalid: There is no such flow, or it has expired.
            PolledTooEarly: With the time until the next may ask.
        """
        ...

    async def poll_again(self, flow_id: str, *, at: datetime) -> None:
        """Let the next ask for a device flow from then on."""
        ...

    async def settle(
        self, flow: StoredFlow, connection_id: str, decide: Decide, *, now: datetime
    ) -> StoredGrant | None:
        """Complete a flow: change the connection that it leads to, as `GrantStore.change` does.

        When that is not the flow's own, which is PENDING, the flow becomes the other's and its own is deleted.

        Returns:
            The grant as it is now; None when `decide` said None.

        Raises:
            AccountTaken: See there. Nothing was changed.
            StateInvalid: The flow or a connection is gone, or another poll has completed the flow.
        """
        ...

    async def abandon(self, flow: StoredFlow, audit: AuditEvent) -> None:
        """End a flow that failed: delete it, and its connection if that is still PENDING."""
        ...

    async def sweep(self, before: datetime) -> int:
        """Delete the flows that expired before then, and connections that are PENDING without one.

        Returns:
            How many connections were deleted.
        """
        ...


class AuditTrail(Protocol):
    """What was done to grants. Every method may raise StoreUnavailable."""

    async def add(self, event: AuditEvent) -> None:
        """Write a line that belongs to no change."""
        ...

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        """Return events, newest first.

        Args:
            user_id: Only of this user; of all when None.
            connection_id: Only of this connection; of all when empty.
            limit: At most so many.
            before: Only older ones than this `event_id`; empty for the newest.
        """
        ...


class NoticeFeed(Protocol):
    """Hears what the replicas tell each other."""

    async def run(self, on_notice: Callable[[Notice], None], on_state: Callable[[bool], None]) -> None:
        """Listen until cancelled, connecting again when the connection is lost.

        Args:
            on_notice: Called for each notice, in order.
            on_state: Called with True when it listens from now on, with False when it has missed something.
        """
        ...


class Notices(Protocol):
    """Offered to whoever fetches messages: what watchers of a connection should hear of."""

    async def resynced(self, connection_id: str) -> None:
        """The provider had forgotten a cursor, and a window was read again.

        Raises:
            StoreUnavailable: Nobody heard of it.
        """
        ...


class Health(Protocol):
    """Offered to whoever fetches messages: how a connection's provider answers.

    Every method may raise StoreUnavailable. A connection that is gone or ended is passed over.
    """

    async def succeeded(self, connection_id: str) -> None:
        """The provider answered as it should."""
        ...

    async def throttled(self, connection_id: str, until: datetime) -> None:
        """The provider asked to wait until then."""
        ...

    async def failed(self, connection_id: str, fault: AdiuvaError) -> None:
        """The provider's answer, or the want of one, ended the work with this error.

        NeedsReauth, ConnectionBlocked and Throttled change the connection's state, but for a NeedsReauth with a cause,
        which the one who keeps the tokens has written down; an OperatorFault is audited and logged; anything else says
        nothing about the connection.
        """
        ...
