"""One request and its answer: what a hostile or broken peer can do, and what it cannot."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import httpx2
import pytest
from aiohttp import web

from connectors.providers.network import CheckedNetwork
from connectors.providers.wire import Answer, Bounds, Lost, LostAnswer, Wire
from tests.connectors.providers.certificates import Authority
from tests.connectors.providers.support import Handler, Server, holds, raw, resets, says, serving

SMALL = Bounds(body_bytes=64 * 1024)


@asynccontextmanager
async def wire(bounds: Bounds = SMALL, **more: object) -> AsyncIterator[Wire]:
    made = Wire(bounds=bounds, **more)  # type: ignore[arg-type] # each test gives what it needs
    try:
        with anyio.fail_after(20):
            yield made
    finally:
        await made.aclose()


async def asked(*answers: Handler, bounds: Bounds = SMALL) -> tuple[Answer, Server]:
    async with serving(*answers) as server, wire(bounds) as made:
        return await made.exchange("GET", httpx2.URL(server.base_url)), server


async def lost(*answers: Handler, bounds: Bounds = SMALL) -> LostAnswer:
    with pytest.raises(LostAnswer) as caught:
        await asked(*answers, bounds=bounds)
    assert caught.value.__context__ is None
    return caught.value


async def test_an_answer_is_read_whole() -> None:
    answer, _ = await asked(says({"a": ["ü", 1]}, headers={"X-Kept": "yes"}))

    assert answer.is_success
    assert answer.json() == {"a": ["ü", 1]}
    assert answer.headers["x-kept"] == "yes"


async def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(json.dumps({"long": "x" * 10_000}).encode())

    answer, server = await asked(raw(body, headers={"Content-Encoding": "gzip"}))

    assert len(answer.body) > 10_000
    assert server.requests[0].headers["Accept-Encoding"] == "gzip"


async def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(256 * 2**20), compresslevel=1)

    answer, _ = await asked(raw(bomb, headers={"Content-Encoding": "gzip"}))

    assert (answer.too_large, answer.is_success, answer.body) == (True, False, b"")


async def test_a_bomb_of_a_few_bytes_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    small = b"".join([packer.compress(bytes(2**20)) for _ in range(40)]) + packer.flush()
    assert len(small) < SMALL.body_bytes

    answer, _ = await asked(raw(small, headers={"Content-Encoding": "gzip"}))

    assert answer.too_large


@pytest.mark.parametrize("encoding", ["gzip, gzip, gzip", "deflate", "br", "zstd", "compress"])
async def test_an_encoding_that_was_not_asked_for_is_not_read(encoding: str) -> None:
    assert (await lost(raw(b"{}", headers={"Content-Encoding": encoding}))).why is Lost.REFUSED


async def test_an_endless_body_is_cut_off() -> None:
    stopped = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(16 * 1024))
        except ConnectionError:
            stopped.set()
            raise

    async with serving(endless) as server, wire() as made:
        answer = await made.exchange("GET", httpx2.URL(server.base_url))
        await stopped.wait()

    assert answer.too_large


async def test_a_body_that_says_that_it_is_too_long_is_not_read() -> None:
    never = asyncio.Event()

    async def long(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(2**40)})
        await response.prepare(request)
        await never.wait()
        return response

    answer, _ = await asked(long)

    assert answer.too_large


async def test_a_slow_drip_is_ended() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.001)

    assert (await lost(drip, bounds=Bounds(total=timedelta(milliseconds=150)))).why is Lost.TIMEOUT


async def test_an_answer_that_never_begins_is_not_waited_for() -> None:
    never = asyncio.Event()

    assert (await lost(holds(never), bounds=Bounds(total=timedelta(milliseconds=50)))).why is Lost.TIMEOUT


@pytest.mark.parametrize("begun", [b"", b'{"half'])
async def test_a_connection_that_is_reset_is_no_answer(begun: bytes) -> None:
    assert (await lost(resets(begun))).why is Lost.UNREACHABLE


async def test_a_body_that_is_cut_short_is_no_answer() -> None:
    body = gzip.compress(b'{"a": "' + b"x" * 1000 + b'"}')

    assert (await lost(raw(b"not gzip", headers={"Content-Encoding": "gzip"}))).why is Lost.UNREACHABLE
    answer, _ = await asked(raw(body[:-200], headers={"Content-Encoding": "gzip"}))
    assert answer.json() is None


async def test_nobody_at_the_port_is_no_answer() -> None:
    async with serving(says()) as server:
        gone = server.base_url

    async with wire() as made:
        with pytest.raises(LostAnswer) as caught:
            await made.exchange("GET", httpx2.URL(gone))

    assert caught.value.why is Lost.UNREACHABLE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://169.254.169.254/", "/elsewhere", "https://evil.example", "http://[", ""])
async def test_a_redirect_is_never_followed(status: int, location: str) -> None:
    answer, server = await asked(raw(b"", status=status, headers={"Location": location}), says())

    assert (answer.status, answer.is_success, server.count) == (status, False, 1)


async def test_a_cookie_is_never_sent_back() -> None:
    async with serving(says(headers={"Set-Cookie": "user=one; Path=/"})) as server, wire() as made:
        for _ in range(2):
            await made.exchange("GET", httpx2.URL(server.base_url))

    assert all("Cookie" not in request.headers for request in server.requests)


async def test_an_error_with_a_large_body_is_still_an_error() -> None:
    answer, _ = await asked(raw(b"x" * 2**20, status=500))

    assert (answer.status, answer.too_large, len(answer.body) <= 256 * 1024) == (500, False, True)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff", b"<html></html>", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000]
)
async def test_a_body_that_is_no_json_object_is_none(body: bytes) -> None:
    assert Answer(status=200, headers={}, body=body).json() is None


async def test_a_query_is_sent_as_it_was_given() -> None:
    async with serving(says()) as server, wire() as made:
        url = httpx2.URL(f"{server.base_url}/a?$skiptoken=x%2Fy%3D&z=1")
        await made.exchange("GET", url, params=[])
        await made.exchange("GET", httpx2.URL(f"{server.base_url}/b"), params=[("l", "1"), ("l", "2 3")])

    assert [request.path_qs for request in server.requests] == ["/a?$skiptoken=x%2Fy%3D&z=1", "/b?l=1&l=2+3"]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    answer, _ = await asked(says())

    assert answer.is_success


async def nowhere(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_public_name_that_stands_for_this_machine_is_not_connected_to() -> None:
    async with serving(says()) as server, wire(network=CheckedNetwork(resolve=nowhere)) as made:
        with pytest.raises(LostAnswer) as caught:
            await made.exchange("GET", httpx2.URL(f"http://gmail.googleapis.com:{httpx2.URL(server.base_url).port}/"))

    assert (caught.value.why, server.count) == (Lost.REFUSED, 0)


@pytest.mark.parametrize(
    ("names", "is_trusted", "is_answered"),
    [(["localhost"], True, True), (["gmail.googleapis.com"], True, False), (["localhost"], False, False)],
)
async def test_a_certificate_must_be_of_a_trusted_authority_and_of_the_name_that_was_asked_for(
    names: list[str], is_trusted: bool, is_answered: bool
) -> None:
    authority = Authority()
    trust = authority.trusted() if is_trusted else None

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=authority.server(names))
    async with listening, wire(network=CheckedNetwork(resolve=nowhere), ssl_context=trust) as made:
        url = httpx2.URL(f"https://localhost:{listening.sockets[0].getsockname()[1]}/")
        try:
            answer: Answer | Lost = await made.exchange("GET", url)
        except LostAnswer as error:
            answer = error.why

    assert (isinstance(answer, Answer)) == is_answered
    assert isinstance(answer, Answer) or answer is Lost.UNREACHABLE


async def test_a_request_that_is_cancelled_gives_its_connection_back() -> None:
    never, arrived = asyncio.Event(), asyncio.Event()
    async with serving(holds(never, arrived), says()) as server, wire() as made:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.exchange("GET", httpx2.URL(server.base_url)))
            await arrived.wait()
            running.cancel()

        assert (await made.exchange("GET", httpx2.URL(server.base_url))).is_success
        assert made._transport._pool._requests == []


def test_the_default_trust_is_that_of_the_system_and_checks_names() -> None:
    trust = httpx2.create_ssl_context(trust_env=False)

    assert trust.check_hostname
    assert trust.verify_mode is ssl.CERT_REQUIRED
