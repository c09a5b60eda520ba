"""One refresh of a grant at a time, over all replicas, and no new token in use before it is stored.

Whoever goes to the provider holds the connection's lease; the others wait for the outcome and read it. The lease only
keeps them from going at once. What keeps them from overwriting each other is the version of the grant: new tokens are
stored if, and only if, the grant has still the version that they came from. So a holder that stalled beyond its lease
stores its tokens when nobody else got any, and throws them away when somebody did.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.failpoints import failpoint
from connectors.connections import states
from connectors.connections.domain import AuditAction, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.grants import Access, OpenGrant, seal_tokens
from connectors.connections.health import OperatorAlerts, event_of
from connectors.connections.opening import GrantOpener
from connectors.connections.ports import Change, GrantStore, Now, Providers, Sleep
from connectors.connections.revoking import revoke
from connectors.connections.states import SealedTokens
from connectors.errors import Disconnected, NeedsReauth, OperatorFault, ProviderUnavailable, StoreUnavailable
from connectors.providers.port import GrantRefused, Tokens

LEAST_LEFT: Final = timedelta(minutes=1)
"""What is left of a token that is given to anybody."""
COMMIT_ATTEMPTS: Final = 12
"""About half a minute: the tokens in hand may be the only ones that are still good."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

_REASON = re.compile(r"[A-Z][A-Z0-9_]{2,62}")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take, in seconds."""

    call: float = 32.0
    """One refresh at the provider."""
    lease: float = 45.0
    """Until others may go to the provider too; longer than a call."""
    wait: float = 75.0
    """For somebody else's refresh."""
    poll: float = 1.0
    """Between two looks, if no notice comes."""


class Bell:
    """Wakes those who wait for a connection to change."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, connection_id: str) -> None:
        """The connection has changed, or its lease is free."""
        for event in self._waiting.get(connection_id, ()):
            event.set()

    @contextmanager
    def waiting(self, connection_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when it rings."""
        event = asyncio.Event()
        self._waiting[connection_id].add(event)
        try:
            yield event
        finally:
            self._waiting[connection_id].discard(event)
            if not self._waiting[connection_id]:
                del self._waiting[connection_id]


class Refresher:
    """Gets new tokens for grants.

    Args:
        grants: The grants.
        opener: Opens them.
        providers: Where to get tokens.
        alerts: Hears of operator faults.
        now: The present time.
        sleep: Waits between attempts to store.
        timing: How long things may take.
    """

    def __init__(
        self,
        *,
        grants: GrantStore,
        opener: GrantOpener,
        providers: Providers,
        alerts: OperatorAlerts,
        now: Now,
        sleep: Sleep,
        timing: Timing,
    ) -> None:
        self._grants = grants
        self._opener = opener
        self._providers = providers
        self._alerts = alerts
        self._now = now
        self._sleep = sleep
        self._timing = timing
        self.bell = Bell()

    async def refresh(self, connection_id: str, known: int) -> Access:
        """Return the access token of a newer version of the grant than `known`, whoever gets it.

        Raises:
            NeedsReauth: The provider does not accept the grant any more.
            OperatorFault, ProviderUnavailable, Throttled: Nothing has changed.
            DecryptFailed, Disconnected, ConnectionPending: As they say.
            ConnectionUnknown, ProviderUnknown: There is no such connection, or no such provider any more.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timing.wait
        with self.bell.waiting(connection_id) as rung:
            while True:
                rung.clear()
                grant = await self._grants.grant(connection_id)
                states.usable(grant.connection)
                if grant.grant_version != known and (access := await self._current(grant)) is not None:
                    return access
                if (access := await self._go(grant)) is not None:
                    return access
                left = deadline - clock()
                if left <= 0:
                    raise ProviderUnavailable("Another replica has been at the provider for too long. Try again.")
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._timing.poll)):
                        await rung.wait()

    async def _current(self, grant: StoredGrant) -> Access | None:
        """Return the access token that is stored, if it is good for a while."""
        access = (await self._opener.open(grant)).access
        return access if access is not None and access.expires_at - self._now() >= LEAST_LEFT else None

    async def _go(self, grant: StoredGrant) -> Access | None:
        """Go to the provider with the lease. None when somebody else has it, or the grant has changed: look again."""
        clock = asyncio.get_running_loop().time
        connection_id, owner, began = grant.connection.connection_id, uuid.uuid4().hex, clock()
        if not await self._grants.take_lease(
            connection_id, grant_version=grant.grant_version, owner=owner, seconds=self._timing.lease
        ):
            return None
        # Whatever is not expected here leaves the lease to run out: it is not known how far it got at the provider.
        try:
            opened = await self._opener.open(grant)
            if clock() - began > self._timing.lease - self._timing.call:
                # This process stood still: the call would outlive the lease, and another one may begin at any moment.
                await self._release(connection_id, owner)
                return None
            answer = await self._ask(grant, opened)
        except _NoAnswer:
            raise ProviderUnavailable from None
        except AdiuvaError:
            await self._release(connection_id, owner)
            raise
        if isinstance(answer, Tokens):
            return await self._keep(grant, opened, answer)
        try:
            return await self._refused(grant, answer)
        finally:
            await self._release(connection_id, owner)

    async def _ask(self, grant: StoredGrant, opened: OpenGrant) -> Tokens | GrantRefused:
        identity = self._providers.get(grant.connection.provider).identity
        try:
            async with asyncio.timeout(self._timing.call):
                return await identity.refresh(opened.refresh_token, scopes=grant.connection.scopes)
        except TimeoutError:
            raise _NoAnswer from None
        except GrantRefused as refusal:
            return refusal
        except OperatorFault:
            await self._alerts.report(grant.connection)
            raise

    async def _keep(self, grant: StoredGrant, opened: OpenGrant, tokens: Tokens) -> Access | None:
        """Store new tokens, then return the access token; None when others have stored theirs before."""
        version = grant.grant_version + 1
        sealed = seal_tokens(opened.key, version, tokens, refresh_token=opened.refresh_token)
        failpoint("connectors.before_refresh_commit")
        stored = await self._commit(grant, sealed)
        failpoint("connectors.after_refresh_commit")
        if stored:
            return Access(token=tokens.access_token, expires_at=tokens.expires_at, grant_version=version)
        return await self._overtaken(grant, tokens)

    async def _commit(self, grant: StoredGrant, sealed: SealedTokens) -> bool:
        """Store new tokens; False when the grant has another version by now, or is gone."""
        now = self._now()

        def decide(current: StoredGrant) -> Change | None:
            changed = states.refreshed(current, sealed, known=grant.grant_version, now=now)
            if changed is None:
                return None
            return Change(grant=changed, audit=(event_of(current.connection, AuditAction.REFRESHED, at=now),))

        attempt = 1
        while True:
            try:
                return await self._grants.change(grant.connection.connection_id, decide) is not None
            except ConnectionUnknown:
                return False
            except StoreUnavailable:
                if attempt == COMMIT_ATTEMPTS:
                    raise
            await self._sleep(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
            attempt += 1

    async def _overtaken(self, grant: StoredGrant, tokens: Tokens) -> Access | None:
        """Return what others stored before; or what this one stored, when the answer to that got lost.

        Raises:
            Disconnected, ConnectionUnknown: The connection has ended meanwhile, and so have these tokens.
        """
        connection = grant.connection
        _log.info("refreshed too late", connection_id=connection.connection_id, grant_version=grant.grant_version)
        try:
            return await self._look(connection.connection_id)
        except (Disconnected, ConnectionUnknown):
            identity = self._providers.get(connection.provider).identity
            token = tokens.refresh_token or tokens.access_token
            await revoke(identity, token, connection_id=connection.connection_id)
            raise

    async def _refused(self, grant: StoredGrant, refusal: GrantRefused) -> Access | None:
        """The provider does not accept the grant: it is dead, or somebody else was faster and theirs is good.

        Raises:
            NeedsReauth: It is dead. The connection says so from now on, so nobody asks again.
        """
        connection_id, now = grant.connection.connection_id, self._now()
        reason = refusal.reason if _REASON.fullmatch(refusal.reason) else "GRANT_REFUSED"

        def decide(current: StoredGrant) -> Change | None:
            changed = states.refused(current, known=grant.grant_version, reason=reason, claims=refusal.claims, now=now)
            if changed is None:
                return None
            event = event_of(current.connection, AuditAction.REFRESH_REFUSED, reason=reason, at=now)
            return Change(grant=changed, audit=(event,))

        if await self._grants.change(connection_id, decide) is None:
            return await self._look(connection_id)
        _log.warning("grant refused by its provider", connection_id=connection_id, reason=reason)
        raise NeedsReauth(metadata={"cause": reason})

    async def _look(self, connection_id: str) -> Access | None:
        """Return the access token that is stored now, if it is good for a while. Errors as `states.usable`."""
        grant = await self._grants.grant(connection_id)
        states.usable(grant.connection)
        return await self._current(grant)

    async def _release(self, connection_id: str, owner: str) -> None:
        try:
            await self._grants.release_lease(connection_id, owner=owner)
        except StoreUnavailable:
            _log.warning("lease not released; it runs out by itself", connection_id=connection_id)


class _NoAnswer(Exception):
    """The provider may still answer; nobody waits for it any more."""
