"""The connectors, with providers that take 100 ms to answer: how fast they read, and what they leave the providers.

The floor of a fetch is a plain client on one connection that gets one message after another from the same provider. It
reads a hundred of them: the more there are, the longer it takes, at the same speed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2

from adiuva.connectors.v1 import connection_pb2, message_service_pb2 as pb
from tests.benchmarks.bench import Bench, Scale
from tests.benchmarks.figures import Figure, at_most, ratio_at_least
from tests.benchmarks.nothing_new import Watched, nothing_new
from tests.benchmarks.processes import process
from tests.emulator.client import ControlClient, control_client
from tests.emulator.mails import Mail, compose
from tests.emulator.oauth import RefreshMode
from tests.system.connectors_service import Client, Replica, installation, replicas

GMAIL = "mia@example.com"
OUTLOOK = "mia@contoso.example"
WATCHED_GMAIL = "noa@example.com"
WATCHED_MICROSOFT = "noa@contoso.example"
LATE = "late@example.com"
"""Whose access token has expired."""

UNITS_PER_MINUTE = 60_000
"""Of Gmail, at the provider as in the settings: those of a new project would last for 300 messages a minute."""
GMAIL_AT_ONCE = 20
OUTLOOK_AT_ONCE = 4
WATCHED_BY = {"gmail": WATCHED_GMAIL, "outlook": WATCHED_MICROSOFT, "teams": WATCHED_MICROSOFT}
CALLERS = 50
WATCHED = 4
"""Mails, and chats, of the accounts that agents watch."""
FETCH_SECONDS = 100.0


@dataclass(frozen=True, slots=True)
class _Sizes:
    messages: int
    answer_ms: int
    one_by_one: int
    """Messages that the floor reads."""


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(1_000, 100, 100),
    Scale.QUICK: _Sizes(400, 100, 40),
    Scale.TINY: _Sizes(12, 2, 4),
}


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure fetches of two mailboxes, runs without anything new, and callers whose token has expired."""
    sizes = _SIZES[bench.scale]
    settings = {"ADIUVA_GMAIL_UNITS_PER_MINUTE": str(UNITS_PER_MINUTE)}
    async with _emulator(bench) as (emulator, base_url):
        shared = installation(bench.directory / "connectors", bench.new_database(), base_url)
        one, other = (Replica(shared, name, settings) for name in ("one", "other"))
        async with replicas(one, other), one.client() as first, other.client() as second:
            await _fill(emulator, sizes)
            figures = [
                *await _gmail(bench, emulator, base_url, first, sizes),
                *await _outlook(bench, emulator, base_url, first, sizes),
                *await _once_more(bench, emulator, one),
                *await _refreshed(bench, emulator, first, second),
            ]
    return figures


@asynccontextmanager
async def _emulator(bench: Bench) -> AsyncIterator[tuple[ControlClient, str]]:
    bench.say("messages: starting the providers and two replicas")
    async with process("tests.emulator", log=bench.directory / "emulator.log") as ready:
        base_url = f"http://127.0.0.1:{ready['port']}"
        async with control_client(base_url) as emulator:
            yield emulator, base_url
            crashes = (await emulator.counters())["crashes"]
            if crashes:
                raise RuntimeError(f"the emulator made a mistake:\n{crashes[0]}")


async def _fill(emulator: ControlClient, sizes: _Sizes) -> None:
    """Fill mailboxes and chats, and let every answer take its time."""
    await emulator.google.add_account(GMAIL)
    await emulator.google.set_quota(units_per_minute=UNITS_PER_MINUTE, most_at_once=GMAIL_AT_ONCE)
    await emulator.google.deliver(GMAIL, *_mails(sizes.messages))
    await emulator.microsoft.add_account(OUTLOOK)
    await emulator.microsoft.switch_graph(requests_at_once=OUTLOOK_AT_ONCE)
    await emulator.microsoft.deliver(OUTLOOK, *_mails(sizes.messages))
    await emulator.google.add_account(WATCHED_GMAIL)
    await emulator.google.deliver(WATCHED_GMAIL, *_mails(WATCHED))
    await emulator.microsoft.add_account(WATCHED_MICROSOFT)
    await emulator.microsoft.deliver(WATCHED_MICROSOFT, *_mails(WATCHED))
    for number in range(WATCHED):
        chat = await emulator.microsoft.add_chat(OUTLOOK, WATCHED_MICROSOFT, topic=f"Chat {number}")
        for hour in (2, 1):
            at = datetime.now(UTC) - timedelta(hours=hour, minutes=number)
            await emulator.microsoft.say(chat, OUTLOOK, f"Please send me report {number}.", at=at)
    await emulator.set_latency("^/(gmail|v1.0)/", sizes.answer_ms)


def _mails(count: int) -> list[Mail]:
    now, week = datetime.now(UTC), timedelta(days=6)
    return [
        Mail(
            raw=compose(
                subject=f"Report {number}",
                text=f"Hello Mia,\n\nplease send report {number} by Friday.\n\n" + "It is about the budget.\n" * 20,
                html=f"<p>Hello Mia,</p><p>please send report {number} by Friday.</p>" + "<p>The budget.</p>" * 20,
                message_id=f"<{number}@example.com>",
            ),
            received_at=now - week * (count - number) / count,
        )
        for number in range(count)
    ]


async def _gmail(bench: Bench, emulator: ControlClient, base_url: str, client: Client, sizes: _Sizes) -> list[Figure]:
    bench.say(f"messages: {sizes.messages} of Gmail")
    connection = await client.link("gmail", GMAIL)
    await emulator.reset_counters()
    rate = await _fetched(client, connection, sizes.messages)
    refused, at_once = await emulator.google.set_quota(), await _most(emulator, f"google:{GMAIL}")
    token, _ = await emulator.google.link(GMAIL)
    ids = [str(one["message_id"]) for one in await emulator.google.messages(GMAIL)]
    floor = await _one_by_one(f"{base_url}/gmail/v1/users/me/messages", token, ids[: sizes.one_by_one])
    return [
        _rate("Gmail", sizes, rate, floor, f"a client that gets one after another, {sizes.one_by_one} of them"),
        Figure(what="requests that Gmail refused for its quota", value=refused, unit="", target=at_most(0)),
        Figure(what="requests at once, at the most", value=at_once, unit="", target=at_most(GMAIL_AT_ONCE)),
    ]


async def _outlook(bench: Bench, emulator: ControlClient, base_url: str, client: Client, sizes: _Sizes) -> list[Figure]:
    bench.say(f"messages: {sizes.messages} of Outlook")
    connection = await client.link("outlook", OUTLOOK)
    await emulator.reset_counters()
    rate = await _fetched(client, connection, sizes.messages)
    refused, at_once = len(await emulator.calls(status=429)), await _most(emulator, f"microsoft:{OUTLOOK}")
    token, _ = await emulator.microsoft.link(OUTLOOK)
    ids = [str(one["message_id"]) for one in await emulator.microsoft.messages(OUTLOOK)]
    floor = await _one_by_one(f"{base_url}/v1.0/me/messages", token, ids[: sizes.one_by_one])
    floor_is = f"likewise, {sizes.one_by_one} of them; the connectors get 50 with a page of the list"
    return [
        _rate("Outlook", sizes, rate, floor, floor_is),
        Figure(what="requests that Outlook refused for its quota", value=refused, unit="", target=at_most(0)),
        Figure(what="requests at once, at the most", value=at_once, unit="", target=at_most(OUTLOOK_AT_ONCE)),
    ]


def _rate(provider: str, sizes: _Sizes, rate: float, floor: float, floor_is: str) -> Figure:
    return Figure(
        what=f"{sizes.messages} messages of {provider}, which answers in {sizes.answer_ms} ms",
        value=rate,
        unit="messages/s",
        floor=floor,
        floor_is=floor_is,
        target=ratio_at_least(10),
    )


async def _most(emulator: ControlClient, key: str) -> int:
    return int((await emulator.counters())["most_in_flight"].get(key, 0))


async def _fetched(client: Client, connection: connection_pb2.Connection, count: int) -> float:
    """Fetch and commit, as a run does; return how many messages came in a second."""
    request = pb.FetchMessagesRequest(
        connection_id=connection.connection_id, subscriber="benchmark", max_messages=count
    )
    came, token = 0, ""
    began = time.perf_counter()
    async for event in client.messages.FetchMessages(request, timeout=FETCH_SECONDS):
        came += event.HasField("message")
        token = event.completed.cursor_token
    await client.messages.CommitCursor(
        pb.CommitCursorRequest(connection_id=connection.connection_id, cursor_token=token)
    )
    seconds = time.perf_counter() - began
    if came != count:
        raise RuntimeError(f"{came} messages came, instead of {count}")
    return count / seconds


async def _one_by_one(messages_url: str, token: str, ids: Sequence[str]) -> float:
    """Get one message after another; return how many in a second."""
    headers = {"Authorization": f"Bearer {token}", "Prefer": 'IdType="ImmutableId"'}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        began = time.perf_counter()
        for message_id in ids:
            (await http.get(f"{messages_url}/{message_id}")).raise_for_status()
        return len(ids) / (time.perf_counter() - began)


async def _once_more(bench: Bench, emulator: ControlClient, replica: Replica) -> list[Figure]:
    """Run an agent over an account twice, with nothing new the second time."""
    figures = []
    for provider, account in WATCHED_BY.items():
        bench.say(f"messages: runs over {provider}, the second without anything new")
        found = await nothing_new(bench, emulator, replica, Watched(provider, account))
        figures += [
            Figure(
                what=f"nothing new in {provider}: provider calls of a run",
                value=found.provider_calls,
                unit="",
                target=at_most(3),
            ),
            Figure(what="its model calls", value=found.model_calls, unit="", target=at_most(0)),
        ]
    return figures


async def _refreshed(bench: Bench, emulator: ControlClient, first: Client, second: Client) -> list[Figure]:
    """Let callers of two replicas use a connection at once whose access token has expired."""
    bench.say(f"messages: {CALLERS} callers with an expired token")
    await emulator.google.add_account(LATE)
    # Each replica keeps to the number for itself, and here two of them work for one account.
    await emulator.google.set_quota(most_at_once=2 * GMAIL_AT_ONCE)
    await emulator.google.set_tokens(mode=RefreshMode.STRICT, access_lifetime_seconds=30)
    connection_id = (await first.link("gmail", LATE)).connection_id
    await emulator.google.set_tokens(access_lifetime_seconds=3600)
    await emulator.reset_counters()
    began = time.perf_counter()
    await asyncio.gather(*((first, second)[number % 2].test(connection_id) for number in range(CALLERS)))
    seconds = time.perf_counter() - began
    asked = len(await emulator.calls("^/token$", method="POST"))
    if not asked:
        raise RuntimeError("the token had not expired")
    what = f"refreshes at the provider for {CALLERS} callers of 2 replicas with an expired token"
    return [
        Figure(what=what, value=asked, unit="", target=at_most(1)),
        Figure(what="until the last of them was served", value=seconds, unit="s"),
    ]
