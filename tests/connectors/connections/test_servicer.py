"""ConnectionService on the real wire, by users, by services for users, and by those who may not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import grpc.aio
import pytest

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb
from adiuva.connectors.v1.connection_service_pb2_grpc import (
    ConnectionServiceStub,
    add_ConnectionServiceServicer_to_server,
)
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.identity import Caller, Role
from adiuva_rpc.server import RpcServer
from adiuva_rpc.status import RpcFailure, from_rpc_error
from connectors.connections.servicer import ConnectionServicer, ConnectionUses
from connectors.connections.watching import ConnectionHub
from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault, ProviderUnavailable, Throttled
from connectors.policy import POLICY
from tests.connectors.connections.lab import ADDRESS, LOOPBACK, USER, Lab
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.identity import CANARY

if TYPE_CHECKING:
    from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceAsyncStub

ACTIVE, DISCONNECTED = connection_pb2.CONNECTION_STATE_ACTIVE, connection_pb2.CONNECTION_STATE_DISCONNECTED
DEVICE = pb.AUTHORIZATION_FLOW_DEVICE_CODE


class Tokens:
    """Knows the callers of these tests: the token is the user's name, `service`, or `laptop`."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        match credential:
            case "service":
                return Caller(role=Role.SERVICE, name="orchestrator")
            case "laptop":
                return Caller(role=Role.DEVICE, name="laptop", user_id=USER, device_id="laptop")
        return Caller(role=Role.USER, name=credential, user_id=credential)


class Bench:
    """The servicer behind a real server."""

    def __init__(self, lab: Lab, store: InMemoryConnections) -> None:
        self.lab = lab
        self.hub = ConnectionHub(store, now=lab.clock)
        self._server = RpcServer(
            address=ListenAddress("127.0.0.1", 0), policy=POLICY, authenticator=Tokens(), with_health=False
        )
        uses = ConnectionUses(
            connections=store,
            authorizing=lab.authorizing,
            linking=lab.linking,
            testing=lab.testing,
            disconnecting=lab.disconnecting,
            hub=self.hub,
        )
        add_ConnectionServiceServicer_to_server(ConnectionServicer(uses, now=lab.clock), self._server.grpc)
        self._channels: list[grpc.aio.Channel] = []
        store.listeners.append(self.hub.noticed)

    def stub(self, caller: str = USER, user: str | None = None) -> ConnectionServiceAsyncStub:
        channel = connect(f"127.0.0.1:{self._server.port}", authorization=bearer(caller), user=user)
        self._channels.append(channel)
        return ConnectionServiceStub(channel)

    async def link(self, stub: ConnectionServiceAsyncStub, address: str = ADDRESS) -> connection_pb2.Connection:
        """Link an account from beginning to end."""
        await stub.BeginAuthorization(beginning())
        answer = self.lab.answer(self.lab.identity.consent(address))
        done = await stub.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=answer))
        return done.connection

    async def __aenter__(self) -> Bench:
        await self._server.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for channel in self._channels:
            await channel.close()
        await self._server.stop(grace=0)


@pytest.fixture
async def bench(lab: Lab, store: InMemoryConnections) -> AsyncIterator[Bench]:
    async with Bench(lab, store) as made, anyio.create_task_group() as tasks:
        made.hub.hears(True)
        tasks.start_soon(made.hub.run)
        yield made
        tasks.cancel_scope.cancel()


def beginning(**fields: Any) -> pb.BeginAuthorizationRequest:
    usual = {"request_id": str(uuid.uuid4()), "provider": "gmail", "redirect_uri": LOOPBACK}
    return pb.BeginAuthorizationRequest(**usual | fields)


async def refusal(call: Awaitable[object]) -> RpcFailure:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)


def one(connection_id: str) -> pb.GetConnectionRequest:
    return pb.GetConnectionRequest(connection_id=connection_id)


async def test_a_connection_lives_from_its_consent_to_its_end(bench: Bench) -> None:
    stub = bench.stub()

    begun = (await stub.BeginAuthorization(beginning(login_hint=ADDRESS))).authorization
    pending = (await stub.GetConnection(one(begun.connection_id))).connection
    answer = bench.lab.answer(bench.lab.identity.consent(ADDRESS))
    linked = (await stub.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=answer))).connection
    tested = await stub.TestConnection(pb.TestConnectionRequest(connection_id=linked.connection_id))
    listed = (await stub.ListConnections(pb.ListConnectionsRequest())).connections
    again = (
        await stub.Reauthorize(
            pb.ReauthorizeRequest(
                request_id=str(uuid.uuid4()), connection_id=linked.connection_id, redirect_uri=LOOPBACK
            )
        )
    ).authorization
    ended = await stub.Disconnect(pb.DisconnectRequest(connection_id=linked.connection_id))

    assert begun.authorization_url.startswith("https://login.example.test/")
    assert begun.flow_id
    assert pending.state == connection_pb2.CONNECTION_STATE_PENDING
    assert (linked.state, linked.account, linked.user_id) == (ACTIVE, ADDRESS, USER)
    assert tested.connection.HasField("last_success_at")
    assert tested.HasField("took")
    assert [each.connection_id for each in listed] == [linked.connection_id]
    assert again.connection_id == linked.connection_id
    assert (ended.connection.state, ended.revoked, ended.manage_url) == (DISCONNECTED, True, "")


async def test_a_device_code_is_polled_until_the_user_has_consented(bench: Bench) -> None:
    stub = bench.stub()
    begun = (await stub.BeginAuthorization(beginning(flow=DEVICE, redirect_uri=""))).authorization
    poll = pb.PollDeviceAuthorizationRequest(flow_id=begun.flow_id)

    early = await refusal(stub.PollDeviceAuthorization(poll))
    bench.lab.clock.advance(begun.poll_interval.ToTimedelta())
    waiting = await stub.PollDeviceAuthorization(poll)
    bench.lab.identity.approve_device(begun.user_code, ADDRESS)
    bench.lab.clock.advance(waiting.retry_after.ToTimedelta())
    done = await stub.PollDeviceAuthorization(poll)

    assert (early.code, early.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 5.0)
    assert not waiting.HasField("connection")
    assert (done.connection.state, done.HasField("retry_after")) == (ACTIVE, False)


@pytest.mark.parametrize("user", ["ben", "anna"])
async def test_a_service_acts_for_the_user_it_names(bench: Bench, store: InMemoryConnections, user: str) -> None:
    linked = await bench.link(bench.stub("service", user))

    assert linked.user_id == user
    assert {event.actor for event in store.events} == {"orchestrator"}
    assert {event.user_id for event in store.events} == {user}


async def test_a_connection_of_another_user_is_not_found_whatever_is_asked(bench: Bench) -> None:
    linked = await bench.link(bench.stub())
    begun = (await bench.stub().BeginAuthorization(beginning(flow=DEVICE, redirect_uri=""))).authorization
    connection_id = linked.connection_id
    reauthorize = pb.ReauthorizeRequest(
        request_id=str(uuid.uuid4()), connection_id=connection_id, redirect_uri=LOOPBACK
    )

    for stub in (bench.stub("ben"), bench.stub("service", "ben")):
        refused = [
            await refusal(stub.GetConnection(one(connection_id))),
            await refusal(stub.TestConnection(pb.TestConnectionRequest(connection_id=connection_id))),
            await refusal(stub.Disconnect(pb.DisconnectRequest(connection_id=connection_id))),
            await refusal(stub.Reauthorize(reauthorize)),
        ]
        nothing = await refusal(stub.GetConnection(one("nothing")))
        polled = await refusal(stub.PollDeviceAuthorization(pb.PollDeviceAuthorizationRequest(flow_id=begun.flow_id)))
        listed = await stub.ListConnections(pb.ListConnectionsRequest(include_disconnected=True))

        assert {failure.code for failure in refused} == {grpc.StatusCode.NOT_FOUND}
        assert {(failure.reason, failure.message) for failure in refused} == {(nothing.reason, nothing.message)}
        assert (polled.code, polled.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID")
        assert list(listed.connections) == []


async def test_who_may_not_call_is_told_so(bench: Bench) -> None:
    nobody = await refusal(bench.stub("service").ListConnections(pb.ListConnectionsRequest()))
    laptop = await refusal(bench.stub("laptop").ListConnections(pb.ListConnectionsRequest()))
    other = await refusal(bench.stub("ben", "anna").ListConnections(pb.ListConnectionsRequest()))

    assert (nobody.code, nobody.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "USER_REQUIRED")
    assert laptop.code is grpc.StatusCode.PERMISSION_DENIED
    assert (other.code, other.reason) == (grpc.StatusCode.PERMISSION_DENIED, "WRONG_USER")


async def test_another_users_flow_is_refused_without_asking_the_provider(bench: Bench) -> None:
    await bench.stub().BeginAuthorization(beginning())
    answer = bench.lab.answer(bench.lab.identity.consent(ADDRESS))

    refused = await refusal(
        bench.stub("ben").CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=answer))
    )

    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID")
    assert bench.lab.identity.exchanges == 0


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        (lambda s: s.BeginAuthorization(beginning(provider="yahoo")), "NOT_FOUND", "PROVIDER_UNKNOWN"),
        (lambda s: s.BeginAuthorization(beginning(request_id="1")), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (lambda s: s.BeginAuthorization(beginning(redirect_uri="x")), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (lambda s: s.BeginAuthorization(beginning(flow=9)), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (lambda s: s.GetConnection(one("")), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (lambda s: s.GetConnection(one("a\0b")), "NOT_FOUND", "CONNECTION_UNKNOWN"),
        (lambda s: s.GetConnection(one("x" * 200)), "NOT_FOUND", "CONNECTION_UNKNOWN"),
        (
            lambda s: s.PollDeviceAuthorization(pb.PollDeviceAuthorizationRequest(flow_id="\0")),
            "FAILED_PRECONDITION",
            "STATE_INVALID",
        ),
        (
            lambda s: s.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response="x" * 9000)),
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        (lambda s: s.ListConnections(pb.ListConnectionsRequest(page_size=-1)), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (
            lambda s: s.ListConnections(pb.ListConnectionsRequest(page_token="x")),
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
    ],
)
async def test_a_bad_request_is_refused_with_its_reason(
    bench: Bench, call: Callable[[Any], Awaitable[object]], code: str, reason: str
) -> None:
    refused = await refusal(call(bench.stub()))

    assert (refused.code.name, refused.reason) == (code, reason)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (NeedsReauth(), "FAILED_PRECONDITION"),
        (ConnectionBlocked(), "FAILED_PRECONDITION"),
        (Throttled(retry_after=7.0), "RESOURCE_EXHAUSTED"),
        (OperatorFault(), "INTERNAL"),
        (ProviderUnavailable(), "UNAVAILABLE"),
    ],
)
async def test_a_test_that_fails_says_why(bench: Bench, fault: AdiuvaError, code: str) -> None:
    linked = await bench.link(bench.stub())
    bench.lab.world.provider.faults.append(fault)

    failed = await refusal(bench.stub().TestConnection(pb.TestConnectionRequest(connection_id=linked.connection_id)))

    assert (failed.code.name, failed.reason, failed.message) == (code, fault.reason, fault.message)
    assert failed.retry_after == fault.retry_after


async def test_lists_are_read_page_by_page_and_a_token_is_for_its_query(bench: Bench) -> None:
    stub = bench.stub()
    linked = [await bench.link(stub, f"user-{number}@example.org") for number in range(5)]
    await stub.Disconnect(pb.DisconnectRequest(connection_id=linked[0].connection_id))

    found: list[str] = []
    tokens = [""]
    while len(tokens) == 1 or tokens[-1]:
        page = await stub.ListConnections(pb.ListConnectionsRequest(page_size=2, page_token=tokens[-1]))
        found += [each.connection_id for each in page.connections]
        tokens.append(page.next_page_token)
    first = tokens[1]
    every = (await stub.ListConnections(pb.ListConnectionsRequest(include_disconnected=True))).connections
    mixed = await refusal(stub.ListConnections(pb.ListConnectionsRequest(page_token=first, include_disconnected=True)))
    theirs = await refusal(bench.stub("ben").ListConnections(pb.ListConnectionsRequest(page_token=first)))

    assert sorted(found) == sorted(each.connection_id for each in linked[1:])
    assert len(every) == 5
    assert {mixed.code, theirs.code} == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_a_watch_tells_the_snapshot_and_then_each_change(bench: Bench) -> None:
    linked = await bench.link(bench.stub())
    mine, every = bench.stub(), bench.stub("service")
    watch: Any = mine.WatchConnections(pb.WatchConnectionsRequest())
    all_of_them: Any = every.WatchConnections(pb.WatchConnectionsRequest())

    with anyio.fail_after(10):
        first = [await watch.read() for _ in range(2)]
        await all_of_them.read()
        await all_of_them.read()
        theirs = await bench.link(bench.stub("ben"), "ben@example.org")
        await bench.stub().Disconnect(pb.DisconnectRequest(connection_id=linked.connection_id))
        then = await watch.read()
        seen = [await all_of_them.read() for _ in range(3)]
        bench.hub.stop()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            while await watch.read() is not grpc.aio.EOF:
                pass
    all_of_them.cancel()

    assert [event.kind for event in first] == [
        pb.CONNECTION_EVENT_KIND_SNAPSHOT,
        pb.CONNECTION_EVENT_KIND_SNAPSHOT_END,
    ]
    assert first[0].connection.connection_id == linked.connection_id
    assert (then.kind, then.connection.state) == (pb.CONNECTION_EVENT_KIND_CHANGED, DISCONNECTED)
    assert theirs.connection_id in {event.connection.connection_id for event in seen}
    assert from_rpc_error(ended.value).reason == "CONNECTORS_STOPPING"


async def test_a_watch_ends_with_its_caller(bench: Bench) -> None:
    watch: Any = bench.stub().WatchConnections(pb.WatchConnectionsRequest())
    with anyio.fail_after(10):
        await watch.read()
        assert bench.hub.watchers == 1
        watch.cancel()
        while bench.hub.watchers:  # noqa: ASYNC110 - what changes has no event to wait for
            await asyncio.sleep(0.005)


async def test_no_answer_holds_a_token_or_a_code(bench: Bench) -> None:
    stub = bench.stub()
    answers: list[Any] = [await stub.BeginAuthorization(beginning(flow=DEVICE, redirect_uri=""))]
    answers[0].authorization.user_code = ""  # the user has to see this one
    linked = await bench.link(stub, "anna@example.org")
    name = {"connection_id": linked.connection_id}
    answers += [
        linked,
        await stub.GetConnection(pb.GetConnectionRequest(**name)),
        await stub.TestConnection(pb.TestConnectionRequest(**name)),
        await stub.ListConnections(pb.ListConnectionsRequest()),
        await stub.Disconnect(pb.DisconnectRequest(**name)),
    ]

    assert not [answer for answer in answers if CANARY in str(answer)]
