"""A grant's tokens, sealed and open. What is open here is for the work at hand: it is not stored and not logged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from connectors.connections.domain import StoredGrant
from connectors.connections.states import SealedTokens
from connectors.errors import Disconnected
from connectors.providers.port import Tokens
from connectors.vault.vault import ConnectionKey, Vault

REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - the name of a field
ACCESS_TOKEN: Final = "access_token"  # noqa: S105 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An access token, open."""

    token: str = field(repr=False)
    expires_at: datetime
    grant_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGrant:
    """A grant whose key and tokens have opened."""

    key: ConnectionKey
    refresh_token: str = field(repr=False)
    access: Access | None


async def open_grant(vault: Vault, grant: StoredGrant) -> OpenGrant:
    """Open a grant's key and both tokens.

    Raises:
        Disconnected: There is nothing to open any more.
        KeyMissing, Undecryptable, KeyProviderUnavailable: See `connectors.vault`.
    """
    if grant.wrapped_key is None or grant.refresh_token is None:
        raise Disconnected
    key = await vault.open_key(grant.connection.owner, grant.wrapped_key)
    refresh_token = key.open(REFRESH_TOKEN, grant.grant_version, grant.refresh_token).decode()
    access = None
    if grant.access_token is not None and grant.access_expires_at is not None:
        token = key.open(ACCESS_TOKEN, grant.grant_version, grant.access_token).decode()
        access = Access(token=token, expires_at=grant.access_expires_at, grant_version=grant.grant_version)
    return OpenGrant(key=key, refresh_token=refresh_token, access=access)


def seal_tokens(key: ConnectionKey, version: int, tokens: Tokens, *, refresh_token: str) -> SealedTokens:
    """Seal what a provider gave.

    Args:
        key: The connection's.
        version: The grant version that these tokens will be.
        tokens: What it gave.
        refresh_token: The one to keep when it gave no new one.
    """
    kept = refresh_token if tokens.refresh_token is None else tokens.refresh_token
    return SealedTokens(
        refresh_token=key.seal(REFRESH_TOKEN, version, kept.encode()),
        access_token=key.seal(ACCESS_TOKEN, version, tokens.access_token.encode()),
        expires_at=tokens.expires_at,
        scopes=tokens.scopes,
    )
