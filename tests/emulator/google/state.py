"""The state of the Google half: accounts with their mailboxes, clients, grants, the quota, and the switches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from tests.emulator.google.mailbox import Mailbox
from tests.emulator.google.quota import Quota
from tests.emulator.google.tables import READONLY
from tests.emulator.oauth import Client, Consent, Grant, Grants, Issued, RefreshMode

if TYPE_CHECKING:
    from tests.emulator.core import Core

CLIENT = Client(client_id="emulated-client.apps.googleusercontent.com", secret="GOCSPX-emulated-secret")
"""The client that is registered from the start: an installed application, with loopback redirects."""


@dataclass(kw_only=True)
class Switches:
    """How the provider behaves, where the real one is known to behave in more than one way."""

    empty_history_pages: bool = False
    """Put a page without `history` but with a `nextPageToken` before every page of the history."""
    after_compares: Literal["internalDate", "Date"] = "internalDate"
    """What `after:` and `before:` look at."""
    bodies: Literal["utf-8", "as-sent"] = "utf-8"
    """Whether text bodies are brought to UTF-8 (the headers still name the charset as sent), or left alone."""
    largest_inline_body: int = 100_000
    """Bodies of more bytes than this are given as attachments, even without a filename."""
    reject_clients: bool = False
    """Answer every client with `invalid_client`: the operator's secret is wrong or has expired."""


@dataclass(eq=False, kw_only=True)
class Account:
    """A Google account."""

    email: str
    mailbox: Mailbox


class GoogleState:
    """Everything that the Google half knows. A test may read and change all of it directly."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.accounts: dict[str, Account] = {}
        self.clients: dict[str, Client] = {CLIENT.client_id: CLIENT}
        self.grants = Grants(
            core=core,
            mode=RefreshMode.NONE,
            refresh_lifetime=timedelta(days=180),
            lifetime_restarts=True,
            code_prefix="4/",
            access_prefix="ya29.",
            refresh_prefix="1//",
        )
        self.consent = Consent()
        self.signed_in = ""
        """Who sits at the consent screen when there is no `login_hint`; empty is the only account, if there is one."""
        self.quota = Quota()
        self.switches = Switches()
        core.identifiers.append(self._account_of)

    def add_account(self, email: str) -> Account:
        """Make an account with an empty mailbox."""
        if email in self.accounts:
            raise ValueError(f"there is an account {email} already")
        self.accounts[email] = Account(email=email, mailbox=Mailbox(core=self.core, email=email))
        return self.accounts[email]

    def mailbox(self, email: str) -> Mailbox:
        """Return an account's mailbox."""
        return self.accounts[email].mailbox

    def link(self, email: str, *, scopes: tuple[str, ...] = (READONLY,), client: Client = CLIENT) -> Issued:
        """Give out tokens as if the account had consented: for tests that begin after that."""
        return self.grants.issue(Grant(account=self.accounts[email].email, client_id=client.client_id, scopes=scopes))

    def access_token(self, request: web.Request) -> str:
        """Return the bearer token of a request, or an empty string."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else ""

    def _account_of(self, request: web.Request) -> str:
        grant = self.grants.bearer(self.access_token(request))
        return grant.account if grant else ""
