"""How the command line leads a user through a consent, against a service that does as it is told."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import webbrowser
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import grpc.aio
import httpx2
import pytest
import typer

from adiuva.connectors.v1 import connection_service_pb2 as pb
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.status import from_rpc_error
from connectors.cli.linking import PASTED_URI, Way, consent
from connectors.connections.errors import PolledTooEarly
from connectors.errors import ConsentRefused, ProviderUnavailable, StateInvalid, Throttled
from tests.connectors.cli.service import LINKED, FakeConnectionService, expiring, pending, serving

ADDRESS = "https://provider.test/authorize?state=s-1"


@dataclass
class Begun:
    """The flow that a test starts, and what it was asked with."""

    authorization: pb.Authorization
    then: Callable[[str], Awaitable[None]] | None = None
    """What the person does, given where the browser comes back to."""
    asked: list[tuple[int, str]] = field(default_factory=list)

    async def __call__(self, flow: pb.AuthorizationFlow.ValueType, redirect_uri: str) -> pb.Authorization:
        self.asked.append((flow, redirect_uri))
        if self.then is not None:
            await self.then(redirect_uri)
        return self.authorization


def type_name(value: object) -> str:
    return type(value).__name__


def redirecting(within: timedelta = timedelta(minutes=10)) -> pb.Authorization:
    return pb.Authorization(flow_id="f-1", authorization_url=ADDRESS, expires_at=expiring(within))


def with_code(within: timedelta = timedelta(minutes=10)) -> pb.Authorization:
    return pb.Authorization(
        flow_id="f-1",
        user_code="ABC\x1b[2JDEF",
        verification_uri="https://provider.test/[device]",
        expires_at=expiring(within),
    )


async def come_back(redirect_uri: str) -> None:
    """Do what a browser does after a consent, once among what else it asks for."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(httpx2.URL(redirect_uri).join("/favicon.ico"))).status_code == 404
        assert (await browser.get(f"{redirect_uri}?state=s-1&code=c-1")).status_code == 200


@pytest.fixture
async def service() -> FakeConnectionService:
    return FakeConnectionService()


@pytest.fixture
async def channel(service: FakeConnectionService) -> AsyncIterator[grpc.aio.Channel]:
    with anyio.fail_after(30):
        async with serving(service) as channel:
            yield channel


# --- in a browser


async def test_the_browsers_answer_completes_the_authorization(
    service: FakeConnectionService, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = Begun(redirecting(), then=come_back)

    linked = await consent(channel, begun, Way.BROWSER, open_browser=False)

    assert linked == LINKED
    assert [flow for flow, _ in begun.asked] == [pb.AUTHORIZATION_FLOW_REDIRECT]
    assert service.answers == ["/callback?state=s-1&code=c-1"]
    said = capsys.readouterr()
    # Programs read the other stream.
    assert (said.out, ADDRESS in said.err.split()) == ("", True)


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_browser_opens_when_it_is_wanted(
    wanted: bool, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    await consent(channel, Begun(redirecting(), then=come_back), Way.BROWSER, open_browser=wanted)

    assert opened == ([ADDRESS] if wanted else [])


async def test_a_consent_that_never_comes_ends_with_one_line(
    service: FakeConnectionService, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = Begun(redirecting(timedelta(seconds=-1)))

    with pytest.raises(typer.Exit) as ended:
        await consent(channel, begun, Way.BROWSER, open_browser=False)

    assert ended.value.exit_code == 1
    assert "error [CONSENT_TIMEOUT]" in capsys.readouterr().err
    assert service.answers == []


async def test_what_the_service_refuses_reaches_the_caller(
    service: FakeConnectionService, channel: grpc.aio.Channel
) -> None:
    service.refusal = ConsentRefused()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await consent(channel, Begun(redirecting(), then=come_back), Way.BROWSER, open_browser=False)

    assert from_rpc_error(refused.value).reason == "CONSENT_REFUSED"


# --- with a pasted address


async def test_the_pasted_line_is_sent_as_it_is(
    service: FakeConnectionService, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"  {PASTED_URI}?state=s-1&code=c-1 \nmore\n"))
    begun = Begun(redirecting())

    linked = await consent(channel, begun, Way.PASTE, open_browser=True)

    assert linked == LINKED
    assert begun.asked == [(pb.AUTHORIZATION_FLOW_REDIRECT, PASTED_URI)]
    assert service.answers == [f"{PASTED_URI}?state=s-1&code=c-1"]


@pytest.mark.parametrize("line", ["", "\n", "   \n"])
async def test_nothing_pasted_ends_the_command_and_asks_the_service_nothing(
    line: str, service: FakeConnectionService, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))

    with pytest.raises(typer.Exit) as ended:
        await consent(channel, Begun(redirecting()), Way.PASTE, open_browser=False)

    assert (ended.value.exit_code, service.answers) == (1, [])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where somebody types, who has typed nothing yet."""
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    os.close(writing)


async def test_a_line_that_is_typed_in_later_is_waited_for(
    terminal: int, service: FakeConnectionService, channel: grpc.aio.Channel
) -> None:
    async def paste(_redirect_uri: str) -> None:
        asyncio.get_running_loop().call_later(0.05, os.write, terminal, b"?state=s-1&code=c-1\n")

    assert await consent(channel, Begun(redirecting(), then=paste), Way.PASTE, open_browser=False) == LINKED
    assert service.answers == ["?state=s-1&code=c-1"]


async def test_a_line_that_is_never_typed_in_ends_with_one_line(
    terminal: int, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        await consent(channel, Begun(redirecting(timedelta(seconds=-1))), Way.PASTE, open_browser=False)

    assert "error [CONSENT_TIMEOUT]" in capsys.readouterr().err


# --- with a code


async def test_a_code_is_polled_until_somebody_has_decided(
    service: FakeConnectionService, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    too_early = PolledTooEarly(retry_after=0.01)
    service.polls = deque([pending(), too_early, pending(0.01)])
    begun = Begun(with_code())

    linked = await consent(channel, begun, Way.DEVICE_CODE, open_browser=True)

    assert linked == LINKED
    assert begun.asked == [(pb.AUTHORIZATION_FLOW_DEVICE_CODE, "")]
    assert service.polled == 4
    said = capsys.readouterr().err
    assert "https://provider.test/[device]" in said
    assert "ABC\\x1b[2JDEF" in said


@pytest.mark.parametrize("error", [ProviderUnavailable(), Throttled(retry_after=0.01)], ids=type_name)
async def test_a_provider_in_trouble_does_not_end_the_wait(
    error: AdiuvaError, service: FakeConnectionService, channel: grpc.aio.Channel
) -> None:
    service.polls = deque([error, pending()])

    assert await consent(channel, Begun(with_code()), Way.DEVICE_CODE, open_browser=False) == LINKED
    assert service.polled == 3


@pytest.mark.parametrize("error", [StateInvalid(), ConsentRefused()], ids=type_name)
async def test_a_code_that_failed_is_polled_no_more(
    error: AdiuvaError, service: FakeConnectionService, channel: grpc.aio.Channel
) -> None:
    service.polls = deque([pending(), error])

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await consent(channel, Begun(with_code()), Way.DEVICE_CODE, open_browser=False)

    assert from_rpc_error(refused.value).reason == error.reason
    assert service.polled == 2


async def test_a_code_that_nobody_types_in_ends_with_one_line(
    service: FakeConnectionService, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    service.polls = deque([pending(60)])

    with pytest.raises(typer.Exit) as ended:
        await consent(channel, Begun(with_code(timedelta(seconds=-1))), Way.DEVICE_CODE, open_browser=False)

    assert ended.value.exit_code == 1
    assert "error [CONSENT_TIMEOUT]" in capsys.readouterr().err
