"""How a user consents at the command line: in a browser, elsewhere with a pasted address, or with a code."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import Enum

import grpc
import grpc.aio
import typer
from rich.markup import escape

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb, connection_service_pb2_grpc as pb_grpc
from adiuva_rpc.status import from_rpc_error
from connectors.cli.callback import callback
from connectors.cli.output import err, fail, printable

PASTED_URI = "http://localhost:8765/callback"
"""Where the browser ends when nobody listens: its address is what the user pastes. Any port of loopback is allowed."""
MIN_INTERVAL_SECONDS = 1.0
_TOO_LATE = "Nobody consented in time. Start again."
_PASSING = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})
"""What says nothing about the consent: the code is still good, and is polled again."""

Begin = Callable[["pb.AuthorizationFlow.ValueType", str], Awaitable[pb.Authorization]]
"""Starts a flow, given how the user consents and where the browser comes back to."""


class Way(Enum):
    """How the user consents."""

    BROWSER = "browser"
    PASTE = "paste"
    DEVICE_CODE = "device-code"


async def consent(
    channel: grpc.aio.Channel, begin: Begin, way: Way, *, open_browser: bool
) -> connection_pb2.Connection:
    """Lead the user through a consent and return the connection.

    Raises:
        grpc.aio.AioRpcError: the service refused.
        typer.Exit: nobody consented in time.
    """
    stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)
    if way is Way.DEVICE_CODE:
        return await _by_code(stub, await begin(pb.AUTHORIZATION_FLOW_DEVICE_CODE, ""))
    if way is Way.PASTE:
        started = await begin(pb.AUTHORIZATION_FLOW_REDIRECT, PASTED_URI)
        err.print("Open this address on any machine and consent:\n")
        err.print(escape(started.authorization_url), soft_wrap=True)
        err.print(
            "\nThe browser then ends at an address that does not load. Copy all of that address and paste it here."
        )
        try:
            async with asyncio.timeout(_left(started)):
                answer = await _pasted()
        except TimeoutError:
            fail("CONSENT_TIMEOUT", _TOO_LATE)
        return await _complete(stub, answer)
    async with callback() as listener:
        started = await begin(pb.AUTHORIZATION_FLOW_REDIRECT, listener.redirect_uri)
        err.print("Consent in the browser. If it does not open, open this address on this machine:\n")
        err.print(escape(started.authorization_url), soft_wrap=True)
        if open_browser:
            await asyncio.to_thread(webbrowser.open, started.authorization_url)
        err.print("\n[dim]waiting for the browser …[/]")
        try:
            async with asyncio.timeout(_left(started)):
                answer = await listener.answer
        except TimeoutError:
            fail("CONSENT_TIMEOUT", _TOO_LATE)
        return await _complete(stub, answer)


async def _complete(stub: pb_grpc.ConnectionServiceAsyncStub, answer: str) -> connection_pb2.Connection:
    done = await stub.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=answer), timeout=90.0)
    return done.connection


async def _by_code(stub: pb_grpc.ConnectionServiceAsyncStub, started: pb.Authorization) -> connection_pb2.Connection:
    err.print(f"Open [bold]{escape(printable(started.verification_uri))}[/] on any device and type in")
    err.print(f"\n    [bold]{escape(printable(started.user_code))}[/]\n")
    err.print("[dim]waiting …[/]")
    pause = started.poll_interval.ToTimedelta().total_seconds()
    interval = max(pause, MIN_INTERVAL_SECONDS)
    try:
        async with asyncio.timeout(_left(started)):
            while True:
                await asyncio.sleep(pause)
                try:
                    answer = await stub.PollDeviceAuthorization(
                        pb.PollDeviceAuthorizationRequest(flow_id=started.flow_id), timeout=60.0
                    )
                except grpc.aio.AioRpcError as error:
                    failure = from_rpc_error(error)
                    if failure.code not in _PASSING:
                        raise
                    pause = failure.retry_after or interval
                    continue
                if answer.HasField("connection"):
                    return answer.connection
                pause = answer.retry_after.ToTimedelta().total_seconds()
    except TimeoutError:
        fail("CONSENT_TIMEOUT", _TOO_LATE)


def _left(started: pb.Authorization) -> float:
    return max(1.0, (started.expires_at.ToDatetime(UTC) - datetime.now(UTC)).total_seconds())


async def _pasted() -> str:
    err.print("address: ", end="")
    await _typed_in()
    line = sys.stdin.readline().strip()
    if not line:
        raise typer.Exit(1)
    return line


async def _typed_in() -> None:
    """Wait until there is a line to be read: reading it in a thread would keep Ctrl-C from ending the command."""
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(sys.stdin, there.set)
    except (OSError, ValueError):
        # A file: reading it never waits.
        return
    try:
        await there.wait()
    finally:
        loop.remove_reader(sys.stdin)
