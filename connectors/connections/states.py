"""What happens to a connection, as pure functions: each returns what the connection becomes, or None for no change.

A store runs them on a row that it has locked, so they decide by what is stored at that moment. `version` grows with
every change of the state or of the grant, and `grant_version` with every new pair of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from connectors.connections.domain import Connection, ConnectionState, StoredGrant
from connectors.errors import ConnectionBlocked, ConnectionPending, Disconnected, NeedsReauth, Throttled
from connectors.providers.port import Account
from connectors.vault.domain import WrappedKey

WORKING: Final = frozenset({ConnectionState.ACTIVE, ConnectionState.THROTTLED, ConnectionState.BLOCKED})
"""There is a grant that the provider took the last time and that can be opened."""
LIVE: Final = WORKING | {ConnectionState.NEEDS_REAUTH, ConnectionState.DECRYPT_FAILED}
"""Its user has consented and has not ended it."""

REVOKED: Final = "REVOKED"
NOT_REVOKED: Final = "NOT_REVOKED"
AUTHORIZATION_ENDED: Final = "AUTHORIZATION_ENDED"
"""Reasons of a DISCONNECTED connection: whether the provider ended the grant too, or there never was one."""
ACCESS_REFUSED: Final = "ACCESS_REFUSED"

_ENDED: Final = {
    REVOKED: "The connection was ended, at the provider too.",
    NOT_REVOKED: "The connection was ended here. End the consent at the provider by hand.",
    AUTHORIZATION_ENDED: "The authorization was not completed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTokens:
    """A new pair of tokens, sealed for the version of the grant that they will be."""

    refresh_token: bytes = field(repr=False)
    access_token: bytes = field(repr=False)
    expires_at: datetime
    scopes: frozenset[str]


def usable(connection: Connection) -> None:
    """Refuse a connection whose grant need not even be tried.

    Raises:
        ConnectionPending, NeedsReauth, Disconnected: it is in that state.
    """
    match connection.state:
        case ConnectionState.PENDING:
            raise ConnectionPending
        case ConnectionState.NEEDS_REAUTH:
            raise NeedsReauth(metadata={"cause": connection.reason})
        case ConnectionState.DISCONNECTED:
            raise Disconnected


def allowed(connection: Connection, now: datetime) -> None:
    """Refuse a connection that the provider asked to leave alone for now.

    Raises:
        Throttled: until then.
    """
    until = connection.next_allowed_at
    if connection.state is ConnectionState.THROTTLED and until is not None and until > now:
        raise Throttled(retry_after=(until - now).total_seconds())


def seen_at(connection: Connection, now: datetime) -> Connection:
    """Return the connection as it is at this time: one whose throttle is over is ACTIVE, also before that is stored."""
    until = connection.next_allowed_at
    if connection.state is ConnectionState.THROTTLED and (until is None or until <= now):
        return _state(connection, ConnectionState.ACTIVE, now=connection.updated_at)
    return connection


def renewed(
    grant: StoredGrant, tokens: SealedTokens, account: Account, *, key: WrappedKey | None = None, now: datetime
) -> StoredGrant | None:
    """A consent was given: for the first time, or again.

    Args:
        grant: What is stored.
        tokens: Sealed for `grant.grant_version + 1`.
        account: Whose consent it was.
        key: The data key that they are sealed under, if that is not the connection's own.
        now: The present time.
    """
    if grant.connection.state is ConnectionState.DISCONNECTED:
        return None
    connection = replace(grant.connection, account_id=account.account_id, account=account.address, scopes=tokens.scopes)
    return replace(
        _with_tokens(grant, tokens),
        connection=_state(connection, ConnectionState.ACTIVE, now=now),
        wrapped_key=key or grant.wrapped_key,
        claims="",
    )


def refreshed(grant: StoredGrant, tokens: SealedTokens, *, known: int, now: datetime) -> StoredGrant | None:
    """The provider gave new tokens for the grant of the version `known`; sealed for the next one.

    A grant that was given up meanwhile works again with them. What is throttled or blocked stays so.
    """
    if grant.grant_version != known or grant.connection.state not in LIVE:
        return None
    connection = replace(grant.connection, scopes=tokens.scopes or grant.connection.scopes)
    if connection.state in WORKING:
        connection = replace(connection, version=connection.version + 1, updated_at=now)
    else:
        connection = _state(connection, ConnectionState.ACTIVE, now=now)
    return replace(_with_tokens(grant, tokens), connection=connection)


def refused(grant: StoredGrant, *, known: int, reason: str, claims: str, now: datetime) -> StoredGrant | None:
    """The provider does not accept the grant of the version `known` any more."""
    if grant.grant_version != known or grant.connection.state not in WORKING | {ConnectionState.DECRYPT_FAILED}:
        return None
    return replace(grant, connection=_needs_reauth(grant.connection, reason, now), claims=claims)


def access_refused(grant: StoredGrant, *, known: int | None = None, now: datetime) -> StoredGrant | None:
    """The provider did not take an access token that it had just given, for the grant of the version `known` if set."""
    if grant.connection.state not in WORKING or known not in {None, grant.grant_version}:
        return None
    return replace(grant, connection=_needs_reauth(grant.connection, ACCESS_REFUSED, now))


def undecryptable(grant: StoredGrant, *, known: int, reason: str, message: str, now: datetime) -> StoredGrant | None:
    """What is stored of the version `known` does not open."""
    connection = grant.connection
    if grant.grant_version != known or connection.state not in WORKING | {ConnectionState.DECRYPT_FAILED}:
        return None
    changed = _state(connection, ConnectionState.DECRYPT_FAILED, reason=reason, message=message, now=now)
    same = (connection.state, connection.reason, connection.message) == (changed.state, reason, message)
    return None if same else replace(grant, connection=changed)


def opened(grant: StoredGrant, *, now: datetime) -> StoredGrant | None:
    """What is stored opens, after it did not."""
    if grant.connection.state is not ConnectionState.DECRYPT_FAILED:
        return None
    return replace(grant, connection=_state(grant.connection, ConnectionState.ACTIVE, now=now))


def succeeded(grant: StoredGrant, *, now: datetime) -> StoredGrant | None:
    """The provider answered. Some calls of a connection may be answered while others are throttled."""
    connection = seen_at(grant.connection, now)
    if connection.state not in WORKING:
        return None
    if connection.state is ConnectionState.BLOCKED or connection is not grant.connection:
        connection = _state(grant.connection, ConnectionState.ACTIVE, now=now)
    return replace(grant, connection=replace(connection, last_success_at=now))


def throttled(grant: StoredGrant, *, until: datetime, now: datetime) -> StoredGrant | None:
    """The provider asked to wait."""
    connection = grant.connection
    if connection.state not in {ConnectionState.ACTIVE, ConnectionState.THROTTLED} or until <= now:
        return None
    if connection.next_allowed_at is not None and until <= connection.next_allowed_at:
        return None
    message = "The provider asked to wait."
    changed = _state(connection, ConnectionState.THROTTLED, reason="THROTTLED", message=message, now=now)
    return replace(grant, connection=replace(changed, next_allowed_at=until))


def unthrottled(grant: StoredGrant, *, now: datetime) -> StoredGrant | None:
    """The time that the provider asked to wait may be over."""
    if seen_at(grant.connection, now) is grant.connection:
        return None
    return replace(grant, connection=_state(grant.connection, ConnectionState.ACTIVE, now=now))


def blocked(grant: StoredGrant, *, now: datetime) -> StoredGrant | None:
    """The provider or its administrator forbids the access."""
    if grant.connection.state not in {ConnectionState.ACTIVE, ConnectionState.THROTTLED}:
        return None
    error = ConnectionBlocked()
    changed = _state(
        grant.connection, ConnectionState.BLOCKED, reason=ConnectionBlocked.reason, message=error.message, now=now
    )
    return replace(grant, connection=changed)


def erased(grant: StoredGrant, *, reason: str, now: datetime) -> StoredGrant | None:
    """The user ended it: nothing that is secret is left. Also changes `grant_version`, so nobody brings it back."""
    if grant.connection.state is ConnectionState.DISCONNECTED:
        return None
    ended = _state(grant.connection, ConnectionState.DISCONNECTED, reason=reason, message=_ENDED[reason], now=now)
    return StoredGrant(
        connection=ended,
        wrapped_key=None,
        grant_version=grant.grant_version + 1,
        refresh_token=None,
        access_token=None,
        access_expires_at=None,
    )


def gone(connection: Connection, *, now: datetime) -> Connection:
    """Return how a connection looks that was never completed and is deleted."""
    message = _ENDED[AUTHORIZATION_ENDED]
    return _state(connection, ConnectionState.DISCONNECTED, reason=AUTHORIZATION_ENDED, message=message, now=now)


def _needs_reauth(connection: Connection, reason: str, now: datetime) -> Connection:
    return _state(connection, ConnectionState.NEEDS_REAUTH, reason=reason, message=NeedsReauth().message, now=now)


def _with_tokens(grant: StoredGrant, tokens: SealedTokens) -> StoredGrant:
    return replace(
        grant,
        grant_version=grant.grant_version + 1,
        refresh_token=tokens.refresh_token,
        access_token=tokens.access_token,
        access_expires_at=tokens.expires_at,
    )


def _state(
    connection: Connection, state: ConnectionState, *, reason: str = "", message: str = "", now: datetime
) -> Connection:
    return replace(
        connection,
        state=state,
        reason=reason,
        message=message,
        next_allowed_at=None,
        updated_at=now,
        version=connection.version + 1,
    )
