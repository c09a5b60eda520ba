"""How a provider's API is called: with a token, within its quota, again when that makes sense, and nowhere else."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from random import Random
from types import TracebackType
from typing import Self

import httpcore2
import httpx2

from connectors.errors import NeedsReauth
from connectors.messages.domain import JsonObject
from connectors.providers.network import BaseUrl
from connectors.providers.port import Session
from connectors.providers.quotas import Cost, Now, Quota, Sleep
from connectors.providers.retry import Failure, Retries, RetryPolicy, Wait, failure_of, unavailable
from connectors.providers.wire import Answer, Bounds, Lost, LostAnswer, Opened, Params, Wire

__all__ = ["Answer", "Bounds", "Cost", "Problem", "ProviderHttp", "Wait", "no_problem"]

Problem = Callable[[Answer], Exception | Wait | None]
"""Says what an answer means that is not what was asked for (never a 401): what to raise, that it was a throttle, or
None for what is usual: 429 and 5xx are tried again, anything else is ProviderUnavailable."""


def no_problem(_answer: Answer) -> Exception | Wait | None:
    """Leave every answer to what is usual."""
    return None


@dataclass(slots=True, kw_only=True)
class _Ask:
    """One request of the caller's, through all its tries."""

    session: Session
    url: httpx2.URL
    params: Params | None
    headers: Mapping[str, str]
    cost: Cost
    problem: Problem
    total: timedelta
    retries: Retries
    token: str = field(default="", repr=False)
    """The last one that was sent."""
    is_refused: bool = False
    """It was answered with 401."""
    is_replaced: bool = False
    """It is not the first one any more."""


class ProviderHttp:
    """The client of one API of a provider. It keeps nothing of an answer."""

    def __init__(
        self,
        base_url: BaseUrl,
        *,
        quota: Quota,
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
            base_url: Where the API is.
            quota: What may be asked of it.
            now: The time, in UTC.
            sleep: Waits so many seconds.
            retry: How often to try.
            bounds: What one request may take.
            rng: Where jitter comes from.
            network: Makes the connections; see `Wire`.
            ssl_context: Whom to trust; see `Wire`.
        """
        self._base_url = base_url
        self._quota = quota
        self._now = now
        self._sleep = sleep
        self._retry = retry or RetryPolicy()
        self._bounds = bounds or Bounds()
        self._rng = rng or Random()  # noqa: S311 - jitter is no secret
        self._wire = Wire(bounds=self._bounds, network=network, ssl_context=ssl_context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    async def get_json(
        self,
        session: Session,
        url_or_path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
        problem: Problem = no_problem,
    ) -> JsonObject:
        """GET a JSON object.

        Args:
            session: For whom.
            url_or_path: A path below the base URL, beginning with a slash, or a link that the provider gave.
            params: The query of a path. A link has its own and is sent as it came: leave them out.
            headers: Beside the usual ones.
            cost: What it takes from the quota; one unit if it is left out.
            problem: What answers mean that are no success, and one that is `too_large`.

        Raises:
            NeedsReauth: Two different tokens were refused, or there is no other.
            Throttled: What the provider or the quota asks to wait ends past the session's deadline, or the last try
                was throttled.
            ProviderUnavailable: It cannot be reached, or gives no usable answer, after all tries. The metadata's
                `cause` is FOREIGN_LINK, TOO_LARGE, TIMEOUT, UNREACHABLE, REFUSED, NOT_JSON or HTTP_<status>.
            Exception: What `problem` returned, and what the session's tokens raise.
        """
        ask = self._ask(session, url_or_path, params, headers, cost, problem, self._bounds.total)
        while True:
            try:
                async with self._opened(ask) as opened:
                    answer: Answer | Lost = await opened.read(self._bounds.body_bytes)
            except LostAnswer as lost:
                answer = lost.why
            if isinstance(answer, Answer) and answer.is_success:
                return _json_of(answer)
            await self._failed(ask, answer)

    async def stream(
        self,
        session: Session,
        url_or_path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
        problem: Problem = no_problem,
        largest: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """GET something, and yield it as it comes, in pieces of at most 1 MiB. Close the generator (`aclosing`).

        Arguments and errors are those of `get_json`, but once an answer has begun nothing is tried again, and the
        whole may take longer (`Bounds.stream_total`). It is `too_large` after `largest` bytes; those of
        `Bounds.body_bytes` if that is left out.
        """
        limit = self._bounds.body_bytes if largest is None else largest
        ask = self._ask(session, url_or_path, params, headers, cost, problem, self._bounds.stream_total)
        # Not `async with`: a generator may be left in the middle, and what it holds is given back by its `aclose`.
        stack = AsyncExitStack()
        try:
            opened = await self._begun(ask, stack)
            while (piece := await self._next_piece(ask, opened, limit)) is not None:
                yield piece
        finally:
            await stack.aclose()

    async def _begun(self, ask: _Ask, stack: AsyncExitStack) -> Opened:
        while True:
            try:
                opened = await stack.enter_async_context(self._opened(ask))
                if opened.is_success:
                    return opened
                answer: Answer | Lost = await opened.read(self._bounds.body_bytes)
            except LostAnswer as lost:
                answer = lost.why
            await stack.aclose()
            await self._failed(ask, answer)

    async def _next_piece(self, ask: _Ask, opened: Opened, largest: int) -> bytes | None:
        try:
            return await opened.next_piece(largest)
        except LostAnswer as lost:
            why = lost.why
        if why is Lost.TOO_LARGE:
            self._judged(ask, why)
        raise unavailable(why.value)

    def _ask(
        self,
        session: Session,
        url_or_path: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        cost: Cost | None,
        problem: Problem,
        total: timedelta,
    ) -> _Ask:
        return _Ask(
            session=session,
            url=self._base_url.within(url_or_path),
            params=params,
            headers=headers or {},
            cost=cost or Cost(),
            problem=problem,
            total=total,
            retries=Retries(self._retry, now=self._now, deadline=session.deadline, rng=self._rng),
        )

    @asynccontextmanager
    async def _opened(self, ask: _Ask) -> AsyncIterator[Opened]:
        """Make one try, in its turn."""
        async with self._quota.slot(ask.session, ask.cost):
            # Only now: a token that was good before a long wait in line may not be any more.
            await self._take_token(ask)
            ask.session.calls += 1
            headers = {**ask.headers, "Authorization": f"Bearer {ask.token}"}
            async with self._wire.open("GET", ask.url, params=ask.params, headers=headers, total=ask.total) as opened:
                yield opened

    async def _take_token(self, ask: _Ask) -> None:
        if ask.is_refused:
            ask.token = await ask.session.tokens.replace(ask.token)
            ask.is_refused, ask.is_replaced = False, True
        else:
            ask.token = await ask.session.tokens.token()

    async def _failed(self, ask: _Ask, answer: Answer | Lost) -> None:
        """Wait until the request can be made again, or raise why it is not.

        Called outside of every `except`: the errors that the caller sees have no context that knows more than they do.
        """
        if isinstance(answer, Answer) and answer.status == HTTPStatus.UNAUTHORIZED:
            if ask.is_replaced:
                raise NeedsReauth
            ask.is_refused = True
            return
        failure = self._judged(ask, answer)
        if failure.asked:
            until = self._now() + failure.asked
            self._quota.pause(ask.session.connection_id, until)
        wait = ask.retries.after_failure(failure)
        if failure.asked:
            ask.session.on_wait(until)
        await self._sleep(wait.total_seconds())

    def _judged(self, ask: _Ask, answer: Answer | Lost) -> Failure:
        if answer is Lost.TOO_LARGE:
            answer = Answer(status=HTTPStatus.OK, headers={}, too_large=True)
        if isinstance(answer, Lost):
            if answer is Lost.REFUSED:
                raise unavailable(answer.value)
            return Failure(cause=answer.value)
        verdict = ask.problem(answer)
        if isinstance(verdict, Exception):
            raise verdict
        if answer.too_large:
            raise unavailable(Lost.TOO_LARGE.value)
        failure = failure_of(
            answer.status, answer.headers, answer.body, now=self._now(), policy=self._retry, verdict=verdict
        )
        if failure is None:
            raise unavailable(f"HTTP_{answer.status}")
        return failure


def _json_of(answer: Answer) -> JsonObject:
    found = answer.json()
    if found is None:
        raise unavailable("NOT_JSON")
    return found
