"""The labs for all tests of Teams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.providers.teams.lab import TeamsLab, teams_lab


@pytest.fixture
async def lab() -> AsyncIterator[TeamsLab]:
    async with teams_lab() as lab:
        yield lab


@pytest.fixture
async def in_channel() -> AsyncIterator[TeamsLab]:
    async with teams_lab(in_channel=True) as lab:
        yield lab
