"""Answers that are passed on while they are read."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing
from datetime import timedelta

import pytest
from aiohttp import web

from connectors.errors import NeedsReauth, ProviderUnavailable, Throttled
from connectors.providers.http import Answer, Bounds, Wait
from connectors.providers.quotas import Quota, Rate
from tests.connectors.providers.support import (
    NOON,
    SECOND_TOKEN,
    TOKEN,
    ManualClock,
    client,
    raw,
    resets,
    says,
    serving,
    session,
)

pytestmark = pytest.mark.timeout(20)

BODY = bytes(range(256)) * 1024


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_body_comes_in_pieces(clock: ManualClock) -> None:
    answer = raw(gzip.compress(BODY * 16), headers={"Content-Encoding": "gzip"})
    async with serving(answer) as server, client(server.base_url, clock) as http:
        pieces = [piece async for piece in http.stream(session(clock), "/file")]

    assert b"".join(pieces) == BODY * 16
    assert max(map(len, pieces)) <= 2**20


async def test_an_empty_body_has_no_pieces(clock: ManualClock) -> None:
    async with serving(raw(b"")) as server, client(server.base_url, clock) as http:
        assert [piece async for piece in http.stream(session(clock), "/file")] == []


async def test_until_it_begins_a_stream_is_tried_again(clock: ManualClock) -> None:
    answers = [says(status=503, headers={"Retry-After": "7"}), says(status=401), resets(), raw(BODY)]
    async with serving(*answers) as server, client(server.base_url, clock) as http:
        pieces = [piece async for piece in http.stream(session(clock), "/file")]

    assert b"".join(pieces) == BODY
    assert server.tokens == [TOKEN, TOKEN, SECOND_TOKEN, SECOND_TOKEN]
    assert clock.now() == NOON + timedelta(seconds=7)


async def test_a_stream_that_breaks_off_is_not_begun_again(clock: ManualClock) -> None:
    got = bytearray()
    async with serving(resets(BODY)) as server, client(server.base_url, clock) as http:
        with pytest.raises(ProviderUnavailable) as caught:
            async for piece in http.stream(session(clock), "/file"):
                got += piece

    assert (server.count, caught.value.metadata) == (1, {"cause": "UNREACHABLE"})
    assert BODY.startswith(got)


class Huge(Exception):
    """What a test's provider makes of a body that is too large."""


def too_large(answer: Answer) -> Exception | Wait | None:
    return Huge() if answer.too_large else None


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_stream_ends_when_it_is_too_large(clock: ManualClock, encoding: str) -> None:
    body = gzip.compress(BODY) if encoding == "gzip" else BODY
    got = bytearray()
    answer = raw(body, headers={"Content-Encoding": encoding})
    async with serving(answer) as server, client(server.base_url, clock) as http:
        with pytest.raises(Huge):
            async for piece in http.stream(session(clock), "/file", largest=100_000, problem=too_large):
                got += piece
        with pytest.raises(ProviderUnavailable) as caught:
            async for piece in http.stream(session(clock), "/file", largest=100_000):
                got += piece

    assert caught.value.metadata == {"cause": "TOO_LARGE"}
    assert len(got) <= 200_000


async def test_an_answer_that_is_no_success_is_judged_as_any_other(clock: ManualClock) -> None:
    async with serving(says(status=404)) as server, client(server.base_url, clock) as http:
        with pytest.raises(ProviderUnavailable):
            await anext(http.stream(session(clock), "/file"))
    async with serving(says(status=401)) as server, client(server.base_url, clock) as http:
        with pytest.raises(NeedsReauth):
            await anext(http.stream(session(clock), "/file"))
    throttle = says(status=429, headers={"Retry-After": "9999"})
    async with serving(throttle) as server, client(server.base_url, clock) as http:
        with pytest.raises(Throttled):
            await anext(http.stream(session(clock), "/file"))


async def test_a_stream_that_drips_is_ended(clock: ManualClock) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.001)

    bounds = Bounds(stream_total=timedelta(milliseconds=100))
    async with serving(drip) as server, client(server.base_url, clock, bounds=bounds) as http:
        with pytest.raises(ProviderUnavailable) as caught:
            async for _ in http.stream(session(clock), "/file"):
                pass

    assert caught.value.metadata == {"cause": "TIMEOUT"}


async def test_a_stream_that_is_left_gives_its_place_and_connection_back(clock: ManualClock) -> None:
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=1, per_connection=[Rate.per_minute(10)])
    async with serving(raw(BODY * 64)) as server, client(server.base_url, clock, quota=limits) as http:
        async with aclosing(http.stream(session(clock), "/file")) as pieces:
            assert await anext(pieces)

        assert len(b"".join([piece async for piece in http.stream(session(clock), "/file")])) == len(BODY) * 64
        assert http._wire._transport._pool._requests == []


async def test_a_stream_holds_its_place_while_it_is_read(clock: ManualClock) -> None:
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=1)
    async with serving(raw(BODY * 64), says()) as server, client(server.base_url, clock, quota=limits) as http:
        async with asyncio.TaskGroup() as tasks, aclosing(http.stream(session(clock), "/file")) as pieces:
            await anext(pieces)
            other = tasks.create_task(http.get_json(session(clock), "/me"))
            for _ in range(10):
                await asyncio.sleep(0)
            assert server.count == 1

        assert other.result() == {"ok": True}
