"""How an authorization server is called: no token, no quota, again when that makes sense, all within 30 s."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import urlencode

import anyio
import anyio.from_thread
import anyio.to_thread
import httpcore2
import httpx2

from connectors.errors import ProviderUnavailable
from connectors.providers.network import BaseUrl
from connectors.providers.quotas import Now, Sleep
from connectors.providers.retry import Failure, Retries, RetryPolicy, failure_of, unavailable
from connectors.providers.wire import Answer, Bounds, Lost, LostAnswer, Params, Wire

T = TypeVar("T")

LIMIT = timedelta(seconds=30)
"""What a method of an identity may take."""
_BOUNDS = Bounds(total=timedelta(seconds=15), body_bytes=2**20)
_THREADS = 16
_TEMPORARY = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})


class Send(Protocol):
    """Makes a request from a worker thread; as `IdentityHttp.send`."""

    def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """Make it, and wait for its answer."""
        ...


class IdentityHttp:
    """The client of a provider's authorization server."""

    def __init__(
        self,
        base_urls: Iterable[BaseUrl],
        *,
        now: Now,
        sleep: Sleep,
        retry: RetryPolicy | None = None,
        bounds: Bounds | None = None,
        rng: Random | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Make one; `aclose` ends it, or `async with`.

        Args:
            base_urls: Where requests may go.
            now: The time, in UTC.
            sleep: Waits so many seconds.
            retry: How often to try.
            bounds: What one request may take.
            rng: Where jitter comes from.
            network: Makes the connections; see `Wire`.
            ssl_context: Whom to trust; see `Wire`.
        """
        self._base_urls = tuple(base_urls)
        self._now = now
        self._sleep = sleep
        self._retry = retry or RetryPolicy()
        self._rng = rng or Random()  # noqa: S311 - jitter is no secret
        self._wire = Wire(bounds=bounds or _BOUNDS, network=network, ssl_context=ssl_context)
        self._places = asyncio.Semaphore(_THREADS)
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    def deadline(self) -> datetime:
        """Return when a method of an identity that begins now must have ended."""
        return self._now() + LIMIT

    async def send(
        self,
        method: str,
        url: str,
        *,
        deadline: datetime,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Make a request, and return its answer: any that trying again would not change.

        Tried again are 408, 429, 5xx, the OAuth errors that call themselves temporary, and requests without an answer.

        Args:
            method: GET or POST.
            url: A whole address, below one of the base URLs.
            deadline: See `deadline`.
            params: A query.
            headers: Beside the usual ones.
            form: A body, to be sent as `application/x-www-form-urlencoded`.
            content: A body in any other form.

        Raises:
            Throttled: It was asked to wait beyond the deadline, or the last try was throttled.
            ProviderUnavailable: There is no usable answer after all tries, or `url` is elsewhere.
        """
        target = self._within(url)
        sent = dict(headers or {})
        if form is not None:
            content = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        retries = Retries(self._retry, now=self._now, deadline=deadline, rng=self._rng)
        while True:
            left = min(self._wire.bounds.total, deadline - self._now())
            try:
                answer: Answer | Lost = await self._wire.exchange(
                    method, target, params=params, headers=sent, content=content, total=left
                )
            except LostAnswer as lost:
                answer = lost.why
            judged = self._judged(answer)
            if isinstance(judged, Answer):
                return judged
            await self._sleep(retries.after_failure(judged).total_seconds())

    async def in_thread(self, work: Callable[[Send], T], *, deadline: datetime) -> T:
        """Run `work` in a worker thread, for a library that is not asynchronous; its requests are made here.

        So they have the bounds and the tries of `send`, which are over at the deadline; and with them the thread is.
        Whoever must not lose the outcome shields this call: a cancelled caller does not wait for the thread.

        Args:
            work: Gets a `Send`, and whatever that raises.
            deadline: See `deadline`.

        Raises:
            ProviderUnavailable: No thread was free until the deadline; and what `work` raises.
        """

        def send(
            method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
        ) -> Answer:
            call = partial(self.send, method, url, deadline=deadline, headers=headers, content=content)
            return anyio.from_thread.run(call)

        if not await self._take_place(deadline):
            raise unavailable(Lost.TIMEOUT.value)
        try:
            return await anyio.to_thread.run_sync(work, send, limiter=self._limiter)
        finally:
            self._places.release()

    async def _take_place(self, deadline: datetime) -> bool:
        try:
            async with asyncio.timeout((deadline - self._now()).total_seconds()):
                return await self._places.acquire()
        except TimeoutError:
            return False

    def _within(self, url: str) -> httpx2.URL:
        for base_url in self._base_urls[:-1]:
            with suppress(ProviderUnavailable):
                return base_url.within(url)
        return self._base_urls[-1].within(url)

    def _judged(self, answer: Answer | Lost) -> Answer | Failure:
        """Return the answer, or why the request is made again; raise if there is no point in either."""
        if isinstance(answer, Answer) and answer.too_large:
            answer = Lost.TOO_LARGE
        if isinstance(answer, Lost):
            if answer in {Lost.REFUSED, Lost.TOO_LARGE}:
                raise unavailable(answer.value)
            return Failure(cause=answer.value)
        failure = failure_of(answer.status, answer.headers, answer.body, now=self._now(), policy=self._retry)
        if failure is None and not answer.is_success and _is_temporary(answer):
            failure = Failure(cause=f"HTTP_{answer.status}")
        return failure or answer


def _is_temporary(answer: Answer) -> bool:
    """Whether an error calls itself temporary, in either of the two places where that has been seen."""
    reply = answer.json() or {}
    told = (reply.get("error"), reply.get("error_description"))
    return any(isinstance(text, str) and text in _TEMPORARY for text in told)
