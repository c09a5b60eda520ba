"""The fake store of connections is a store."""

from __future__ import annotations

import pytest

from connectors.connections.domain import Notice
from tests.conformance.connectors.connection_kit import Kit
from tests.conformance.connectors.connection_store import ConnectionStoreConformance, GrantStoreConformance
from tests.conformance.connectors.flow_store import AuditTrailConformance, FlowStoreConformance
from tests.fakes.connection_store import InMemoryConnections


@pytest.fixture
def kit() -> Kit:
    store = InMemoryConnections()

    async def expire_leases() -> None:
        store.expire_leases()

    async def notices() -> list[Notice]:
        told = [notice for notice in store.notices if notice.user_id == made.user]
        store.notices.clear()
        return told

    made = Kit(store, store, store, store.audit, store, expire_leases=expire_leases, notices=notices)
    return made


class TestConnections(ConnectionStoreConformance):
    """As the suite says."""


class TestGrants(GrantStoreConformance):
    """As the suite says."""


class TestFlows(FlowStoreConformance):
    """As the suite says."""


class TestAudit(AuditTrailConformance):
    """As the suite says."""
