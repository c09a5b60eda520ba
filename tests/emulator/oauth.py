"""What both authorization servers have in common: clients, consent, codes, and grants with their tokens."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.emulator.core import Core

_CODE_LIVES = timedelta(minutes=10)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class RefreshMode(StrEnum):
    """What a refresh does to the refresh token."""

    NONE = "none"
    """No new one is given; the old one goes on."""
    ROTATE_KEEP_OLD = "rotate-keep-old"
    """A new one is given; the old one goes on until it dies by itself."""
    STRICT = "strict"
    """A new one is given, the old one is spent. Whoever uses a spent one kills the grant."""


class Why(StrEnum):
    """Why a code or a refresh token is refused; each half has its own words for it."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    CLIENT = "of another client"
    REDIRECT = "of another redirect address"
    VERIFIER = "the code verifier does not match"
    REVOKED = "revoked"


class Refused(Exception):
    """A code or a refresh token is not accepted."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application that is registered with the provider."""

    client_id: str
    secret: str = ""
    """Empty is a public client."""
    redirect_uris: tuple[str, ...] = ("http://127.0.0.1/callback", "http://localhost/callback", "http://localhost")
    """Exact, but for the port (and for Google the path) of a loopback address."""

    def allows(self, redirect_uri: str, *, any_loopback_path: bool = False) -> bool:
        """Return whether an authorization may be sent there."""
        if redirect_uri in self.redirect_uris:
            return True
        asked = urlsplit(redirect_uri)
        if asked.scheme != "http" or asked.hostname not in _LOOPBACK or asked.fragment or asked.username:
            return False
        known = [urlsplit(uri) for uri in self.redirect_uris]
        return any(
            uri.scheme == "http"
            and uri.hostname == asked.hostname
            and (any_loopback_path or (uri.path, uri.query) == (asked.path, asked.query))
            for uri in known
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the person in front of the consent screen does. The default approves what is asked, as who is asked for."""

    approve: bool = True
    account: str = ""
    """Who signs in, whatever `login_hint` says; empty follows the hint, else the account that is signed in."""
    without_scopes: tuple[str, ...] = ()
    """What is ticked off."""


def s256(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(slots=True, eq=False, kw_only=True)
class Grant:
    """What an account allowed a client."""

    account: str
    client_id: str
    scopes: tuple[str, ...]
    offline: bool = True
    """It comes with a refresh token."""
    nonce: str = ""
    alive: bool = True
    refreshes: int = 0
    """How often it was refreshed."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str
    expires_at: datetime
    used: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class _Token:
    grant: Grant
    expires_at: datetime
    scopes: tuple[str, ...]
    spent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a token endpoint gives out."""

    grant: Grant
    access_token: str
    refresh_token: str | None
    expires_in: int
    """Seconds."""
    scopes: tuple[str, ...]


@dataclass(kw_only=True)
class Grants:
    """All codes, grants and tokens of one authorization server. All times are the virtual clock's."""

    core: Core
    mode: RefreshMode
    refresh_lifetime: timedelta
    lifetime_restarts: bool
    """Whether using a refresh token gives it its whole lifetime again."""
    access_lifetime: timedelta = timedelta(seconds=3599)
    code_prefix: str = ""
    access_prefix: str = ""
    refresh_prefix: str = ""
    _codes: dict[str, _Code] = field(default_factory=dict)
    _access: dict[str, _Token] = field(default_factory=dict)
    _refresh: dict[str, _Token] = field(default_factory=dict)

    def grants_of(self, account: str = "") -> list[Grant]:
        """Return the grants of an account, or all, dead ones included, oldest first."""
        ordered = dict.fromkeys(token.grant for token in self._access.values())
        return [grant for grant in ordered if account in {"", grant.account}]

    def new_code(self, grant: Grant, *, redirect_uri: str, challenge: str) -> str:
        """Return a code for a grant that was just consented to. It lives for ten minutes and works once."""
        code = self.core.secret(self.code_prefix)
        self._codes[code] = _Code(
            grant=grant, redirect_uri=redirect_uri, challenge=challenge, expires_at=self.core.now() + _CODE_LIVES
        )
        return code

    def redeem(self, code: str, *, client_id: str, redirect_uri: str, verifier: str) -> Issued:
        """Trade a code for tokens.

        Raises:
            Refused: With the reason.
        """
        known = self._codes.get(code)
        if known is None:
            raise Refused(Why.UNKNOWN)
        checks = {
            Why.CLIENT: known.grant.client_id != client_id,
            Why.USED: known.used,
            Why.EXPIRED: self.core.now() >= known.expires_at,
            Why.REDIRECT: known.redirect_uri != redirect_uri,
            Why.VERIFIER: known.challenge != s256(verifier),
        }
        _refuse_first(checks)
        known.used = True
        return self.issue(known.grant)

    def issue(self, grant: Grant) -> Issued:
        """Give out the first tokens of a grant, without any code: what a test seeds, and what a device flow ends in."""
        return self._issued(grant, grant.scopes, self._new_refresh(grant) if grant.offline else None)

    def refresh(self, refresh_token: str, *, client_id: str, scopes: tuple[str, ...] = ()) -> Issued:
        """Trade a refresh token for an access token, and for what `mode` says.

        Args:
            refresh_token: The refresh token.
            client_id: Who asks.
            scopes: Fewer scopes than granted; empty is all.

        Raises:
            Refused: With the reason.
        """
        known = self._refresh.get(refresh_token)
        if known is None:
            raise Refused(Why.UNKNOWN)
        if known.spent:
            known.grant.alive = False
        checks = {
            Why.CLIENT: known.grant.client_id != client_id,
            Why.USED: known.spent,
            Why.REVOKED: not known.grant.alive,
            Why.EXPIRED: self.core.now() >= known.expires_at,
        }
        _refuse_first(checks)
        known.grant.refreshes += 1
        known.spent = self.mode is RefreshMode.STRICT
        if self.lifetime_restarts:
            known.expires_at = self.core.now() + self.refresh_lifetime
        fresh = None if self.mode is RefreshMode.NONE else self._new_refresh(known.grant)
        return self._issued(known.grant, scopes or known.grant.scopes, fresh)

    def bearer(self, access_token: str) -> Grant | None:
        """Return the grant of an access token that is valid now."""
        known = self._access.get(access_token)
        if known is None or not known.grant.alive or self.core.now() >= known.expires_at:
            return None
        return known.grant

    def scopes_of(self, access_token: str) -> tuple[str, ...]:
        """Return what a known access token is good for."""
        return self._access[access_token].scopes

    def scopes_of_refresh(self, refresh_token: str) -> tuple[str, ...]:
        """Return what a refresh token was given for; nothing if it is not known."""
        known = self._refresh.get(refresh_token)
        return known.scopes if known else ()

    def revoke_token(self, token: str) -> bool:
        """Kill the grant that a token, of either kind, belongs to; return whether there was one alive."""
        known = self._refresh.get(token) or self._access.get(token)
        was_alive = known is not None and known.grant.alive
        if known is not None:
            known.grant.alive = False
        return was_alive

    def revoke(self, account: str) -> None:
        """Kill all grants of an account, as its owner does in the account's settings."""
        for grant in self.grants_of(account):
            grant.alive = False

    def expire_access(self, account: str = "") -> None:
        """Let the access tokens of an account, or all, expire now; refresh tokens go on."""
        for token in self._access.values():
            if account in {"", token.grant.account}:
                token.expires_at = self.core.now()

    def _new_refresh(self, grant: Grant) -> str:
        token = self.core.secret(self.refresh_prefix)
        self._refresh[token] = _Token(
            grant=grant, expires_at=self.core.now() + self.refresh_lifetime, scopes=grant.scopes
        )
        return token

    def _issued(self, grant: Grant, scopes: tuple[str, ...], refresh_token: str | None) -> Issued:
        access = self.core.secret(self.access_prefix)
        self._access[access] = _Token(grant=grant, expires_at=self.core.now() + self.access_lifetime, scopes=scopes)
        return Issued(
            grant=grant,
            access_token=access,
            refresh_token=refresh_token,
            expires_in=int(self.access_lifetime.total_seconds()),
            scopes=scopes,
        )


def _refuse_first(checks: dict[Why, bool]) -> None:
    for why, failed in checks.items():
        if failed:
            raise Refused(why)
