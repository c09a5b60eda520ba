"""What neither logs nor errors may tell: tokens, queries, and what a provider writes."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field

import pytest

from connectors.providers.http import Wait
from connectors.providers.identity_http import IdentityHttp
from connectors.providers.network import BaseUrl
from connectors.providers.wire import Answer
from tests.connectors.providers.support import (
    FakeTokens,
    Handler,
    LeastJitter,
    ManualClock,
    client,
    raw,
    resets,
    says,
    serving,
    session,
)

pytestmark = pytest.mark.timeout(20)

CANARY = "canary-4f1d"
DESCRIPTION = f"<script>{CANARY}</script>\x1b[31m red \x1b[0m\r\nSet-Cookie: {CANARY}\n" + CANARY * 100
LEAKY = {"X-Leak": CANARY, "Set-Cookie": f"a={CANARY}", "Location": f"https://x.example/?token={CANARY}"}


@pytest.fixture(autouse=True)
def all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@dataclass(slots=True)
class Seen:
    """Everything that an error could tell somebody."""

    texts: list[str] = field(default_factory=list)

    def add(self, error: BaseException) -> None:
        self.texts.append("".join(traceback.format_exception(error)))
        current: BaseException | None = error
        while current is not None:
            self.texts += [repr(current), str(current), repr(getattr(current, "metadata", ""))]
            current = current.__cause__ or current.__context__


def error(status: int) -> Handler:
    body = {"error": {"code": status, "message": DESCRIPTION}, "error_description": DESCRIPTION}
    return says(body, status=status, headers=LEAKY)


FAILURES = [
    error(400),
    error(401),
    error(403),
    error(404),
    error(429),
    error(503),
    error(302),
    resets(),
    resets(CANARY.encode()),
    raw(CANARY.encode()),
    raw(CANARY.encode(), headers={"Content-Encoding": "gzip"}),
    raw(b"{}", headers={"Content-Encoding": CANARY}),
]


@pytest.mark.parametrize("failing", FAILURES)
async def test_no_failure_of_an_api_tells_a_token_or_what_the_provider_wrote(
    caplog: pytest.LogCaptureFixture, failing: Handler
) -> None:
    clock, seen = ManualClock(), Seen()
    async with serving(failing) as server, client(server.base_url, clock) as http:
        asking = session(clock, tokens=FakeTokens(tokens=[f"{CANARY}-1", f"{CANARY}-2"]))
        for path in ("/messages", f"{server.base_url}/messages?$skiptoken={CANARY}"):
            try:
                await http.get_json(asking, path, params={"q": CANARY} if path == "/messages" else None)
            except Exception as caught:  # noqa: BLE001 - all that there are
                seen.add(caught)

    assert len(seen.texts) >= 2
    assert CANARY not in "".join(seen.texts)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("failing", FAILURES)
async def test_no_failure_of_an_authorization_server_tells_a_secret_or_what_it_wrote(
    caplog: pytest.LogCaptureFixture, failing: Handler
) -> None:
    clock, seen = ManualClock(), Seen()
    async with (
        serving(failing) as server,
        IdentityHttp(
            [BaseUrl(server.base_url, "x.example")], now=clock.now, sleep=clock.sleep, rng=LeastJitter()
        ) as http,
    ):
        for url in (f"{server.base_url}/token?code={CANARY}", f"https://evil.example/{CANARY}"):
            try:
                await http.send(
                    "POST",
                    url,
                    deadline=http.deadline(),
                    form={"refresh_token": CANARY, "client_secret": CANARY},
                    headers={"Authorization": f"Bearer {CANARY}"},
                )
            except Exception as caught:  # noqa: BLE001 - all that there are
                seen.add(caught)

    assert seen.texts
    assert CANARY not in "".join(seen.texts)
    assert CANARY not in caplog.text


async def test_a_success_is_not_logged_either(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with serving(says({"access_token": CANARY}, headers=LEAKY)) as server, client(server.base_url, clock) as http:
        await http.get_json(session(clock, tokens=FakeTokens(tokens=[CANARY])), "/m", params={"q": CANARY})

    assert CANARY not in caplog.text


def test_what_is_passed_around_shows_no_secret_in_its_repr() -> None:
    answer = Answer(status=200, headers={"Set-Cookie": CANARY}, body=CANARY.encode())

    assert CANARY not in repr((answer, Wait()))
