"""Gmail keeps the suite of all providers, whatever pages its answers come in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.connectors.provider_lab import ProviderLab
from tests.conformance.connectors.providers import ProviderConformance
from tests.connectors.providers.gmail.lab import gmail_lab


class TestGmail(ProviderConformance):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[ProviderLab]:
        async with gmail_lab() as lab:
            yield lab
