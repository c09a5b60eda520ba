"""Accounts at the emulator whose access tokens run out, and the leases of those who died while they got a new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from tests.emulator.core import Emulator
from tests.emulator.oauth import Grants, RefreshMode
from tests.system.connectors_service import Installation

SHORT = timedelta(seconds=30)
"""Less than the connectors give out to anybody: such an access token is replaced at every use."""
LONG = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one provider."""

    emulator: Emulator
    provider: str
    address: str
    grants: Grants
    token_route: str
    """Regular expression on the path of the provider's token endpoint."""

    def give(self, mode: RefreshMode, *, lifetime: timedelta = SHORT) -> None:
        """Say what refreshes do to the refresh token, and how long access tokens live from now on."""
        self.grants.mode = mode
        self.grants.access_lifetime = lifetime

    @property
    def token_calls(self) -> int:
        """How often tokens were asked for since `forget`."""
        return self.emulator.counters.count(self.token_route, method="POST")

    @property
    def at_once(self) -> int:
        """How many such requests were under way at the same time, at the most."""
        paths = {call.path for call in self.emulator.counters.matching(self.token_route)}
        return max((self.emulator.counters.most_in_flight[f"path:{path}"] for path in paths), default=0)

    def forget(self) -> None:
        """Count from here."""
        self.emulator.counters.reset()


def gmail(emulator: Emulator) -> Account:
    """Return a new account at Google."""
    emulator.google.add_account("mia@example.com")
    return Account(emulator, "gmail", "mia@example.com", emulator.google.grants, r"^/token$")


def outlook(emulator: Emulator) -> Account:
    """Return a new account at Microsoft."""
    emulator.microsoft.add_account("mia@contoso.example")
    grants = emulator.microsoft.login.grants
    return Account(emulator, "outlook", "mia@contoso.example", grants, r"/oauth2/v2\.0/token$")


ACCOUNTS: dict[str, Callable[[Emulator], Account]] = {"gmail": gmail, "outlook": outlook}


def end_leases(shared: Installation) -> None:
    """Let the time pass after which the lease of a replica that died is another's to take."""
    with psycopg.connect(shared.database_url.replace("+asyncpg", ""), autocommit=True) as database:
        database.execute("UPDATE connectors.connections SET refresh_until = clock_timestamp()")
