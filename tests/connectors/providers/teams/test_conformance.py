"""Teams keeps the suite of all providers, in chats and in channels."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.connectors.provider_lab import ProviderLab
from tests.conformance.connectors.providers import ProviderConformance
from tests.connectors.providers.teams.lab import teams_lab


class TestTeamsChats(ProviderConformance):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[ProviderLab]:
        async with teams_lab() as lab:
            yield lab


class TestTeamsChannels(ProviderConformance):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[ProviderLab]:
        async with teams_lab(in_channel=True) as lab:
            yield lab
