"""The listener that the browser comes back to: one answer is taken, and nobody else on this machine disturbs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import anyio
import pytest

from connectors.cli.callback import MAX_REQUEST_BYTES, PATH, Callback, callback

ANSWER = f"{PATH}?state=of-this-flow&code=4%2F0Ab"


@pytest.fixture
async def listener() -> AsyncIterator[Callback]:
    with anyio.fail_after(20):
        async with callback() as listening:
            yield listening


def port_of(listener: Callback) -> int:
    port = urlsplit(listener.redirect_uri).port
    assert port is not None
    return port


async def sent(listener: Callback, request: bytes) -> bytes:
    """Send a request and return all that comes back before the connection is closed."""
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", port_of(listener)) as connection:
        await connection.send(request)
        try:
            async for piece in connection:
                received += piece
        except anyio.BrokenResourceError:
            # What was not read of a request that is too long makes the system reset the connection.
            pass
    return received


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()


async def test_the_browsers_address_is_the_answer(listener: Callback) -> None:
    page = await sent(listener, get(ANSWER))

    assert page.startswith(b"HTTP/1.1 200 OK\r\n")
    assert await listener.answer == ANSWER


async def test_a_refusal_is_an_answer_too(listener: Callback) -> None:
    refusal = f"{PATH}?error=access_denied&state=of-this-flow"

    await sent(listener, get(refusal))

    assert await listener.answer == refusal


async def test_where_it_listens_is_a_redirect_address_for_loopback_and_another_one_each_time(
    listener: Callback,
) -> None:
    async with callback() as other:
        assert listener.redirect_uri == f"http://localhost:{port_of(listener)}{PATH}"
        assert port_of(other) != port_of(listener)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /favicon.ico HTTP/1.1",
        "GET /?state=s&code=c HTTP/1.1",
        f"GET {PATH}/?state=s&code=c HTTP/1.1",
        f"GET /x{PATH}?state=s&code=c HTTP/1.1",
        f"GET {PATH}?code=c HTTP/1.1",
        f"GET {PATH}?state= HTTP/1.1",
        f"GET {PATH}?#state=s HTTP/1.1",
        f"GET {PATH} HTTP/1.1",
        f"POST {PATH}?state=s&code=c HTTP/1.1",
        f"HEAD {PATH}?state=s HTTP/1.1",
        f"OPTIONS {PATH}?state=s HTTP/1.1",
        f"GET http://[::1{PATH}?state=s HTTP/1.1",
        "GET",
        "PRI * HTTP/2.0",
        "\x16\x03\x01",
        "",
    ],
)
async def test_what_is_no_answer_is_not_found_and_the_wait_goes_on(listener: Callback, request_line: str) -> None:
    page = await sent(listener, f"{request_line}\r\nHost: localhost\r\n\r\n".encode())

    assert page.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert not listener.answer.done()
    await sent(listener, get(ANSWER))
    assert await listener.answer == ANSWER


async def test_only_the_first_answer_counts(listener: Callback) -> None:
    first = await sent(listener, get(ANSWER))
    second = await sent(listener, get(f"{PATH}?state=another&code=another"))

    assert first == second
    assert await listener.answer == ANSWER


async def test_a_stranger_who_says_nothing_holds_nobody_up(listener: Callback) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port_of(listener)) as silent:
        await silent.send(get(f"{PATH}?state=forged")[:-2])
        page = await sent(listener, get(ANSWER))

    assert page.startswith(b"HTTP/1.1 200 OK\r\n")
    assert await listener.answer == ANSWER


async def test_a_stranger_who_leaves_in_the_middle_changes_nothing(listener: Callback) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port_of(listener)) as short:
        await short.send(get(f"{PATH}?state=forged")[:-2])
    await sent(listener, get(ANSWER))

    assert await listener.answer == ANSWER


async def test_a_request_that_is_too_long_is_not_read_to_its_end(listener: Callback) -> None:
    page = await sent(listener, get(f"{PATH}?state=forged&code=" + "x" * 4 * MAX_REQUEST_BYTES))

    assert page == b""
    assert not listener.answer.done()
    await sent(listener, get(ANSWER))
    assert await listener.answer == ANSWER


async def test_the_page_shows_nothing_of_the_request_and_is_kept_nowhere(listener: Callback) -> None:
    answered = await sent(listener, get(f"{PATH}?state=<script>alert(1)</script>&code=canary"))
    refused = await sent(listener, get("/canary<script>?state=s"))

    for page in (answered, refused):
        head, _, body = page.partition(b"\r\n\r\n")
        assert b"canary" not in page
        assert b"script" not in page
        assert {b"Cache-Control: no-store", b"Referrer-Policy: no-referrer", b"Connection: close"} <= set(
            head.split(b"\r\n")
        )
        assert f"Content-Length: {len(body)}".encode() in head


async def test_nothing_listens_afterwards() -> None:
    async with callback() as listener:
        port = port_of(listener)

    assert listener.answer.cancelled()
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.1", port)
