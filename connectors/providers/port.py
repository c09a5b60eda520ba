"""What a provider is. Everything else in this service works with any object that keeps these contracts.

A provider says what its users are asked for (`Identity`) and reads their messages (`Provider`). It keeps nothing
between two calls: what has to be remembered goes back to the caller, who stores it sealed. It raises the errors of
`connectors.errors` and the exceptions named here, and no others; it logs neither tokens nor addresses nor what
messages say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, unique
from typing import Protocol

from connectors.messages.domain import Listing, Message, MessageFilter, Query, Ref


@unique
class Flow(Enum):
    """How a user consents."""

    REDIRECT = "redirect"
    DEVICE_CODE = "device_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at a provider."""

    account_id: str = field(repr=False)
    """Never changes and names one account only: what is compared when a connection is reauthorized."""
    address: str = field(repr=False)
    """What its user knows it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a provider gives for a consent or a refresh."""

    access_token: str = field(repr=False)
    expires_at: datetime
    refresh_token: str | None = field(repr=False)
    """None: the old one stays good."""
    scopes: frozenset[str]
    """What was really granted; the provider's own spelling, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A consent that was given."""

    tokens: Tokens
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectBegun:
    """A redirect flow that waits for its user."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    """What `complete_redirect` needs: the code verifier, nonce and the like. The caller seals and keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBegun:
    """A device code flow that waits for its user."""

    user_code: str = field(repr=False)
    verification_uri: str
    expires_at: datetime
    interval: timedelta
    secret: bytes = field(repr=False)


class GrantRefused(Exception):
    """The provider does not accept the refresh token: revoked, expired, used before, or more consent is needed.

    Attributes:
        reason: A code for the connection's record, such as GRANT_REVOKED or CONSENT_NEEDED.
        claims: What the next consent must ask for, as the provider wants it back; empty for nothing.
    """

    def __init__(self, reason: str, *, claims: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.claims = claims


class Identity(Protocol):
    """How the users of a provider consent, and how their grants stay alive.

    All its methods may raise ProviderUnavailable, Throttled, and OperatorFault (the provider refuses this service
    itself, such as an expired client secret: it says nothing about the grant). Each ends within 30 s.
    """

    @property
    def flows(self) -> frozenset[Flow]:
        """The ways there are."""
        ...

    @property
    def required_scopes(self) -> frozenset[str]:
        """Without these nothing can be read; lower case."""
        ...

    @property
    def manage_url(self) -> str:
        """Where users end their consents by hand."""
        ...

    async def begin_redirect(self, *, redirect_uri: str, state: str, login_hint: str, claims: str) -> RedirectBegun:
        """Start a consent with PKCE (S256). `state` is the caller's and comes back unchanged."""
        ...

    async def complete_redirect(self, secret: bytes, answer: Mapping[str, str]) -> Granted:
        """Exchange the code of the browser's answer, whose `state` the caller has checked.

        Raises:
            ConsentRefused: the answer is an error of the user's or an administrator's making.
            CodeRefused: the code, the verifier, the issuer or the id token is not right.
            ScopeMissing: no lasting access was granted.
        """
        ...

    async def begin_device(self) -> DeviceBegun:
        """Start a device code flow.

        Raises:
            FlowUnsupported: there is none.
        """
        ...

    async def poll_device(self, secret: bytes) -> Granted | None:
        """Ask once; None while the user has not decided.

        Raises:
            ConsentRefused: declined. StateInvalid: expired. CodeRefused, ScopeMissing: as above.
        """
        ...

    async def refresh(self, refresh_token: str, *, scopes: frozenset[str]) -> Tokens:
        """Get a new access token. Never called twice at a time for one grant.

        Raises:
            GrantRefused: see there.
        """
        ...

    async def revoke(self, refresh_token: str) -> bool:
        """End the grant at the provider; False where it has no way to. A grant that is dead already counts as ended."""
        ...


class TokenSource(Protocol):
    """Where a provider's calls get their access token from."""

    async def token(self) -> str:
        """Return a token that is good for at least a minute.

        Raises:
            NeedsReauth, DecryptFailed, OperatorFault, ProviderUnavailable, Throttled, Disconnected.
        """
        ...

    async def replace(self, refused: str) -> str:
        """Return another token than the one that the provider has just refused.

        Raises:
            NeedsReauth: there is none; and as `token`.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Session:
    """What a provider needs to work for one connection."""

    connection_id: str
    account: Account
    tokens: TokenSource
    deadline: datetime
    """When the caller stops waiting: a wish to wait beyond it is `Throttled` at once."""
    on_wait: Callable[[datetime], None] = lambda _until: None
    """Told when the provider asked to wait, before the wait."""
    calls: int = 0
    """Requests made, retries included."""


class Provider(Protocol):
    """Reads the messages of its users.

    Its methods with a session may raise NeedsReauth, ConnectionBlocked, OperatorFault, ProviderUnavailable and
    Throttled, after the retries that make sense. They keep within the configured quota of the connection by waiting.
    """

    @property
    def name(self) -> str:
        """What requests call it: lower case, for ever."""
        ...

    @property
    def identity(self) -> Identity:
        """How its users consent."""
        ...

    @property
    def concurrency(self) -> int:
        """How many `read`s of one connection may run at a time."""
        ...

    def check_filter(self, wanted: MessageFilter) -> None:
        """Refuse a filter that the provider cannot express.

        Raises:
            FilterUnsupported, FilterInvalid: with the field, such as `filter.recipients`.
        """
        ...

    async def account(self, session: Session) -> Account:
        """Tell whose account it is, with one cheap call."""
        ...

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Find what is new since `query.state`, or in the window since `query.since` when there is no state.

        The state to go on from is taken before the listing, so that nothing that comes in meanwhile is lost. A state
        that the provider has forgotten becomes a RESYNC of the window since `query.since`. Every page is read to its
        end.

        Raises:
            WindowTooLarge: more than `query.max_refs`.
            FilterInvalid: a container of the filter is not there, which only shows now.
        """
        ...

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        """Read one message and make it text. Uses what `ref` carries, if it carries something.

        Raises:
            Vanished, LeftOut, Unreadable: see there.
        """
        ...

    def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        """Yield an attachment's bytes in pieces.

        Raises:
            AttachmentGone, AttachmentTooLarge: see there.
        """
        ...
