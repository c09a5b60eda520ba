"""What surrounds a handler: errors become statuses, cancellation stays cancellation, ids travel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.errors import NotFound, Unavailable
from adiuva_rpc.identity import USER_HEADER, current_caller, user_for
from adiuva_rpc.request_ids import REQUEST_ID_HEADER, current_request_id
from adiuva_rpc.server import Limits, RpcServer
from tests.adiuva_rpc.probe import ANNA, BRIDGE, SERVICE, Probe, decode, encode, failure, probe_server, reading

HELLO = StringValue(value="hello")


KINDS = ["unary", "collect", "watch", "talk"]
UNARY_RESPONSE = {"unary", "collect"}

Serve = Callable[[Callable[..., Any]], None]


def call_of(channel: grpc.aio.Channel, kind: str, **options: Any) -> Any:
    """Start a call of one of the four kinds."""
    if kind == "unary":
        return channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(HELLO, **options)
    if kind == "collect":
        return channel.stream_unary(f"/{SERVICE}/Collect", encode, decode)(iter([HELLO, HELLO]), **options)
    if kind == "watch":
        return channel.unary_stream(f"/{SERVICE}/Watch", encode, decode)(HELLO, **options)
    return channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)(iter([HELLO, HELLO]), **options)


def outcome(channel: grpc.aio.Channel, kind: str, **options: Any) -> Any:
    """Return an awaitable of a call's outcome."""
    call = call_of(channel, kind, **options)
    return call if kind in UNARY_RESPONSE else reading(call)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(channel: grpc.aio.Channel, probe: Probe, kind: str) -> Iterator[Serve]:
    """Let the method of this kind be served by another handler, until the test is over."""
    usual = getattr(probe, kind)
    yield lambda handler: setattr(probe, kind, handler)
    setattr(probe, kind, usual)


@pytest.fixture
def serve_unary(channel: grpc.aio.Channel, probe: Probe) -> Iterator[Serve]:
    usual = probe.unary
    yield lambda handler: setattr(probe, "unary", handler)
    probe.unary = usual


@pytest.fixture
def serve_watch(channel: grpc.aio.Channel, probe: Probe) -> Iterator[Serve]:
    usual = probe.watch
    yield lambda handler: setattr(probe, "watch", handler)
    probe.watch = usual


async def test_each_kind_of_method_works(channel: grpc.aio.Channel) -> None:
    assert (await outcome(channel, "unary")).value == "hello"
    assert (await outcome(channel, "collect")).value == "hellohello"
    assert await outcome(channel, "watch") == ["hello"] * 3
    assert await outcome(channel, "talk") == ["hello"] * 2


async def test_a_declared_error_arrives_whole(channel: grpc.aio.Channel, kind: str, serve: Serve) -> None:
    async def handler(_request: object, _context: object) -> None:
        raise Unavailable("The device is offline.", retry_after=3)

    serve(handler)
    found = await failure(outcome(channel, kind))

    assert (found.code, found.reason, found.message, found.retry_after) == (
        grpc.StatusCode.UNAVAILABLE,
        "UNAVAILABLE",
        "The device is offline.",
        3.0,
    )


async def test_a_bug_says_nothing_but_a_reference(
    channel: grpc.aio.Channel, kind: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_request: object, _context: object) -> None:
        raise ValueError("hunter2 at /home/anna")

    serve(handler)
    with structlog.testing.capture_logs() as logs:
        found = await failure(outcome(channel, kind))

    assert found.code is grpc.StatusCode.INTERNAL
    assert found.message == f"internal error; ref {found.metadata['reference']}"
    (line,) = [line for line in logs if line["event"] == "call failed"]
    assert line["ref"] == found.metadata["reference"]
    assert isinstance(line["exc_info"], ValueError)
    assert errors_of_grpc(caplog) == []


async def test_an_error_in_a_task_group_is_found(channel: grpc.aio.Channel, kind: str, serve: Serve) -> None:
    async def fails() -> None:
        raise NotFound("device")

    async def waits() -> None:
        await anyio.sleep_forever()

    async def handler(_request: object, _context: object) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waits())
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fails())

    serve(handler)

    assert (await failure(outcome(channel, kind, timeout=5))).reason == "NOT_FOUND"


async def test_a_status_that_a_handler_chose_gets_a_reason(channel: grpc.aio.Channel, kind: str, serve: Serve) -> None:
    async def handler(_request: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now", (("extra", "kept"),))

    serve(handler)
    call = call_of(channel, kind)
    found = await failure(call if kind in UNARY_RESPONSE else reading(call))

    assert (found.code, found.reason, found.message) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "FAILED_PRECONDITION",
        "not now",
    )
    assert dict(await call.trailing_metadata())["extra"] == "kept"


async def test_a_status_that_a_handler_set_gets_a_reason(channel: grpc.aio.Channel, kind: str, serve: Serve) -> None:
    async def handler(_request: object, context: Any) -> StringValue:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no such thing")
        return StringValue()

    serve(handler)
    found = await failure(outcome(channel, kind))

    assert (found.code, found.reason, found.message) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "no such thing")


async def test_a_handler_that_hides_its_own_abort_has_aborted(
    channel: grpc.aio.Channel, kind: str, serve: Serve
) -> None:
    async def handler(_request: object, context: Any) -> None:
        try:
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        except grpc.aio.AbortError:
            raise ValueError("something else") from None

    serve(handler)

    assert (await failure(outcome(channel, kind, timeout=5))).code is grpc.StatusCode.NOT_FOUND


async def test_a_cancelled_future_inside_is_an_error_and_not_silence(
    channel: grpc.aio.Channel, kind: str, serve: Serve
) -> None:
    async def handler(_request: object, _context: object) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    serve(handler)

    assert (await failure(outcome(channel, kind, timeout=5))).code is grpc.StatusCode.INTERNAL


async def test_a_handler_is_cancelled_when_its_caller_leaves(
    channel: grpc.aio.Channel, kind: str, serve: Serve, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled = anyio.Event()

    async def handler(_request: object, _context: object) -> None:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    serve(handler)
    call = call_of(channel, kind)
    await probe.until_started()
    with structlog.testing.capture_logs() as logs:
        call.cancel()
        with anyio.fail_after(5):
            await cancelled.wait()
        await probe.until_idle()

    assert logs == []
    assert errors_of_grpc(caplog) == []


@pytest.mark.parametrize("style", ["writes", "generator"])
async def test_a_write_to_a_caller_that_left_is_an_ordinary_end(
    channel: grpc.aio.Channel, probe: Probe, serve_watch: Serve, style: str, caplog: pytest.LogCaptureFixture
) -> None:
    big = StringValue(value="x" * 500_000)
    ended_by: list[asyncio.Task[Any] | None] = []

    async def writes(_request: object, context: Any) -> None:
        while True:
            await context.write(big)

    async def generator(_request: object, _context: object) -> AsyncIterator[StringValue]:
        try:
            while True:
                yield big
        finally:
            ended_by.append(asyncio.current_task())

    serve_watch(writes if style == "writes" else generator)
    with structlog.testing.capture_logs() as logs:
        for count in range(1, 21):
            call = call_of(channel, "watch")
            await call.read()
            call.cancel()
            await probe.until_started(count)
        await probe.until_idle()

    assert [line for line in logs if line["log_level"] != "debug"] == []
    assert errors_of_grpc(caplog) == []
    assert len(ended_by) == (20 if style == "generator" else 0)


async def test_a_handler_that_survived_a_failed_task_group_still_has_a_deadline(probe: Probe) -> None:
    async def fails() -> None:
        raise ValueError("a part that may fail")

    async def handler(_request: object, _context: object) -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fails())
        await anyio.sleep_forever()

    probe.unary = handler
    async with (
        probe_server(probe, limits=Limits(unary_seconds=0.05)) as server,
        connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel,
    ):
        found = await failure(call_of(channel, "unary", timeout=5))

    assert found.message == "The call took longer than the server allows."


async def test_two_writes_at_a_time_are_a_bug_that_is_reported(channel: grpc.aio.Channel, serve_watch: Serve) -> None:
    big = StringValue(value="x" * 900_000)

    async def handler(_request: object, context: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(context.write(big))

    serve_watch(handler)
    call = call_of(channel, "watch", timeout=5)
    with structlog.testing.capture_logs() as logs:
        found = await failure(reading(call))

    assert found.code is grpc.StatusCode.INTERNAL
    assert "call failed" in {line["event"] for line in logs}


async def test_an_error_beside_a_declared_one_is_not_lost(channel: grpc.aio.Channel, serve_unary: Serve) -> None:
    async def handler(_request: object, _context: object) -> None:
        raise ExceptionGroup("two", [NotFound("run"), ValueError("a bug")])

    serve_unary(handler)
    with structlog.testing.capture_logs() as logs:
        assert (await failure(outcome(channel, "unary"))).reason == "NOT_FOUND"

    assert "errors beside it" in {line["event"] for line in logs}


@pytest.mark.parametrize("method", ["unary", "watch"])
async def test_a_handler_that_is_not_async_is_refused(
    channel: grpc.aio.Channel, serve_unary: Serve, serve_watch: Serve, method: str
) -> None:
    serve_unary(lambda request, _context: request)
    serve_watch(lambda request, _context: iter([request]))

    assert (await failure(outcome(channel, method))).code is grpc.StatusCode.INTERNAL


async def test_a_response_of_the_wrong_type_is_a_bug_without_text(
    channel: grpc.aio.Channel, serve_unary: Serve
) -> None:
    async def handler(_request: object, _context: object) -> str:
        return "not a message"

    serve_unary(handler)

    assert (await failure(outcome(channel, "unary"))).message.startswith("internal error; ref ")


async def test_the_request_id_of_the_caller_is_bound_and_returned(
    channel: grpc.aio.Channel, kind: str, serve: Serve
) -> None:
    seen: list[str | None] = []

    async def handler(_request: object, context: Any) -> StringValue:
        seen.append(current_request_id())
        context.set_trailing_metadata((("extra", "kept"),))
        return StringValue()

    serve(handler)
    call = call_of(channel, kind, metadata=((REQUEST_ID_HEADER, "abc-123"),))
    await (call if kind in UNARY_RESPONSE else reading(call))

    trailing = dict(await call.trailing_metadata())
    assert seen == ["abc-123"]
    assert (trailing[REQUEST_ID_HEADER], trailing["extra"]) == ("abc-123", "kept")


@pytest.mark.parametrize("presented", ["", "x" * 65, "two words", 'quote"'])
async def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(channel: grpc.aio.Channel, presented: str) -> None:
    call = call_of(channel, "unary", metadata=((REQUEST_ID_HEADER, presented),))
    await call

    assert len(dict(await call.trailing_metadata())[REQUEST_ID_HEADER]) == 16


async def test_a_refused_call_has_a_request_id_too(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        call = call_of(channel, "unary", metadata=((REQUEST_ID_HEADER, "abc"),))
        await failure(call)

        assert dict(await call.trailing_metadata())[REQUEST_ID_HEADER] == "abc"


async def test_tasks_of_a_handler_know_the_caller_and_the_request(
    channel: grpc.aio.Channel, serve_unary: Serve
) -> None:
    async def inner() -> tuple[str, str | None]:
        return current_caller().name, current_request_id()

    async def handler(_request: object, _context: object) -> StringValue:
        async with asyncio.TaskGroup() as tasks:
            found = tasks.create_task(inner())
        return StringValue(value=" ".join(map(str, found.result())))

    serve_unary(handler)
    answer = await call_of(channel, "unary", metadata=((REQUEST_ID_HEADER, "r1"),))

    assert answer.value == "anna r1"


async def test_a_service_acts_for_the_user_in_its_metadata(server: RpcServer, serve_unary: Serve) -> None:
    async def handler(_request: object, _context: object) -> StringValue:
        return StringValue(value=user_for(current_caller()))

    serve_unary(handler)
    async with connect(f"127.0.0.1:{server.port}", authorization=lambda: f"Bearer {BRIDGE}", user="anna") as channel:
        assert (await call_of(channel, "unary")).value == "anna"
    async with connect(f"127.0.0.1:{server.port}", authorization=lambda: f"Bearer {BRIDGE}") as channel:
        assert (await failure(call_of(channel, "unary"))).reason == "USER_REQUIRED"


async def test_a_user_that_names_another_is_denied(channel: grpc.aio.Channel, serve_unary: Serve) -> None:
    async def handler(_request: object, _context: object) -> StringValue:
        return StringValue(value=user_for(current_caller()))

    serve_unary(handler)

    assert (await call_of(channel, "unary")).value == "anna"
    assert (await failure(call_of(channel, "unary", metadata=((USER_HEADER, "bob"),)))).reason == "WRONG_USER"


def errors_of_grpc(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What grpc itself complained about."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
