"""The link on the real wire: how sessions begin, end, and begin again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import anyio
import grpc
import pytest

from adiuva.device_bridge.v1 import session_service_pb2 as pb
from adiuva_rpc.errors import Aborted, PermissionDenied, ResourceExhausted
from device_bridge.agent.link.domain import CloseReason, EndKind
from device_bridge.agent.link.link import Connected
from device_bridge.agent.link.session import Timing
from tests.device_bridge.agent.link.support import (
    Device,
    FixedIdentity,
    MostRandom,
    bridge_and_device,
    device,
)
from tests.fakes.bridge import FakeBridge

PATIENCE = 10.0


class DeviceRevoked(PermissionDenied):
    """As the bridge says it."""

    reason = "DEVICE_REVOKED"


async def test_a_device_says_hello_is_welcomed_and_answers_calls() -> None:
    async with bridge_and_device() as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome()

        await session.call("a", "echo", {"text": "hi"})
        done = await session.expect_done("a")

    assert session.authorization == "Bearer secret"
    assert session.hello.instance_id == "instance-1"
    assert json.loads(done.outcome.result_json) == {"text": "hi"}


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Accept connections and never say a word; tells when the second one came."""
    connections: list[asyncio.StreamWriter] = []
    second = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        if len(connections) > 1:
            second.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", second
        for writer in connections:
            writer.close()


async def test_a_server_that_accepts_and_never_answers_is_tried_again() -> None:
    async with mute_server() as (target, second), device(target, timing=Timing(handshake=0.05)) as running:
        await running.until(lambda: len(running.ends) >= 4)
        with anyio.fail_after(PATIENCE):
            await second.wait()  # after three failures the channel itself was replaced

    assert {end.kind for end in running.ends} == {EndKind.NO_WELCOME}


async def test_a_bridge_that_never_welcomes_is_tried_again() -> None:
    async with bridge_and_device(timing=Timing(handshake=0.05)) as (bridge, running):
        first = await bridge.next_session()
        second = await bridge.next_session()
        await second.welcome()
        await running.until(lambda: isinstance(running.reports[-1], Connected))

    assert first.gone.is_set()
    assert running.ends[0].kind is EndKind.NO_WELCOME


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.OK,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ],
    ids=lambda code: code.name,
)
async def test_no_bare_status_of_the_server_stops_the_device(code: grpc.StatusCode) -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        await session.end(code, "some proxy on the way")

        await (await bridge.next_session()).welcome()
        await running.until(lambda: isinstance(running.reports[-1], Connected))

        assert running.end is None


async def test_a_connection_that_is_cut_off_is_made_again() -> None:
    async with FakeBridge() as bridge, cutting_proxy(bridge) as (target, cut), device(target) as running:
        await (await bridge.next_session()).welcome()
        await running.until(lambda: bool(running.reports))

        cut()
        await (await bridge.next_session()).welcome()
        await running.until(lambda: isinstance(running.reports[-1], Connected) and len(running.reports) > 1)

    assert running.ends[0].kind is EndKind.LOST


@contextlib.asynccontextmanager
async def cutting_proxy(bridge: FakeBridge) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Pass bytes on to the bridge until `cut` resets every connection."""
    transports: list[asyncio.WriteTransport] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bridge_reader, bridge_writer = await asyncio.open_connection("127.0.0.1", bridge.port)
        transports.extend([writer.transport, bridge_writer.transport])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(reader, bridge_writer))
            tasks.create_task(pump(bridge_reader, writer))

    def cut() -> None:
        for transport in transports:
            transport.abort()
        transports.clear()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
        cut()


async def test_a_bridge_that_restarts_is_joined_again_whatever_its_epoch() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome(epoch=7)
        await running.until(lambda: bool(running.reports))
        await bridge.stop()
        await bridge.start()

        again = await bridge.next_session()
        await again.welcome(epoch=3)
        await again.call("a", "echo", {"text": "hi"})
        await again.expect_done("a")

    welcomes = [report.welcome.epoch for report in running.reports if isinstance(report, Connected)]
    assert welcomes == [7, 3]
    assert again.hello.instance_id == session.hello.instance_id


async def test_a_device_comes_back_after_twenty_lost_sessions() -> None:
    async with bridge_and_device() as (bridge, running):
        for _ in range(20):
            session = await bridge.next_session()
            await session.welcome()
            await session.end(grpc.StatusCode.UNAVAILABLE)
        session = await bridge.next_session()
        await session.welcome()
        await session.call("a", "echo")

        await session.expect_done("a")

    assert len(running.ends) == 20


async def test_an_unreachable_bridge_is_tried_for_ever_and_joined_when_it_is_there() -> None:
    bridge = FakeBridge()
    await bridge.start()
    await bridge.stop()
    async with device(bridge.target) as running:
        await running.until(lambda: len(running.ends) >= 7)

        await bridge.start()
        await (await bridge.next_session()).welcome()
        await bridge.stop()

    assert {end.kind for end in running.ends[:7]} == {EndKind.LOST}
    assert "UNAVAILABLE" in running.ends[0].detail


async def test_a_bridge_that_freezes_is_noticed_and_another_session_is_opened() -> None:
    async with bridge_and_device() as (bridge, running):
        frozen = await bridge.next_session()
        await frozen.welcome(heartbeat_interval=0.03)

        second = await bridge.next_session()
        await second.welcome()
        await running.until(lambda: isinstance(running.reports[-1], Connected) and len(running.reports) == 3)

    assert running.ends[0].kind is EndKind.SILENT
    assert "heartbeat" in [kind for frame in frozen.frames for kind in frame]


async def test_bytes_that_are_no_frame_end_the_session_and_not_the_device() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.say_raw(pb.ConnectResponse(seq=9))

        await (await bridge.next_session()).welcome()
        await running.until(lambda: isinstance(running.reports[-1], Connected))

    assert running.ends[0].kind is EndKind.VIOLATION


async def test_the_tools_are_sent_when_the_bridge_asks_for_them() -> None:
    async with bridge_and_device() as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome(need_tools=True)
        item = await session.expect_kind("tools_changed")

    assert len(session.hello.tools.tools) == 0
    assert [tool.name for tool in item.tools_changed.tools] == ["echo", "small"]


async def test_stopping_is_quick_while_the_bridge_is_unreachable() -> None:
    async with device("127.0.0.1:1", rng=MostRandom()) as running:
        await running.until(lambda: bool(running.ends))

        with anyio.fail_after(2):
            end = await running.finish()

    assert end.kind is EndKind.LEFT


async def test_stopping_is_quick_while_the_handshake_hangs() -> None:
    async with mute_server() as (target, _second), device(target) as running:
        with anyio.fail_after(2):
            end = await running.finish()

    assert end.kind is EndKind.LEFT


async def test_a_revoked_device_stops() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        await session.close(pb.CLOSE_REASON_REVOKED, permanent=True)
        end = await running.ended()

    assert (end.kind, end.close_reason) == (EndKind.CLOSED, CloseReason.REVOKED)


async def test_a_device_that_was_revoked_while_it_was_away_stops() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.fail(DeviceRevoked("The device was revoked. Enrol it again."))
        end = await running.ended()

    assert end.kind is EndKind.REVOKED


@pytest.mark.parametrize("by_item", [True, False], ids=["by item", "by status"])
async def test_a_superseded_device_stays_away_for_minutes(*, by_item: bool) -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        if by_item:
            await session.close(pb.CLOSE_REASON_SUPERSEDED)
        else:
            await session.fail(Aborted("A newer session of the same device has taken over."))
        await running.until(lambda: bool(running.ends))

        waiting = running.reports[-1]

    assert not isinstance(waiting, Connected)
    assert waiting.delay >= 300


async def test_the_delay_that_an_overloaded_bridge_asks_for_is_kept() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.fail(ResourceExhausted("Too many sessions.", retry_after=42.0))
        await running.until(lambda: bool(running.ends))

    assert running.ends[0].retry_after == 42.0
    assert [report.delay for report in running.reports if not isinstance(report, Connected)] == [42.0]


async def test_a_refused_credential_is_handed_to_the_identity() -> None:
    identity = FixedIdentity()
    async with bridge_and_device(identity=identity) as (bridge, running):
        session = await bridge.next_session()
        await session.end(grpc.StatusCode.UNAUTHENTICATED, "unknown")
        await bridge.next_session()
        await running.until(lambda: bool(running.ends))

    assert [end.kind for end in identity.refusals] == [EndKind.REFUSED]


async def test_sessions_and_tasks_do_not_pile_up() -> None:
    async with bridge_and_device() as (bridge, running):
        await _one_session(bridge, running)
        before = len(asyncio.all_tasks())
        for _ in range(10):
            await _one_session(bridge, running)

        assert len(asyncio.all_tasks()) <= before + 2


async def _one_session(bridge: FakeBridge, running: Device) -> None:
    session = await bridge.next_session()
    await session.welcome()
    await session.call("k", "echo")
    await session.expect_done("k")
    await session.acknowledge("k")
    ends = len(running.ends)
    await session.end(grpc.StatusCode.UNAVAILABLE)
    await running.until(lambda: len(running.ends) > ends)
