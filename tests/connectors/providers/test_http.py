"""How an API is called: with a token, again when that makes sense, never early, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from connectors.errors import NeedsReauth, ProviderUnavailable, Throttled
from connectors.providers.http import Answer, Bounds, Cost, ProviderHttp, Wait
from connectors.providers.port import Session
from connectors.providers.quotas import Quota, Rate
from tests.connectors.providers.support import (
    NOON,
    SECOND_TOKEN,
    TOKEN,
    FakeTokens,
    Handler,
    ManualClock,
    MostJitter,
    client,
    holds,
    raw,
    resets,
    says,
    serving,
    session,
)

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def throttle(header: str | None = None, *, status: int = 429, body: object = None) -> Handler:
    return says(body or {"error": {}}, status=status, headers={} if header is None else {"Retry-After": header})


async def test_an_answer_is_asked_for_with_the_token_the_query_and_the_headers(clock: ManualClock) -> None:
    async with serving(says({"id": "m-1"})) as server, client(f"{server.base_url}/v1.0", clock) as http:
        asking = session(clock)
        answer = await http.get_json(
            asking, "/me/messages", params={"$top": "5"}, headers={"Prefer": "text"}, cost=Cost(units=3)
        )

    assert answer == {"id": "m-1"}
    (request,) = server.requests
    assert (request.path, dict(request.query)) == ("/v1.0/me/messages", {"$top": "5"})
    assert (request.headers["Authorization"], request.headers["Prefer"]) == (f"Bearer {TOKEN}", "text")
    assert asking.calls == 1


async def test_a_link_of_the_provider_is_followed_as_it_came(clock: ManualClock) -> None:
    async with serving(says()) as server, client(f"{server.base_url}/v1.0", clock) as http:
        await http.get_json(session(clock), f"{server.base_url}/v1.0/me?$skiptoken=a%2Fb%3D%3D&$top=2")

    assert server.requests[0].path_qs == "/v1.0/me?$skiptoken=a%2Fb%3D%3D&$top=2"


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/v1.0/me",
        "http://127.0.0.1:1/v1.0/me",
        "{base}/beta/me",
        "{base}/v1.0/../beta/me",
        "{base}@evil.example/v1.0/me",
        "//evil.example/v1.0/me",
    ],
)
async def test_a_link_that_leads_elsewhere_is_not_followed_and_costs_nothing(clock: ManualClock, link: str) -> None:
    async with serving(says()) as server, client(f"{server.base_url}/v1.0", clock) as http:
        asking = session(clock)
        with pytest.raises(ProviderUnavailable) as caught:
            await http.get_json(asking, link.format(base=server.base_url))

    assert caught.value.metadata == {"cause": "FOREIGN_LINK"}
    assert (server.count, asking.calls) == (0, 0)


async def test_a_redirect_takes_the_token_nowhere(clock: ManualClock) -> None:
    async with serving(says({"secret": True})) as other:
        moved = raw(b"", status=302, headers={"Location": f"{other.base_url}/v1.0/me"})
        async with serving(moved) as server, client(server.base_url, clock) as http:
            with pytest.raises(ProviderUnavailable) as caught:
                await http.get_json(session(clock), "/me")

    assert caught.value.metadata == {"cause": "HTTP_302"}
    assert (server.count, other.count) == (1, 0)


async def test_a_token_that_is_refused_once_is_replaced(clock: ManualClock) -> None:
    tokens = FakeTokens()
    async with serving(says(status=401), says()) as server, client(server.base_url, clock) as http:
        asking = session(clock, tokens=tokens)
        await http.get_json(asking, "/me")

    assert server.tokens == [TOKEN, SECOND_TOKEN]
    assert (tokens.replaced, asking.calls) == ([TOKEN], 2)


async def test_a_second_token_that_is_refused_ends_it(clock: ManualClock) -> None:
    tokens = FakeTokens(tokens=[TOKEN, SECOND_TOKEN, "a-third"])
    async with serving(says(status=401)) as server, client(server.base_url, clock) as http:
        with pytest.raises(NeedsReauth):
            await http.get_json(session(clock, tokens=tokens), "/me")

    assert server.tokens == [TOKEN, SECOND_TOKEN]
    assert tokens.replaced == [TOKEN]


async def test_a_second_refusal_ends_it_also_when_something_else_was_in_between(clock: ManualClock) -> None:
    answers = [says(status=401), says(status=503), says(status=401)]
    async with serving(*answers) as server, client(server.base_url, clock) as http:
        with pytest.raises(NeedsReauth):
            await http.get_json(session(clock), "/me")

    assert server.count == 3


async def test_a_grant_without_another_token_ends_it(clock: ManualClock) -> None:
    async with serving(says(status=401)) as server, client(server.base_url, clock) as http:
        with pytest.raises(NeedsReauth):
            await http.get_json(session(clock, tokens=FakeTokens(tokens=[TOKEN])), "/me")

    assert server.count == 1


@pytest.mark.parametrize("failing", [says(status=500), says(status=503), says(status=408), resets(), resets(b'{"a')])
async def test_what_may_pass_is_tried_again(clock: ManualClock, failing: Handler) -> None:
    async with (
        serving(failing, failing, says()) as server,
        client(server.base_url, clock, rng=MostJitter()) as http,
    ):
        asking = session(clock)
        assert await http.get_json(asking, "/me") == {"ok": True}

    assert (server.count, asking.calls) == (3, 3)
    assert clock.slept == [1, 2]


@pytest.mark.parametrize(
    ("failing", "cause"), [(says(status=502), "HTTP_502"), (resets(), "UNREACHABLE"), (resets(b"{"), "UNREACHABLE")]
)
async def test_five_tries_are_enough(clock: ManualClock, failing: Handler, cause: str) -> None:
    async with serving(failing) as server, client(server.base_url, clock, rng=MostJitter()) as http:
        with pytest.raises(ProviderUnavailable) as caught:
            await http.get_json(session(clock), "/me")

    assert (server.count, caught.value.metadata) == (5, {"cause": cause})
    assert clock.slept == [1, 2, 4, 8]


async def test_a_time_that_is_over_is_tried_again(clock: ManualClock) -> None:
    never = asyncio.Event()
    bounds = Bounds(total=timedelta(milliseconds=250))
    async with (
        serving(holds(never), says()) as server,
        client(server.base_url, clock, bounds=bounds) as http,
    ):
        assert await http.get_json(session(clock), "/me") == {"ok": True}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (says(status=400), "HTTP_400"),
        (says(status=404), "HTTP_404"),
        (says([1, 2]), "NOT_JSON"),
        (raw(b"<html>"), "NOT_JSON"),
        (raw(b"[" * 4000), "NOT_JSON"),
        (raw(b"{}", headers={"Content-Encoding": "br"}), "REFUSED"),
        (raw(b'"' + b"x" * 10_000), "TOO_LARGE"),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(clock: ManualClock, answer: Handler, cause: str) -> None:
    async with serving(answer) as server, client(server.base_url, clock, bounds=Bounds(body_bytes=5000)) as http:
        with pytest.raises(ProviderUnavailable) as caught:
            await http.get_json(session(clock), "/me")

    assert (server.count, caught.value.metadata) == (1, {"cause": cause})
    assert caught.value.__context__ is None


class Gone(Exception):
    """What a test's provider makes of an answer."""


async def test_the_provider_says_what_an_answer_means(clock: ManualClock) -> None:
    seen: list[Answer] = []

    def problem(answer: Answer) -> Exception | Wait | None:
        seen.append(answer)
        return Gone() if answer.status == 410 else None

    answers = [says(status=500), says({"why": "gone"}, status=410)]
    async with serving(*answers) as server, client(server.base_url, clock) as http:
        with pytest.raises(Gone):
            await http.get_json(session(clock), "/me", problem=problem)

    assert [answer.status for answer in seen] == [500, 410]
    assert seen[1].json() == {"why": "gone"}


async def test_the_provider_says_what_a_body_that_is_too_large_means(clock: ManualClock) -> None:
    def problem(answer: Answer) -> Exception | Wait | None:
        return Gone() if answer.too_large else None

    small = Bounds(body_bytes=5000)
    async with serving(raw(bytes(10_000))) as server, client(server.base_url, clock, bounds=small) as http:
        with pytest.raises(Gone):
            await http.get_json(session(clock), "/me", problem=problem)


async def test_the_provider_says_that_an_answer_is_a_throttle(clock: ManualClock) -> None:
    def problem(answer: Answer) -> Exception | Wait | None:
        return Wait(timedelta(seconds=9)) if answer.status == 403 else None

    async with serving(says(status=403), says()) as server, client(server.base_url, clock) as http:
        await http.get_json(session(clock), "/me", problem=problem)

    assert clock.now() == NOON + timedelta(seconds=9)


class Throttling:
    """Refuses for a while, and asserts that nobody comes before the time that it names."""

    def __init__(self, clock: ManualClock, says_when: Callable[[datetime, float], Handler], *, refusals: int) -> None:
        self._clock = clock
        self._says_when = says_when
        self._refusals = refusals
        self._until = clock.now()
        self.early = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        now = self._clock.now()
        if now < self._until:
            # Whoever comes early makes it longer.
            self.early += 1
            self._until = now + timedelta(seconds=60)
            return await throttle("60")(request)
        if self._refusals == 0:
            return await says()(request)
        self._refusals -= 1
        self._until = now + timedelta(seconds=30)
        return await self._says_when(self._until, 30)(request)


WAYS = {
    "seconds": lambda _until, seconds: throttle(str(int(seconds))),
    "a 503": lambda _until, seconds: throttle(str(int(seconds)), status=503),
    "a date": lambda until, _seconds: throttle(format_datetime(until, usegmt=True)),
    "the text": lambda until, _seconds: throttle(
        body={"error": {"message": f"Retry after {until.isoformat().replace('+00:00', 'Z')}"}}
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_call_comes_before_the_time_that_was_asked_for(clock: ManualClock, way: str) -> None:
    throttling = Throttling(clock, WAYS[way], refusals=3)
    told: list[datetime] = []
    async with serving(throttling) as server, client(server.base_url, clock) as http:
        asking = session(clock)
        asking.on_wait = told.append
        await http.get_json(asking, "/me")

    assert (throttling.early, server.count) == (0, 4)
    assert told == [NOON + timedelta(seconds=seconds) for seconds in (30, 60, 90)]


async def test_all_callers_of_a_connection_wait_when_one_of_them_is_told_to(clock: ManualClock) -> None:
    throttling = Throttling(clock, WAYS["seconds"], refusals=1)
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=1)
    async with (
        serving(throttling) as server,
        client(server.base_url, clock, quota=limits) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(10):
            tasks.create_task(http.get_json(session(clock), "/me"))

    assert (throttling.early, server.count) == (0, 11)


async def test_other_connections_need_not_wait(clock: ManualClock) -> None:
    async with serving(throttle("1800"), says()) as server, client(server.base_url, clock) as http:
        with pytest.raises(Throttled):
            await http.get_json(session(clock, seconds=60), "/me")
        await http.get_json(session(clock, connection_id="c-2", seconds=60), "/me")

    assert (server.count, clock.now()) == (2, NOON)


@pytest.mark.parametrize("header", [None, "1", "0", "-1", "soon"])
async def test_a_throttle_that_says_nothing_of_use_is_waited_out_with_growing_waits(
    clock: ManualClock, header: str | None
) -> None:
    async with (
        serving(throttle(header)) as server,
        client(server.base_url, clock, rng=MostJitter()) as http,
    ):
        with pytest.raises(Throttled) as caught:
            await http.get_json(session(clock), "/me")

    assert server.count == 5
    assert clock.slept == [1, 2, 4, 8]
    assert caught.value.retry_after == 16


async def test_a_wait_beyond_the_deadline_is_a_throttle_at_once(clock: ManualClock) -> None:
    told: list[datetime] = []
    async with serving(throttle("61"), says()) as server, client(server.base_url, clock) as http:
        asking = session(clock, seconds=60)
        asking.on_wait = told.append
        with pytest.raises(Throttled) as caught:
            await http.get_json(asking, "/me")
        # And whoever comes next is told the same without asking the provider.
        clock.advance(10)
        with pytest.raises(Throttled) as again:
            await http.get_json(session(clock, seconds=20), "/me")

    assert (caught.value.retry_after, again.value.retry_after) == (61, 51)
    assert (clock.slept, told, server.count) == ([], [], 1)


async def test_an_absurd_wish_is_a_throttle_of_a_day(clock: ManualClock) -> None:
    async with serving(throttle("999999999999")) as server, client(server.base_url, clock) as http:
        with pytest.raises(Throttled) as caught:
            await http.get_json(session(clock), "/me")

    assert caught.value.retry_after == 24 * 3600


async def test_every_try_takes_its_units(clock: ManualClock) -> None:
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=5, per_connection=[Rate.per_minute(40)])
    async with (
        serving(says(status=500), says()) as server,
        client(server.base_url, clock, quota=limits) as http,
    ):
        await http.get_json(session(clock), "/me", cost=Cost(units=20))
        assert clock.now() == NOON
        await http.get_json(session(clock), "/me", cost=Cost(units=20))

    assert clock.now() == NOON + Rate.per_minute(1).lasts


async def get(http: ProviderHttp, asking: Session) -> None:
    await http.get_json(asking, "/me")


async def test_a_request_that_is_cancelled_gives_its_place_back(clock: ManualClock) -> None:
    never, arrived = asyncio.Event(), asyncio.Event()
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=1, per_connection=[Rate.per_minute(2)])
    async with (
        serving(holds(never, arrived), says()) as server,
        client(server.base_url, clock, quota=limits) as http,
    ):
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(get(http, session(clock))) for _ in range(3)]
            await arrived.wait()
            for task in running:
                task.cancel()
        await get(http, session(clock))
        assert clock.now() == NOON
        await get(http, session(clock))

    assert server.count == 3
    assert clock.now() == NOON + Rate.per_minute(1).lasts


async def test_fifty_connections_at_once_are_all_served(clock: ManualClock) -> None:
    limits = Quota(now=clock.now, sleep=clock.sleep, concurrency=4, per_connection=[Rate.per_minute(10)], kept=10)
    async with serving(says()) as server, client(server.base_url, clock, quota=limits) as http:
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(get(http, session(clock, connection_id=f"c-{number % 50}")))
        clock.advance(120)
        for number in range(60):
            await get(http, session(clock, connection_id=f"d-{number}"))
            clock.advance(120)

    assert server.count == 260
    assert len(limits._connections) <= 10
