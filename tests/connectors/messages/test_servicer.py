"""The message service over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.status import RpcFailure, from_rpc_error
from connectors.connections.domain import ConnectionState
from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault, ProviderUnavailable, Throttled
from connectors.messages.domain import Unreadable
from tests.connectors.messages.lab import Lab
from tests.connectors.messages.wire import Bench, keys, kinds, wanted
from tests.fakes.provider import Pause


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench(await Lab.linked()) as bench:
        yield bench


async def until(condition: Any, *, within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what changes has no event to wait for
            await asyncio.sleep(0.005)


async def failure(bench: Bench, **fields: Any) -> tuple[RpcFailure, list[pb.FetchMessagesResponse]]:
    """Fetch until it fails; return how, and what came before."""
    events: list[pb.FetchMessagesResponse] = []
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for event in bench.stub().FetchMessages(wanted(**fields), timeout=30):
            events.append(event)  # noqa: PERF401 - what came before the failure is wanted too
    return from_rpc_error(failed.value), events


async def test_messages_come_and_a_commit_keeps_them_from_coming_again(bench: Bench) -> None:
    ids = bench.lab.mails(3)
    bench.lab.fake.scripts["m0001"].append(Unreadable("The charset is unknown."))

    events = await bench.fetch()

    assert kinds(events) == ["started", "message", "item_error", "message", "checkpoint", "completed"]
    assert keys(events) == [ids[0], ids[2]]
    assert events[0].started.mode == pb.FETCH_MODE_WINDOW
    assert events[0].started.since.ToDatetime() == (bench.lab.clock.now() - timedelta(days=7)).replace(tzinfo=None)
    assert events[2].item_error.reason == "MESSAGE_UNREADABLE"
    completed = events[-1].completed
    assert (completed.delivered, completed.unreadable, completed.provider_calls) == (2, 1, 4)
    await bench.stub().CommitCursor(
        pb.CommitCursorRequest(connection_id="c-1", cursor_token=completed.cursor_token), timeout=5
    )
    assert kinds(await bench.fetch()) == ["started", "completed"]


async def test_a_service_acts_for_the_user_it_names(bench: Bench) -> None:
    bench.lab.mails(1)

    assert keys(await bench.fetch(bench.stub("service", "anna"))) == ["m0000"]
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await bench.fetch(bench.stub("service", "berta"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await bench.fetch(bench.stub("berta", "anna"))
    assert failed.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await bench.fetch(bench.stub("service"))
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"connection_id": "c-9"}, "NOT_FOUND", "CONNECTION_UNKNOWN"),
        ({"connection_id": "c 9\0"}, "NOT_FOUND", "CONNECTION_UNKNOWN"),
        ({"connection_id": ""}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"subscriber": ""}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"subscriber": "x" * 129}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"max_messages": -1}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"max_body_chars": -1}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"since": Timestamp(seconds=2**60)}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"cursor_token": ""}, "INVALID_ARGUMENT", "CURSOR_INVALID"),
        ({"cursor_token": "AAAA"}, "INVALID_ARGUMENT", "CURSOR_INVALID"),
        ({"filter": message_pb2.MessageFilter(senders=["nobody"])}, "INVALID_ARGUMENT", "FILTER_INVALID"),
        ({"filter": message_pb2.MessageFilter(unread_only=True)}, "INVALID_ARGUMENT", "FILTER_UNSUPPORTED"),
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    bench: Bench, fields: dict[str, Any], code: str, reason: str
) -> None:
    failed, events = await failure(bench, **fields)

    assert (failed.code.name, failed.reason, events) == (code, reason, [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NeedsReauth(), "FAILED_PRECONDITION"),
        (ConnectionBlocked(), "FAILED_PRECONDITION"),
        (OperatorFault(), "INTERNAL"),
        (ProviderUnavailable(), "UNAVAILABLE"),
        (Throttled(retry_after=42.0), "RESOURCE_EXHAUSTED"),
    ],
    ids=lambda value: getattr(value, "reason", None),
)
async def test_a_fault_of_the_provider_is_a_status_after_what_came_before(
    bench: Bench, error: AdiuvaError, code: str
) -> None:
    bench.lab.mails(3)
    bench.lab.fake.scripts["m0002"].append(error)

    failed, events = await failure(bench)

    assert (failed.code.name, failed.reason) == (code, error.reason)
    assert kinds(events) == ["started", "message", "message", "checkpoint"]
    assert failed.retry_after == error.retry_after
    assert bench.lab.health.told[-1] == error.reason


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ConnectionState.PENDING, "CONNECTION_PENDING"),
        (ConnectionState.NEEDS_REAUTH, "NEEDS_REAUTH"),
        (ConnectionState.DISCONNECTED, "DISCONNECTED"),
    ],
)
async def test_a_connection_that_cannot_be_used_says_why(bench: Bench, state: ConnectionState, reason: str) -> None:
    bench.lab.connections.change("c-1", state=state)

    failed, _ = await failure(bench)

    assert (failed.code, failed.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
    assert bench.lab.fake.queries == []


async def test_a_commit_of_an_older_fetch_is_aborted(bench: Bench) -> None:
    bench.lab.mails(1)
    older = await bench.fetch()
    await bench.fetch()

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await bench.stub().CommitCursor(
            pb.CommitCursorRequest(connection_id="c-1", cursor_token=older[-1].completed.cursor_token), timeout=5
        )

    assert from_rpc_error(failed.value).reason == "STALE_FETCH"
    assert failed.value.code() is grpc.StatusCode.ABORTED


async def test_a_reader_that_does_not_read_stops_the_requests_to_the_provider(bench: Bench) -> None:
    total = 120
    for number in range(total):
        bench.lab.mail(f"m{number:04d}", ago=timedelta(minutes=total - number), text="x" * 200_000)
    call = bench.stub().FetchMessages(wanted(max_messages=total, max_body_chars=200_000), timeout=30)
    got: list[str] = []

    async for event in call:
        if event.WhichOneof("event") == "message":
            got.append(event.message.key)
        if len(got) == 3:
            break
    # The provider is idle: all that was read ahead waits for room.
    await until(lambda: bench.lab.fake.running == 0)
    await quiet(lambda: len(bench.lab.fake.begun))
    begun = len(bench.lab.fake.begun)
    got.extend(keys([event async for event in call]))

    assert begun < 60, "three were taken, eight are read ahead, the rest is what the transport holds"
    assert got == [f"m{number:04d}" for number in range(total)]


async def quiet(count: Any) -> None:
    """Wait until a count has stood still for a while."""
    last, still = count(), 0
    with anyio.fail_after(10):
        while still < 20:
            await asyncio.sleep(0.01)
            now = count()
            last, still = now, still + 1 if now == last else 0


async def test_leaving_cancels_the_requests_to_the_provider(bench: Bench) -> None:
    bench.lab.mails(10)
    for number in range(2, 10):
        bench.lab.fake.hold(f"m{number:04d}")
    call = bench.stub().FetchMessages(wanted(), timeout=30)
    await until_message(call, "m0001")
    await until(lambda: bench.lab.fake.running == bench.lab.fake.concurrency)

    call.cancel()

    await until(lambda: bench.lab.fake.running == 0)
    assert len(bench.lab.fake.cancelled) == bench.lab.fake.concurrency


async def until_message(call: Any, key: str) -> None:
    async for event in call:
        if event.message.key == key:
            return


async def test_a_deadline_ends_a_fetch_that_waits_for_its_provider(bench: Bench) -> None:
    bench.lab.mails(1)
    bench.lab.fake.hold("m0000")

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for _ in bench.stub().FetchMessages(wanted(), timeout=0.3):
            pass

    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: bench.lab.fake.running == 0)


async def test_a_pause_is_told_while_it_lasts(bench: Bench) -> None:
    bench.lab.clock.hasty = False
    bench.lab.mails(1)
    bench.lab.fake.listing_script.append(Pause(30))
    call = bench.stub().FetchMessages(wanted(), timeout=120)
    until_then = bench.lab.clock.now() + timedelta(seconds=30)

    events = aiter(call)

    first = await anext(events)

    assert first.throttled.until.ToDatetime(tzinfo=until_then.tzinfo) == until_then
    bench.lab.clock.advance(timedelta(seconds=30))
    assert kinds([event async for event in events]) == ["started", "message", "checkpoint", "completed"]


async def test_an_attachment_comes_in_pieces_of_one_size(bench: Bench) -> None:
    content = bytes(range(256)) * 3_000
    bench.lab.fake.attachments["m1", "a1"] = [content[:1_000], content[1_000:700_000], content[700_000:]]

    pieces = [piece.data async for piece in attachment(bench)]

    assert b"".join(pieces) == content
    assert [len(piece) for piece in pieces] == [262_144, 262_144, 768_000 - 2 * 262_144]


async def test_an_empty_attachment_is_an_empty_stream(bench: Bench) -> None:
    bench.lab.fake.attachments["m1", "a1"] = []

    assert [piece async for piece in attachment(bench)] == []


def attachment(bench: Bench, **fields: str) -> Any:
    asked = {"connection_id": "c-1", "provider_id": "m1", "attachment_id": "a1", **fields}
    return bench.stub().GetAttachment(pb.GetAttachmentRequest(**asked), timeout=30)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"attachment_id": "a2"}, "ATTACHMENT_GONE"),
        ({"connection_id": "c-9"}, "CONNECTION_UNKNOWN"),
        ({"attachment_id": "large"}, "ATTACHMENT_TOO_LARGE"),
        ({"attachment_id": ""}, "INVALID_ARGUMENT"),
        ({"provider_id": "x" * 2_049}, "INVALID_ARGUMENT"),
    ],
)
async def test_an_attachment_that_cannot_be_had_says_why(bench: Bench, fields: dict[str, str], reason: str) -> None:
    bench.lab.fake.attachments["m1", "large"] = [bytes(1 << 20)] * 26

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for _ in attachment(bench, **fields):
            pass

    assert from_rpc_error(failed.value).reason == reason
    assert bench.lab.fake.open_attachments == 0
