"""Where the browser comes back to after a consent: a listener on loopback that takes one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

MAX_REQUEST_BYTES = 16_384
READ_SECONDS = 10.0
PATH = "/callback"
"""Providers compare it to the letter with what was registered; the port of a loopback address may be any."""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Adiuva</title>
<body style="font-family: sans-serif; margin: 4em"><h1>{title}</h1><p>{text}</p></body></html>"""
_ANSWERED = _PAGE.format(title="Thank you", text="You can close this window and go back to Adiuva.")
_OTHERWISE = _PAGE.format(title="Not here", text="This address only takes the answer to a consent.")


@dataclass(frozen=True, slots=True)
class Callback:
    """A listener that waits for the browser."""

    redirect_uri: str
    answer: asyncio.Future[str]
    """The whole address that the browser came to."""


@asynccontextmanager
async def callback() -> AsyncIterator[Callback]:
    """Listen on a free port of loopback until the block ends. The first request with a `state` is the answer."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(_handler(answer), "127.0.0.1", 0, limit=MAX_REQUEST_BYTES)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Callback(f"http://localhost:{port}{PATH}", answer)
    finally:
        server.close()
        answer.cancel()


def _handler(
    answer: asyncio.Future[str],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                target = _target(head)
                if target and not answer.done():
                    answer.set_result(target)
                writer.write(_response(_ANSWERED if target else _OTHERWISE, "200 OK" if target else "404 Not Found"))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A stranger on this machine: the browser's own request is still to come.
            return
        finally:
            writer.close()

    return handle


def _target(head: bytes) -> str:
    """Return where a request goes when it is the answer to a consent, else nothing."""
    method, _, rest = head.split(b"\r\n", 1)[0].decode("ascii", "replace").partition(" ")
    target = rest.rpartition(" ")[0]
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    return target if method == "GET" and parts.path == PATH and "state" in parse_qs(parts.query) else ""


def _response(page: str, status: str) -> bytes:
    body = page.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
