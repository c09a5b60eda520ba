"""Waiting for what happens elsewhere, with a deadline instead of a guess."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import grpc.aio
import pytest

from adiuva_rpc.status import RpcFailure, from_rpc_error

PATIENCE = 10.0


async def until(condition: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Wait until something in this process makes `condition` true."""
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what changes has no event to wait for
            await asyncio.sleep(0.005)


async def until_seen(condition: Callable[[], Awaitable[bool]], *, within: float = PATIENCE) -> None:
    """Wait until something in another process or in the database makes `condition` true."""
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)


async def failure_of(call: Awaitable[object]) -> RpcFailure:
    """Return how a call failed; that it fails is part of the test."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)
