"""A replica on a store in memory for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.connections.lab import Lab, Stores, World, replica
from tests.fakes.connection_store import InMemoryConnections


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store() -> InMemoryConnections:
    return InMemoryConnections()


@pytest.fixture
def stores(store: InMemoryConnections) -> Stores:
    return Stores(store, store, store, store.audit)


@pytest.fixture
async def lab(world: World, stores: Stores, store: InMemoryConnections) -> AsyncIterator[Lab]:
    async with replica(world, stores) as made:
        store.listeners.append(made.keeper.noticed)
        yield made
