"""How an authorization server is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from aiohttp import web

from connectors.errors import ProviderUnavailable, Throttled
from connectors.providers.identity_http import IdentityHttp, Send
from connectors.providers.network import BaseUrl
from connectors.providers.wire import Answer, Bounds
from tests.connectors.providers.support import (
    NOON,
    Handler,
    LeastJitter,
    ManualClock,
    MostJitter,
    Server,
    holds,
    raw,
    resets,
    says,
    serving,
)

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def login(
    clock: ManualClock, *answers: Handler, most_jitter: bool = False, bounds: Bounds | None = None
) -> AsyncIterator[tuple[IdentityHttp, Server]]:
    async with serving(*answers) as server:
        bases = (BaseUrl("https://login.example.com", "login.example.com"), BaseUrl(server.base_url, "x.example"))
        rng = MostJitter() if most_jitter else LeastJitter()
        async with IdentityHttp(bases, now=clock.now, sleep=clock.sleep, rng=rng, bounds=bounds) as http:
            yield http, server


async def test_a_form_is_posted(clock: ManualClock) -> None:
    bodies: list[bytes] = []

    async def token(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.read())
        return web.json_response({"access_token": "t"})

    async with login(clock, token) as (http, server):
        form = {"code": "4/a b&c", "state": "ü"}
        answer = await http.send("POST", f"{server.base_url}/token", deadline=http.deadline(), form=form)

    assert answer.json() == {"access_token": "t"}
    assert bodies == [b"code=4%2Fa+b%26c&state=%C3%BC"]
    assert server.requests[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404])
async def test_an_answer_that_another_try_would_not_change_is_returned(clock: ManualClock, status: int) -> None:
    async with login(clock, says({"error": "invalid_grant"}, status=status)) as (http, server):
        answer = await http.send("GET", server.base_url, deadline=http.deadline())

    assert (answer.status, server.count) == (status, 1)


@pytest.mark.parametrize(
    "failing",
    [
        says(status=503),
        says(status=429),
        resets(),
        resets(b"{"),
        says({"error": "temporarily_unavailable"}, status=400),
        says({"error": "server_error"}, status=400),
    ],
)
async def test_what_may_pass_is_tried_again(clock: ManualClock, failing: Handler) -> None:
    async with login(clock, failing, failing, says(), most_jitter=True) as (http, server):
        assert (await http.send("GET", server.base_url, deadline=http.deadline())).is_success

    assert (server.count, clock.slept) == (3, [1, 2])


async def test_after_five_tries_there_is_no_answer(clock: ManualClock) -> None:
    async with login(clock, says(status=503), most_jitter=True) as (http, server):
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send("GET", server.base_url, deadline=http.deadline())

    assert (server.count, caught.value.metadata) == (5, {"cause": "HTTP_503"})


async def test_it_is_over_after_thirty_seconds(clock: ManualClock) -> None:
    async with login(clock, says(status=429, headers={"Retry-After": "16"})) as (http, server):
        with pytest.raises(Throttled) as caught:
            await http.send("GET", server.base_url, deadline=http.deadline())

    assert (server.count, caught.value.retry_after) == (2, 16)
    assert clock.now() == NOON + timedelta(seconds=16)


async def test_a_deadline_that_is_over_makes_no_request(clock: ManualClock) -> None:
    async with login(clock, says()) as (http, server):
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send("GET", server.base_url, deadline=NOON)

    assert (server.count, caught.value.metadata) == (0, {"cause": "TIMEOUT"})


@pytest.mark.parametrize("url", ["https://evil.example/token", "http://127.0.0.1:1/token", "//login.example.com"])
async def test_no_request_goes_elsewhere(clock: ManualClock, url: str) -> None:
    async with login(clock, says()) as (http, _):
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send("POST", url, deadline=http.deadline(), form={"client_secret": "s"})

    assert caught.value.metadata == {"cause": "FOREIGN_LINK"}


@pytest.mark.parametrize(
    ("answer", "cause"), [(raw(bytes(2000)), "TOO_LARGE"), (raw(b"", headers={"Content-Encoding": "br"}), "REFUSED")]
)
async def test_an_answer_out_of_bounds_is_none(clock: ManualClock, answer: Handler, cause: str) -> None:
    async with login(clock, answer, bounds=Bounds(body_bytes=1000)) as (http, server):
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send("GET", server.base_url, deadline=http.deadline())

    assert (server.count, caught.value.metadata) == (1, {"cause": cause})


async def test_a_library_in_a_thread_gets_its_answers(clock: ManualClock) -> None:
    async with login(clock, says(status=503), says({"n": 1}), says({"n": 2})) as (http, server):

        def work(send: Send) -> list[Answer]:
            return [send("POST", f"{server.base_url}/{path}", headers={"X-A": path}, content=b"c") for path in "ab"]

        answers = await http.in_thread(work, deadline=http.deadline())

    assert [answer.json() for answer in answers] == [{"n": 1}, {"n": 2}]
    assert [(request.path, request.headers["X-A"]) for request in server.requests] == [
        ("/a", "a"),
        ("/a", "a"),
        ("/b", "b"),
    ]


async def test_an_error_comes_out_of_the_thread_as_it_is(clock: ManualClock) -> None:
    async with login(clock, says(status=429, headers={"Retry-After": "3600"})) as (http, server):

        def work(send: Send) -> Answer:
            return send("GET", server.base_url)

        with pytest.raises(Throttled) as caught:
            await http.in_thread(work, deadline=http.deadline())

    assert caught.value.retry_after == 3600


async def test_more_callers_than_threads_wait_for_their_turn(clock: ManualClock) -> None:
    release = asyncio.Event()
    async with login(clock, holds(release)) as (http, server):

        def work(send: Send) -> Answer:
            return send("GET", server.base_url)

        async def call() -> Answer:
            return await http.in_thread(work, deadline=http.deadline())

        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(call()) for _ in range(20)]
            while server.count < 16:
                await anyio.wait_all_tasks_blocked()
            assert server.count == 16
            release.set()

    assert all(call.result().is_success for call in calls)


async def test_who_finds_no_thread_until_the_deadline_is_told(clock: ManualClock) -> None:
    async with login(clock, says()) as (http, _):
        for _ in range(16):
            await http._places.acquire()

        with pytest.raises(ProviderUnavailable) as caught:
            await http.in_thread(lambda _send: None, deadline=NOON + timedelta(milliseconds=20))

    assert caught.value.metadata == {"cause": "TIMEOUT"}


async def test_a_caller_who_is_cancelled_does_not_wait_for_the_thread(clock: ManualClock) -> None:
    release, arrived = asyncio.Event(), asyncio.Event()
    async with login(clock, holds(release, arrived), says()) as (http, server):

        def work(send: Send) -> Answer:
            return send("GET", server.base_url)

        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(http.in_thread(work, deadline=http.deadline()))
            await arrived.wait()
            waiting.cancel()
        release.set()

        assert (await http.in_thread(work, deadline=http.deadline())).is_success
        assert http._places._value == 16
