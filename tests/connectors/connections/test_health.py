"""How providers answer becomes the connections' states; and the test of a connection, which is such an answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adiuva_rpc.errors import AdiuvaError, Unavailable
from connectors.connections.domain import AuditAction, ConnectionState
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.health import ALERT_EVERY, DEFAULT_WAIT
from connectors.errors import (
    ConnectionBlocked,
    ConnectionPending,
    DecryptFailed,
    Disconnected,
    NeedsReauth,
    OperatorFault,
    ProviderUnavailable,
    Throttled,
)
from tests.connectors.connections.lab import USER, Lab
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.identity import Rotation

MINUTE = timedelta(minutes=1)


class TestHealth:
    async def test_success_is_noted(self, lab: Lab) -> None:
        connection = await lab.link()
        lab.clock.advance(MINUTE)

        await lab.health.succeeded(connection.connection_id)

        stored = await lab.stored(connection)
        assert (stored.last_success_at, stored.version) == (lab.clock(), connection.version)

    async def test_a_throttle_holds_until_its_time_has_passed(self, lab: Lab) -> None:
        connection = await lab.link()

        await lab.health.throttled(connection.connection_id, lab.clock() + 5 * MINUTE)
        await lab.health.throttled(connection.connection_id, lab.clock() + MINUTE)
        await lab.health.succeeded(connection.connection_id)

        stored = await lab.stored(connection)
        assert (stored.state, stored.next_allowed_at) == (ConnectionState.THROTTLED, lab.clock() + 5 * MINUTE)
        lab.clock.advance(5 * MINUTE)
        await lab.health.succeeded(connection.connection_id)
        assert await lab.state(connection) is ConnectionState.ACTIVE

    async def test_a_refresh_does_not_end_a_throttle(self, lab: Lab) -> None:
        connection = await lab.link()
        await lab.health.throttled(connection.connection_id, lab.clock() + timedelta(days=1))
        lab.expire()

        assert lab.identity.accepts(await lab.token(connection))

        assert await lab.state(connection) is ConnectionState.THROTTLED

    @pytest.mark.parametrize(("retry_after", "wait"), [(30.0, timedelta(seconds=30)), (None, DEFAULT_WAIT)])
    async def test_a_throttled_end_is_a_throttle(self, lab: Lab, retry_after: float | None, wait: timedelta) -> None:
        connection = await lab.link()

        await lab.health.failed(connection.connection_id, Throttled(retry_after=retry_after))

        assert (await lab.stored(connection)).next_allowed_at == lab.clock() + wait

    async def test_a_token_that_is_refused_for_good_needs_a_new_consent(
        self, lab: Lab, store: InMemoryConnections
    ) -> None:
        connection = await lab.link()

        for _ in range(2):
            await lab.health.failed(connection.connection_id, NeedsReauth())

        stored = await lab.stored(connection)
        assert (stored.state, stored.reason) == (ConnectionState.NEEDS_REAUTH, "ACCESS_REFUSED")
        assert store.actions(connection.connection_id).count(AuditAction.REFRESH_REFUSED) == 1

    async def test_a_refusal_that_was_written_down_already_says_nothing_about_a_newer_grant(self, lab: Lab) -> None:
        connection = await lab.link()

        await lab.health.failed(connection.connection_id, NeedsReauth(metadata={"cause": "GRANT_REVOKED"}))

        assert await lab.stored(connection) == connection

    async def test_what_is_blocked_can_be_tried_and_opens_with_success(self, lab: Lab) -> None:
        connection = await lab.link()
        await lab.health.failed(connection.connection_id, ConnectionBlocked())
        stored = await lab.stored(connection)
        assert (stored.state, stored.reason) == (ConnectionState.BLOCKED, "CONNECTION_BLOCKED")

        assert await lab.token(connection)
        await lab.health.succeeded(connection.connection_id)

        assert await lab.state(connection) is ConnectionState.ACTIVE

    @pytest.mark.parametrize("fault", [ProviderUnavailable(), DecryptFailed(), Unavailable()])
    async def test_other_failures_say_nothing_about_the_connection(self, lab: Lab, fault: AdiuvaError) -> None:
        connection = await lab.link()

        await lab.health.failed(connection.connection_id, fault)

        assert await lab.stored(connection) == connection

    async def test_an_operators_fault_is_told_once_a_minute(self, lab: Lab, store: InMemoryConnections) -> None:
        connection, other = await lab.link(), await lab.link("ben@example.org", user="ben")

        for _ in range(3):
            await lab.health.failed(connection.connection_id, OperatorFault())
            await lab.health.failed(other.connection_id, OperatorFault())
        lab.clock.advance(ALERT_EVERY)
        await lab.health.failed(connection.connection_id, OperatorFault())

        assert store.actions(connection.connection_id).count(AuditAction.OPERATOR_FAULT) == 2
        assert store.actions(other.connection_id).count(AuditAction.OPERATOR_FAULT) == 1
        assert await lab.stored(connection) == connection

    async def test_a_connection_that_is_gone_or_ended_is_passed_over(self, lab: Lab) -> None:
        connection = await lab.link()
        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)

        for connection_id in (connection.connection_id, "nothing"):
            await lab.health.succeeded(connection_id)
            await lab.health.throttled(connection_id, lab.clock() + MINUTE)
            await lab.health.failed(connection_id, NeedsReauth())
            await lab.health.failed(connection_id, OperatorFault())

        assert await lab.state(connection) is ConnectionState.DISCONNECTED


class TestTesting:
    async def test_a_connection_that_works_says_when_it_did(self, lab: Lab) -> None:
        connection = await lab.link()

        tested = await lab.testing.test(USER, connection.connection_id)

        assert tested.connection.last_success_at == lab.clock()
        assert tested.took == timedelta()
        assert lab.world.provider.calls == 1

    async def test_a_refused_token_is_replaced(self, lab: Lab) -> None:
        connection = await lab.link()
        lab.identity.expire_access()

        await lab.testing.test(USER, connection.connection_id)

        assert lab.identity.refreshes == 1

    @pytest.mark.parametrize(
        ("fault", "state"),
        [
            (NeedsReauth(), ConnectionState.NEEDS_REAUTH),
            (ConnectionBlocked(), ConnectionState.BLOCKED),
            (Throttled(retry_after=60.0), ConnectionState.THROTTLED),
            (OperatorFault(), ConnectionState.ACTIVE),
            (ProviderUnavailable(), ConnectionState.ACTIVE),
        ],
    )
    async def test_a_failure_is_told_and_becomes_the_state(
        self, lab: Lab, fault: AdiuvaError, state: ConnectionState
    ) -> None:
        connection = await lab.link()
        lab.world.provider.faults.append(fault)

        with pytest.raises(type(fault)):
            await lab.testing.test(USER, connection.connection_id)

        assert await lab.state(connection) is state

    async def test_a_provider_is_left_alone_until_the_time_that_it_asked_for(self, lab: Lab) -> None:
        connection = await lab.link()
        await lab.health.throttled(connection.connection_id, lab.clock() + MINUTE)

        with pytest.raises(Throttled) as wait:
            await lab.testing.test(USER, connection.connection_id)

        assert wait.value.retry_after == 60.0
        assert lab.world.provider.calls == 0
        lab.clock.advance(MINUTE)
        tested = await lab.testing.test(USER, connection.connection_id)
        assert tested.connection.state is ConnectionState.ACTIVE

    async def test_a_connection_that_cannot_work_is_not_tried(self, lab: Lab) -> None:
        begun = await lab.begin()
        dead, ended = await lab.link(), await lab.link("ben@example.org")
        await lab.health.failed(dead.connection_id, NeedsReauth())
        await lab.disconnecting.disconnect(USER, ended.connection_id, actor=USER)

        for connection_id, error in [
            (begun.connection_id, ConnectionPending),
            (dead.connection_id, NeedsReauth),
            (ended.connection_id, Disconnected),
            ("nothing", ConnectionUnknown),
        ]:
            with pytest.raises(error):
                await lab.testing.test(USER, connection_id)
        with pytest.raises(ConnectionUnknown):
            await lab.testing.test("ben", dead.connection_id)

        assert lab.world.provider.calls == 0

    async def test_a_grant_that_does_not_open_is_told(self, lab: Lab) -> None:
        lab.identity.rotation = Rotation.NONE
        connection = await lab.link()
        await lab.world.keys.add()
        await lab.world.keys.forget("key-1")

        with pytest.raises(DecryptFailed):
            await lab.testing.test(USER, connection.connection_id)

        assert await lab.state(connection) is ConnectionState.DECRYPT_FAILED
