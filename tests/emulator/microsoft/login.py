"""The state of the Microsoft identity platform: who exists, who consents to what, and what is out of order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.emulator.microsoft.login_errors import (
    DEATHS,
    SECRET_EXPIRED,
    SECRET_MISSING,
    SECRET_UNWANTED,
    SECRET_WRONG,
    UNKNOWN_CLIENT,
    UNKNOWN_TENANT,
    Death,
    LoginError,
)
from tests.emulator.microsoft.people import CLIENT, CONSUMERS, CONTOSO, PUBLIC_CLIENT, Account, guid
from tests.emulator.oauth import Client, Consent, Grant, Grants, RefreshMode

if TYPE_CHECKING:
    from tests.emulator.core import Core

DEVICE_CODE_LIVES = timedelta(minutes=15)
_REFRESH_TOKEN_LIVES = timedelta(days=90)
_ALIASES = ("common", "organizations", "consumers")


class Decision(StrEnum):
    """What the person with the user code did."""

    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    """A Conditional Access policy forbids device codes."""
    USED = "used"
    """Approved, and the tokens were fetched."""


@dataclass(slots=True, eq=False, kw_only=True)
class DeviceFlow:
    """A device code that was given out."""

    device_code: str
    user_code: str
    client_id: str
    tenant: str
    scopes: tuple[str, ...]
    expires_at: datetime
    decision: Decision = Decision.PENDING
    account: str = ""
    polls: int = 0


@dataclass(kw_only=True, eq=False)
class Login:
    """Everything that the login endpoints know. A test may read and change all of it directly."""

    core: Core
    accounts: dict[str, Account] = field(default_factory=dict)
    """By address."""
    clients: dict[str, Client] = field(default_factory=lambda: {one.client_id: one for one in (CLIENT, PUBLIC_CLIENT)})
    consent: Consent = field(default_factory=Consent)
    signed_in: str = ""
    """Who sits at the consent screen when there is no `login_hint`; empty is the only account, if there is one."""
    admin_needed: bool = False
    """Answer every consent with the refusal that only an administrator may allow this."""
    expired_secrets: set[str] = field(default_factory=set)
    """Ids of clients whose secret has expired: `invalid_client`, whatever they send."""
    device_interval: int = 5
    """Seconds between polls that a device is told to keep."""
    id_token_claims: dict[str, Any] = field(default_factory=dict)
    """Claims that replace those of the next id tokens (None takes one away): a wrong `nonce`, `aud`, `iss`, `tid` …"""
    id_token_forged: bool = False
    """Sign id tokens with a key that nobody published."""
    deaths: dict[Grant, Death] = field(default_factory=dict)
    devices: dict[str, DeviceFlow] = field(default_factory=dict)
    """By device code."""
    grants: Grants = field(init=False)

    def __post_init__(self) -> None:
        self.grants = Grants(
            core=self.core,
            mode=RefreshMode.ROTATE_KEEP_OLD,
            refresh_lifetime=_REFRESH_TOKEN_LIVES,
            lifetime_restarts=False,
            code_prefix="0.AX",
            access_prefix="EwB",
            refresh_prefix="1.AX",
        )

    def add_account(self, address: str, *, name: str, tenant: str) -> Account:
        """Make an account."""
        address = address.lower()
        if address in self.accounts:
            raise ValueError(f"there is an account {address} already")
        self.accounts[address] = Account(address=address, name=name or address.split("@")[0].title(), tenant=tenant)
        return self.accounts[address]

    def refuse_refresh(self, address: str, death: Death | None) -> None:
        """Let the grants that an account has given so far die of something, or heal them with None."""
        for grant in self.grants.grants_of(address.lower()):
            if death is None:
                self.deaths.pop(grant, None)
            else:
                self.deaths[grant] = death

    def check_alive(self, refresh_token: str) -> None:
        """Refuse a refresh token whose grant died of what `refuse_refresh` said.

        Raises:
            LoginError: With the reason.
        """
        grant = self.grant_of(refresh_token)
        if grant in self.deaths:
            raise LoginError(DEATHS[self.deaths[grant]])

    def grant_of(self, refresh_token: str) -> Grant | None:
        """Return the grant that a refresh token belongs to, alive or not, without using it."""
        known = self.grants._refresh.get(refresh_token)
        return known.grant if known else None

    def client(self, client_id: str) -> Client:
        """Return a registered application.

        Raises:
            LoginError: There is none.
        """
        if client_id not in self.clients:
            raise LoginError(UNKNOWN_CLIENT, client_id)
        return self.clients[client_id]

    def authenticated(self, client_id: str, secret: str) -> Client:
        """Return the application that asks for tokens.

        Raises:
            LoginError: It is unknown, or its secret is missing, wrong, expired or not wanted.
        """
        client = self.client(client_id)
        if client_id in self.expired_secrets:
            raise LoginError(SECRET_EXPIRED, client_id)
        if secret and not client.secret:
            raise LoginError(SECRET_UNWANTED)
        if client.secret and not secret:
            raise LoginError(SECRET_MISSING)
        if secret != client.secret:
            raise LoginError(SECRET_WRONG)
        return client

    def check_tenant(self, tenant: str) -> str:
        """Return the tenant of a path in lower case.

        Raises:
            LoginError: There is none.
        """
        known = {*_ALIASES, CONSUMERS, CONTOSO, *(account.tenant for account in self.accounts.values())}
        if tenant.lower() not in known:
            raise LoginError(UNKNOWN_TENANT, tenant)
        return tenant.lower()

    def new_device(self, *, client_id: str, tenant: str, scopes: tuple[str, ...]) -> DeviceFlow:
        """Give out a device code. It lives for 15 minutes."""
        flow = DeviceFlow(
            device_code=self.core.secret("DAQ"),
            user_code=guid(f"user code {self.core.number()}").replace("-", "").upper()[:9],
            client_id=client_id,
            tenant=tenant,
            scopes=scopes,
            expires_at=self.core.now() + DEVICE_CODE_LIVES,
        )
        self.devices[flow.device_code] = flow
        return flow

    def decide_device(self, user_code: str, decision: Decision, address: str = "") -> None:
        """Do what the person with a user code does.

        Raises:
            KeyError: There is no such user code, or no such account.
        """
        flow = next((one for one in self.devices.values() if one.user_code == user_code), None)
        if flow is None:
            raise KeyError(user_code)
        if decision is Decision.APPROVED:
            flow.account = self.accounts[address.lower()].address
        flow.decision = decision


def belongs(account: Account, tenant: str) -> bool:
    """Return whether an account may sign in at a tenant's endpoints (an alias or a GUID, lower case)."""
    if tenant == "common":
        return True
    if tenant == "organizations":
        return not account.personal
    return account.tenant == (CONSUMERS if tenant == "consumers" else tenant)
