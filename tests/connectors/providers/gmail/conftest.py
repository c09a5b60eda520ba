"""The lab for all tests of Gmail."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.providers.gmail.lab import GmailLab, gmail_lab


@pytest.fixture
async def lab() -> AsyncIterator[GmailLab]:
    async with gmail_lab() as lab:
        yield lab
