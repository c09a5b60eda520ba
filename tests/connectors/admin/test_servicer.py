"""The operator's service over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc.aio
import pytest

from adiuva.connectors.v1 import admin_service_pb2 as pb
from adiuva.connectors.v1.admin_service_pb2_grpc import AdminServiceStub, add_AdminServiceServicer_to_server
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import RpcServer
from adiuva_rpc.status import from_rpc_error
from connectors.admin.rotating import KeyRotation
from connectors.admin.servicer import AdminServicer
from connectors.connections.domain import AuditAction, AuditEvent
from connectors.messages.domain import Ref
from connectors.messages.ports import CursorName, Trouble
from connectors.paging import encode_token
from connectors.policy import POLICY
from connectors.vault.domain import Owner
from connectors.vault.vault import Vault
from tests.connectors.admin.test_rotating import NOW, Room
from tests.connectors.messages.wire import Tokens
from tests.fakes.cursor_store import InMemoryQuarantine

if TYPE_CHECKING:
    from adiuva.connectors.v1.admin_service_pb2_grpc import AdminServiceAsyncStub


class Trail:
    """An audit trail in memory."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def add(self, event: AuditEvent) -> None:
        self.events.append(
            AuditEvent(
                event_id=str(len(self.events) + 1),
                user_id=event.user_id,
                connection_id=event.connection_id,
                action=event.action,
                actor=event.actor,
                reason=event.reason,
                at=event.at,
            )
        )

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        found = [
            event
            for event in reversed(self.events)
            if user_id in {None, event.user_id}
            and connection_id in {"", event.connection_id}
            and (not before or int(event.event_id) < int(before))
        ]
        return found[:limit]


class Bench:
    """The servicer behind a real server."""

    def __init__(self) -> None:
        self.room = Room()
        self.trail = Trail()
        self.quarantine = InMemoryQuarantine()
        rotation = KeyRotation(store=self.room.store, vault=Vault(self.room.keys), audit=self.trail, now=self.room.now)
        self._server = RpcServer(
            address=ListenAddress("127.0.0.1", 0), policy=POLICY, authenticator=Tokens(), with_health=False
        )
        add_AdminServiceServicer_to_server(
            AdminServicer(rotation=rotation, quarantine=self.quarantine, audit=self.trail, now=self.room.now),
            self._server.grpc,
        )
        self._channels: list[grpc.aio.Channel] = []

    def stub(self, caller: str = "service", user: str | None = None) -> AdminServiceAsyncStub:
        channel = connect(f"127.0.0.1:{self._server.port}", authorization=bearer(caller), user=user)
        self._channels.append(channel)
        return AdminServiceStub(channel)

    async def put(self, count: int, *, user_id: str = "anna", connection_id: str = "c-1") -> None:
        for number in range(count):
            ref = Ref(provider_id=f"{connection_id}-m{number}", received_at=NOW)
            trouble = Trouble(user_id=user_id, ref=ref, reason="MESSAGE_UNREADABLE", message="The charset is unknown.")
            name = CursorName(connection_id=connection_id, subscriber="agent-1")
            await self.quarantine.put(name, trouble, now=NOW + timedelta(minutes=number))

    async def listed(self, stub: AdminServiceAsyncStub, **fields: Any) -> list[pb.QuarantinedMessage]:
        found: list[pb.QuarantinedMessage] = []
        token = ""
        while True:
            request = pb.ListQuarantinedMessagesRequest(page_token=token, **fields)
            page = await stub.ListQuarantinedMessages(request)
            found.extend(page.messages)
            token = page.next_page_token
            if not token:
                return found

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()
        await self._server.stop(grace=0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    failure = from_rpc_error(failed.value)
    return failure.code.name, failure.reason


async def test_keys_are_rotated_and_the_caller_is_written_down(bench: Bench) -> None:
    owner = Owner("anna", "c-1")
    await bench.room.store.put(owner, await bench.room.vault.new_key(owner))
    await bench.room.keys.add()

    rotated = await bench.stub().RotateKeys(pb.RotateKeysRequest(), timeout=10)

    assert rotated == pb.RotateKeysResponse(rewrapped=1, keys=[pb.KeyUse(key_id="key-2", grants=1, current=True)])
    (event,) = (await bench.stub().ListAuditEvents(pb.ListAuditEventsRequest())).events
    assert (event.action, event.actor, event.event_id) == ("KEYS_ROTATED", "orchestrator", "1")


@pytest.mark.parametrize("method", ["RotateKeys", "ListQuarantinedMessages", "ListAuditEvents"])
async def test_a_user_is_no_operator(bench: Bench, method: str) -> None:
    call = getattr(bench.stub("anna"), method)(getattr(pb, f"{method}Request")())

    assert (await refused(call))[0] == "PERMISSION_DENIED"


async def test_the_quarantine_is_listed_newest_first_page_by_page(bench: Bench) -> None:
    await bench.put(7)

    found = await bench.listed(bench.stub(), page_size=3)

    assert [one.provider_id for one in found] == [f"c-1-m{number}" for number in reversed(range(7))]
    assert found[0].first_tried_at.ToDatetime(tzinfo=NOW.tzinfo) == NOW + timedelta(minutes=6)
    assert (found[0].reason, found[0].attempts, found[0].retry_requested) == ("MESSAGE_UNREADABLE", 1, False)
    assert (found[0].user_id, found[0].connection_id, found[0].subscriber) == ("anna", "c-1", "agent-1")


async def test_lists_are_of_the_user_and_the_connection_that_are_named(bench: Bench) -> None:
    await bench.put(2)
    await bench.put(1, user_id="berta", connection_id="c-2")

    assert len(await bench.listed(bench.stub())) == 3
    assert len(await bench.listed(bench.stub(user="berta"))) == 1
    assert len(await bench.listed(bench.stub(), connection_id="c-1")) == 2
    assert await bench.listed(bench.stub(user="berta"), connection_id="c-1") == []


async def test_a_page_token_of_another_query_is_refused(bench: Bench) -> None:
    await bench.put(3)
    page = await bench.stub().ListQuarantinedMessages(pb.ListQuarantinedMessagesRequest(page_size=1))

    other = pb.ListQuarantinedMessagesRequest(page_token=page.next_page_token, connection_id="c-1")
    audit = pb.ListAuditEventsRequest(page_token=page.next_page_token)
    forged = pb.ListAuditEventsRequest(page_token=encode_token("audit", "\0", (NOW, "1; DROP")))

    assert await refused(bench.stub().ListQuarantinedMessages(other)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert (await refused(bench.stub().ListAuditEvents(audit)))[0] == "INVALID_ARGUMENT"
    assert (await refused(bench.stub().ListAuditEvents(forged)))[0] == "INVALID_ARGUMENT"


async def test_messages_are_tried_again_when_asked_for(bench: Bench) -> None:
    await bench.put(3)
    ids = [one.quarantine_id for one in await bench.listed(bench.stub())]

    answer = await bench.stub().RetryQuarantinedMessages(pb.RetryQuarantinedMessagesRequest(quarantine_ids=ids[:2]))

    assert answer.requested == 2
    assert [one.retry_requested for one in await bench.listed(bench.stub())] == [True, True, False]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "INVALID_ARGUMENT"),
        (["0" * 32] * 1_001, "INVALID_ARGUMENT"),
        (["0" * 32], "NOT_FOUND"),
        (["not an id\0"], "NOT_FOUND"),
    ],
    ids=["none", "too many", "unknown", "malformed"],
)
async def test_what_cannot_be_tried_again_is_refused(bench: Bench, ids: list[str], code: str) -> None:
    request = pb.RetryQuarantinedMessagesRequest(quarantine_ids=ids)

    assert (await refused(bench.stub().RetryQuarantinedMessages(request)))[0] == code


async def test_messages_of_another_user_are_not_there(bench: Bench) -> None:
    await bench.put(1)
    (message,) = await bench.listed(bench.stub())
    request = pb.RetryQuarantinedMessagesRequest(quarantine_ids=[message.quarantine_id])

    assert await refused(bench.stub(user="berta").RetryQuarantinedMessages(request)) == (
        "NOT_FOUND",
        "NOT_IN_QUARANTINE",
    )


async def test_the_audit_trail_is_listed_newest_first_page_by_page(bench: Bench) -> None:
    for number in range(5):
        event = AuditEvent(
            user_id="anna", connection_id=f"c-{number % 2}", action=AuditAction.REFRESHED, actor="connectors", at=NOW
        )
        await bench.trail.add(event)
    found: list[str] = []
    token = ""
    while True:
        page = await bench.stub().ListAuditEvents(pb.ListAuditEventsRequest(page_size=2, page_token=token))
        found += [event.event_id for event in page.events]
        token = page.next_page_token
        if not token:
            break

    assert found == ["5", "4", "3", "2", "1"]
    of_one = await bench.stub().ListAuditEvents(pb.ListAuditEventsRequest(connection_id="c-1"))
    assert [event.event_id for event in of_one.events] == ["4", "2"]


async def test_a_connection_that_cannot_be_is_refused(bench: Bench) -> None:
    request = pb.ListAuditEventsRequest(connection_id="c\0")

    assert (await refused(bench.stub().ListAuditEvents(request)))[0] == "INVALID_ARGUMENT"
