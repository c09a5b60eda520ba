"""One lab for all; every test has people of its own in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.connectors.cases.lab import Lab
from tests.connectors.harness import emulated, harness
from tests.emulator.google.quota import Quota
from tests.emulator.google.state import Switches
from tests.emulator.microsoft.graph import GraphSwitches
from tests.emulator.microsoft.walks import DeltaSwitches
from tests.emulator.oauth import Consent, RefreshMode


@pytest.fixture(scope="package")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the callers and the keys."""
    return tmp_path_factory.mktemp("connectors")


@pytest.fixture(scope="package")
async def replicas(directory: Path, new_database: Callable[[], str]) -> AsyncIterator[Lab]:
    """The lab, as the last test has left it."""
    database_url = new_database()
    async with (
        emulated() as emulator,
        harness(directory, database_url, emulator) as service,
        harness(directory, database_url, emulator) as other,
    ):
        yield Lab(service, other, emulator, database_url)


@pytest.fixture
async def lab(replicas: Lab) -> AsyncIterator[Lab]:
    """The lab, with providers that do as they should."""
    emulator = replicas.emulator
    emulator.counters.reset()
    yield replicas
    # Consents that a test has left open count among the ten of their user.
    replicas.sql("DELETE FROM connectors.flows")
    await emulator.faults.clear()
    emulator.latencies.clear()
    google, login = emulator.google, emulator.microsoft.login
    google.consent, login.consent = Consent(), Consent()
    google.switches, google.quota = Switches(), Quota()
    google.grants.mode, login.grants.mode = RefreshMode.NONE, RefreshMode.ROTATE_KEEP_OLD
    login.id_token_claims, login.id_token_forged, login.admin_needed = {}, False, False
    emulator.microsoft.graph, emulator.microsoft.delta = GraphSwitches(), DeltaSwitches()
