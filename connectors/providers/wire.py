"""One request to a provider and its answer, within bounds: nothing that a peer sends can take more memory or time."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, unique

import httpcore2
import httpx2

from connectors.messages.domain import JsonObject
from connectors.providers.network import AddressRefused, CheckedNetwork, CheckedTransport

Params = Mapping[str, str] | Sequence[tuple[str, str]]
"""The parameters of a query; pairs where a name is given twice."""

_LARGEST_ERROR = 256 * 1024
_CLIENT_LOGGERS = ("httpx2", "httpcore2")
_HEADERS = {
    "Accept": "application/json",
    # The only encoding that we read. Google sends it only to clients that name it here as well.
    "Accept-Encoding": "gzip",
    "User-Agent": "adiuva-connectors (gzip)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may take."""

    total: timedelta = timedelta(seconds=30)
    """From its first byte to the last byte of its answer."""
    stream_total: timedelta = timedelta(minutes=5)
    """The same, for an answer that is passed on while it is read."""
    connect: timedelta = timedelta(seconds=10)
    """To each network address that is tried."""
    body_bytes: int = 32 * 2**20
    """After decompression."""


@unique
class Lost(Enum):
    """Why there is no answer, or only its beginning."""

    UNREACHABLE = "UNREACHABLE"
    """No connection, or it ended before the answer was whole."""
    TIMEOUT = "TIMEOUT"
    TOO_LARGE = "TOO_LARGE"
    REFUSED = "REFUSED"
    """We do not talk to its network address, or do not read its encoding."""


class LostAnswer(Exception):
    """There is no answer. It says nothing of what was sent or received, and has no other error as its context."""

    def __init__(self, why: Lost) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answered."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """By name, in any case."""
    body: bytes = field(default=b"", repr=False)
    """Of an answer that is no success, its first 256 KiB at most."""
    too_large: bool = False
    """It is a success, but its body is longer than may be read, and is left out."""

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300 and not self.too_large

    def json(self) -> JsonObject | None:
        """Return the body as a JSON object; None when it is not one."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class Opened:
    """An answer whose body has not been read yet."""

    def __init__(self, response: httpx2.Response, pieces: AsyncIterator[bytes], *, ends_at: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._pieces = pieces
        self._ends_at = ends_at
        self._read_bytes = 0

    @property
    def is_success(self) -> bool:
        """Whether its status is one of success."""
        return 200 <= self.status < 300

    async def read(self, largest: int) -> Answer:
        """Read it to its end.

        Raises:
            LostAnswer: It broke off, or took too long.
        """
        body = bytearray()
        try:
            while (piece := await self.next_piece(largest if self.is_success else _LARGEST_ERROR)) is not None:
                body += piece
        except LostAnswer as lost:
            if lost.why is not Lost.TOO_LARGE:
                raise
            if self.is_success:
                return Answer(status=self.status, headers=self.headers, too_large=True)
        return Answer(status=self.status, headers=self.headers, body=bytes(body))

    async def next_piece(self, largest: int) -> bytes | None:
        """Return what comes next, decompressed, at most 1 MiB; None at the end.

        Raises:
            LostAnswer: It broke off, took too long, or is longer than `largest` altogether.
        """
        length = self.headers.get("Content-Length", "")
        # Compressed or not: what is that long before it is decompressed will not be shorter afterwards.
        if self.is_success and length.isdecimal() and int(length) > largest:
            raise LostAnswer(Lost.TOO_LARGE)
        piece = await self._next()
        self._read_bytes += len(piece or b"")
        if self._read_bytes > largest:
            raise LostAnswer(Lost.TOO_LARGE)
        return piece

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout_at(self._ends_at):
                return await anext(self._pieces, None)
        except (TimeoutError, httpx2.TimeoutException):
            why = Lost.TIMEOUT
        except (httpx2.TransportError, httpx2.DecodingError):
            why = Lost.UNREACHABLE
        # Raised here and not while that error is handled: it knows the request, and would go into a log as our context.
        raise LostAnswer(why)


class Wire:
    """Makes requests. It follows no redirect, keeps no cookie, uses no proxy, and logs nothing."""

    def __init__(
        self,
        *,
        bounds: Bounds,
        network: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Make one; `aclose` ends it.

        Args:
            bounds: What one request may take.
            network: Makes the connections; a `CheckedNetwork` if it is left out.
            ssl_context: Whom to trust; the system's authorities if it is left out.
        """
        # Below WARNING they tell of addresses with their queries, and of the headers of answers.
        for name in _CLIENT_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.bounds = bounds
        self._transport = CheckedTransport(network or CheckedNetwork(), ssl_context=ssl_context)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: httpx2.URL,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        total: timedelta | None = None,
    ) -> AsyncIterator[Opened]:
        """Make a request, and give its answer before its body is read.

        Args:
            method: GET or POST.
            url: As `BaseUrl.within` returned it.
            params: A query; None leaves the one of `url`.
            headers: Beside the usual ones.
            content: A body.
            total: In place of the bound for the whole request.

        Raises:
            LostAnswer: There is none.
        """
        request = httpx2.Request(
            method,
            url,
            params=httpx2.QueryParams(_pairs(params)) if params else None,
            headers={**_HEADERS, **(headers or {})},
            content=content,
            extensions={"timeout": self._timeouts()},
        )
        ends_at = asyncio.get_running_loop().time() + (self.bounds.total if total is None else total).total_seconds()
        response = await self._send(request, ends_at)
        pieces = response.aiter_bytes()
        try:
            # Encodings on top of each other could keep us decompressing for ever between two pieces.
            if response.headers.get("Content-Encoding", "").strip().lower() not in {"", "identity", "gzip"}:
                raise LostAnswer(Lost.REFUSED)
            yield Opened(response, pieces, ends_at=ends_at)
        finally:
            await pieces.aclose()
            await response.aclose()

    async def exchange(
        self,
        method: str,
        url: httpx2.URL,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        total: timedelta | None = None,
    ) -> Answer:
        """Make a request, and return its answer. As `open`, and `Opened.read`."""
        async with self.open(method, url, params=params, headers=headers, content=content, total=total) as opened:
            return await opened.read(self.bounds.body_bytes)

    async def _send(self, request: httpx2.Request, ends_at: float) -> httpx2.Response:
        # Straight to the transport: a client would keep the cookies of one user for the next, and log addresses.
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._transport.handle_async_request(request)
        except AddressRefused:
            why = Lost.REFUSED
        except (TimeoutError, httpx2.TimeoutException):
            why = Lost.TIMEOUT
        except httpx2.TransportError:
            why = Lost.UNREACHABLE
        raise LostAnswer(why)

    def _timeouts(self) -> dict[str, float]:
        total = self.bounds.stream_total.total_seconds()
        return {"connect": self.bounds.connect.total_seconds(), "read": total, "write": total, "pool": total}


def _pairs(params: Params) -> list[tuple[str, str | int | float | bool | None]]:
    return list(params.items() if isinstance(params, Mapping) else params)
