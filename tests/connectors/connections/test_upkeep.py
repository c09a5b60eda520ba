"""What is done though nobody asks: unused grants stay alive, and what was never completed goes away."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from connectors.connections.authorizations import FLOW_LIFETIME
from connectors.connections.domain import Connection, ConnectionState
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.upkeep import CONCURRENCY, GRACE, IDLE, SPREAD_SECONDS
from connectors.errors import NeedsReauth, OperatorFault, StoreUnavailable
from tests.connectors.connections.lab import USER, Lab, until
from tests.fakes.connection_store import InMemoryConnections

DUE = IDLE + timedelta(hours=1, seconds=SPREAD_SECONDS)
"""After so long every grant is due, whatever its place in the spread."""


async def test_a_grant_that_nobody_uses_for_ninety_one_days_is_alive(lab: Lab) -> None:
    connection = await lab.link()

    async with anyio.create_task_group() as tasks:
        began = lab.clock()
        tasks.start_soon(lab.upkeep.run)
        await until(lambda: lab.clock() - began > timedelta(days=91))
        tasks.cancel_scope.cancel()

    assert await lab.state(connection) is ConnectionState.ACTIVE
    assert 60 < lab.identity.refreshes < 92
    assert lab.identity.accepts(await lab.token(connection))


async def test_a_grant_that_was_used_today_is_left_alone(lab: Lab) -> None:
    await lab.link()

    lab.clock.advance(timedelta(hours=24))
    await lab.upkeep.keep_alive()

    assert lab.identity.refreshes == 0


async def test_idle_grants_do_not_all_come_due_together(lab: Lab) -> None:
    for number in range(30):
        await lab.link(f"user-{number}@example.org")

    lab.clock.advance(IDLE + timedelta(hours=1, seconds=SPREAD_SECONDS // 2))
    await lab.upkeep.keep_alive()
    halfway = lab.identity.refreshes
    lab.clock.advance(timedelta(seconds=SPREAD_SECONDS))
    await lab.upkeep.keep_alive()

    assert 0 < halfway < 30
    assert lab.identity.refreshes == 30


async def test_a_few_at_a_time_are_refreshed_and_one_that_fails_holds_nobody_up(lab: Lab) -> None:
    connections = [await lab.link(f"user-{number}@example.org") for number in range(12)]
    lab.identity.faults += [OperatorFault(), RuntimeError("odd")]
    lab.clock.advance(DUE)

    await lab.upkeep.keep_alive()

    assert lab.identity.refreshes == 12
    assert 1 < lab.identity.together <= CONCURRENCY
    versions = [(await lab.grant(connection)).grant_version for connection in connections]
    assert sorted(versions) == [1, 1] + [2] * 10


async def test_dead_grants_are_not_asked_for_again(lab: Lab) -> None:
    connection = await lab.link()
    await lab.health.failed(connection.connection_id, NeedsReauth())
    lab.clock.advance(DUE)

    await lab.upkeep.keep_alive()

    assert lab.identity.refreshes == 0


async def test_an_authorization_that_was_not_completed_goes_away_with_its_connection(lab: Lab) -> None:
    begun = await lab.begin()

    lab.clock.advance(FLOW_LIFETIME)
    await lab.upkeep.sweep()
    pending = await lab.stores.connections.get(USER, begun.connection_id)
    assert pending.state is ConnectionState.PENDING
    lab.clock.advance(GRACE + timedelta(seconds=1))
    await lab.upkeep.sweep()

    with pytest.raises(ConnectionUnknown):
        await lab.stores.connections.get(USER, begun.connection_id)


async def test_a_sweep_leaves_connections_that_are_linked(lab: Lab) -> None:
    connection = await lab.link()
    lab.clock.advance(timedelta(days=365))

    await lab.upkeep.sweep()

    assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_a_throttle_whose_time_is_over_ends_in_the_store_too(lab: Lab) -> None:
    connection = await lab.link()
    await lab.health.throttled(connection.connection_id, lab.clock() + timedelta(minutes=1))

    await lab.upkeep.sweep()
    assert await lab.state(connection) is ConnectionState.THROTTLED
    lab.clock.advance(timedelta(minutes=1))
    await lab.upkeep.sweep()

    assert await lab.state(connection) is ConnectionState.ACTIVE


class Flaky(InMemoryConnections):
    """A store whose sweeps fail at first."""

    sweeps = 0

    async def sweep(self, before: object) -> int:
        self.sweeps += 1
        if self.sweeps == 1:
            raise StoreUnavailable
        if self.sweeps == 2:
            raise RuntimeError("odd")
        return 0


async def test_upkeep_goes_on_whatever_fails(lab: Lab) -> None:
    flaky = Flaky()
    lab.upkeep._flows = flaky

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.upkeep.run)
        await until(lambda: flaky.sweeps > 3)
        tasks.cancel_scope.cancel()


async def test_connections_are_worked_through_page_by_page(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.connections.upkeep.PAGE", 5)
    connections: list[Connection] = [await lab.link(f"user-{number}@example.org") for number in range(13)]
    lab.clock.advance(DUE)

    await lab.upkeep.keep_alive()

    assert lab.identity.refreshes == len(connections)
