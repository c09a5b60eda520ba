"""An emulator with one account, and Google's identity as it is when it talks to that."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.providers.google.identity import GoogleIdentity
from tests.connectors.providers.google.consenting import EMAIL, identity_of
from tests.emulator.core import Emulator
from tests.emulator.running import running


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.google.add_account(EMAIL)
        yield emulator


@pytest.fixture
async def identity(emulator: Emulator) -> AsyncIterator[GoogleIdentity]:
    async with identity_of(emulator) as identity:
        yield identity
