"""The stores in memory keep the suites."""

from __future__ import annotations

import pytest

from tests.conformance.connectors.cursor_store import CursorStoreConformance, Shelf
from tests.conformance.connectors.quarantine import QuarantineConformance
from tests.fakes.cursor_store import InMemoryCursors, InMemoryQuarantine


@pytest.fixture
def shelf() -> Shelf:
    known: list[str] = []
    quarantine = InMemoryQuarantine()

    async def link(connection_id: str, user_id: str) -> None:
        known.append(connection_id)

    return Shelf(InMemoryCursors(quarantine, known=known), quarantine, quarantine, link)


class TestInMemoryCursors(CursorStoreConformance):
    """As the suite says."""


class TestInMemoryQuarantine(QuarantineConformance):
    """As the suite says."""
