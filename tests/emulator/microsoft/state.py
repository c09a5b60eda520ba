"""The state of the Microsoft half: the login, mailboxes, Teams, and the switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.emulator.microsoft.conversations import Conversations
from tests.emulator.microsoft.graph import GraphSwitches
from tests.emulator.microsoft.login import Login
from tests.emulator.microsoft.mailbox import Mailbox
from tests.emulator.microsoft.people import CLIENT, CONSUMERS, CONTOSO, MAIL_SCOPES, PUBLIC_CLIENT, Account
from tests.emulator.microsoft.walks import DeltaSwitches, Expiry, Links
from tests.emulator.oauth import Client, Grant, Issued

if TYPE_CHECKING:
    from tests.emulator.core import Core

__all__ = ["CLIENT", "CONSUMERS", "CONTOSO", "PUBLIC_CLIENT", "Account", "MicrosoftState"]


class MicrosoftState:
    """Everything that the Microsoft half knows. A test may read and change all of it directly."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.login = Login(core=core)
        self.graph = GraphSwitches()
        self.links = Links(core=core)
        self.delta = DeltaSwitches()
        """Of mail folders and of channels."""
        self.teams = Conversations(core=core, login=self.login)
        self._mailboxes: dict[str, Mailbox] = {}
        core.identifiers.append(self._account_of)

    def add_account(self, address: str, *, name: str = "", tenant: str = CONTOSO, personal: bool = False) -> Account:
        """Make an account with an empty mailbox.

        Args:
            address: Sign-in name and mail address.
            name: What it is called; by default made from the address.
            tenant: The GUID of its organization.
            personal: A personal account instead: its tenant is the one of all consumers.
        """
        account = self.login.add_account(address, name=name, tenant=CONSUMERS if personal else tenant)
        self._mailboxes[account.address] = Mailbox(core=self.core, address=account.address)
        return account

    def mailbox(self, address: str) -> Mailbox:
        """Return an account's mailbox."""
        return self._mailboxes[address.lower()]

    def link(self, address: str, *, scopes: tuple[str, ...] = MAIL_SCOPES, client: Client = CLIENT) -> Issued:
        """Give out tokens as if the account had consented: for tests that begin after that."""
        account = self.login.accounts[address.lower()]
        offline = "offline_access" in scopes
        return self.login.grants.issue(
            Grant(account=account.address, client_id=client.client_id, scopes=scopes, offline=offline)
        )

    def expire_delta(self, address: str, expiry: Expiry | None = None) -> None:
        """Let all links that an account's delta queries have got so far be too old; say how that is told."""
        self.delta.expire(self.core, address, expiry)

    def _account_of(self, request: web.Request) -> str:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        grant = self.login.grants.bearer(token) if kind.lower() == "bearer" else None
        return grant.account if grant else ""
