"""Asks the models of an OpenAI-compatible endpoint, with retries and fallbacks, within a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random, SystemRandom

from orchestrator.adapters.openai_model.answers import Reply
from orchestrator.adapters.openai_model.config import OpenAIConfig
from orchestrator.adapters.openai_model.endpoint import Endpoint
from orchestrator.adapters.openai_model.failures import Failed, timed_out
from orchestrator.adapters.openai_model.messages import parameters
from orchestrator.adapters.openai_model.retry import backoff
from orchestrator.runs.domain import ModelFault
from orchestrator.runs.messages import ModelAnswer, ModelRequest

_REFUSED_REQUEST = frozenset({400, 422})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class OpenAIModel:
    """The port `runs.ports.Model`. Safe to use from concurrent groups; close it in the end with `aclose`."""

    def __init__(
        self,
        config: OpenAIConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        """Prepare to ask; no connection is made yet.

        Args:
            config: The endpoint and its models.
            clock: Seconds, for the deadline.
            now: The time of day, to read HTTP dates.
            sleep: Waits that many seconds.
            rng: For the jitter.
        """
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or SystemRandom()
        self._endpoint = Endpoint(config, now=now)
        self._without_schema: set[str] = set()
        """The models that answered only when they were given no response schema."""

    @property
    def name(self) -> str:
        """The first model of the chain."""
        return self._config.models[0]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Return the answer of the first model of the chain that gives one.

        `attempts` of the answer counts every call that was made for it.

        Raises:
            ModelUnauthenticated: the endpoint refused the key.
            ModelRateLimited: it asked to slow down for longer than the deadline allows.
            ModelBadAnswer: what came back was no answer.
            ModelFault: it could not be reached, did not answer in time, or refused the request.
        """
        calls = _Calls()
        faults: list[ModelFault] = []
        models = self._config.models
        ends_at = self._clock() + self._config.max_total_wait.total_seconds()
        for index, model in enumerate(models):
            # Each model may use its share of what is left, so that a slow one leaves time for those after it.
            now = self._clock()
            until = now + (ends_at - now) / (len(models) - index)
            try:
                reply = await self._ask(model, request, until=until, calls=calls)
            except Failed as failed:
                faults.append(failed.fault)
                if failed.hopeless:
                    break
            else:
                return _answer(reply, model, calls.made)
        # The first model is the one that was meant to answer: its fault is the one to act on.
        raise faults[0]

    async def _ask(self, model: str, request: ModelRequest, *, until: float, calls: _Calls) -> Reply:
        """Ask one model until it answers or there is no use in going on.

        Raises:
            Failed: it did not answer.
        """
        with_schema = request.response_schema is not None and model not in self._without_schema
        attempt = 1
        while True:
            try:
                reply = await self._call(model, request, with_schema=with_schema, until=until, calls=calls)
            except Failed as failed:
                if with_schema and failed.status in _REFUSED_REQUEST:
                    with_schema = False
                    continue
                wait = backoff(attempt, rng=self._rng) if failed.wait_seconds is None else failed.wait_seconds
                last = attempt == self._config.max_attempts or self._clock() + wait >= until
                if last or not failed.retryable:
                    raise
            else:
                if request.response_schema is not None and not with_schema:
                    self._without_schema.add(model)
                return reply
            await self._sleep(wait)
            attempt += 1

    async def _call(
        self, model: str, request: ModelRequest, *, with_schema: bool, until: float, calls: _Calls
    ) -> Reply:
        seconds = min(self._config.request_timeout.total_seconds(), until - self._clock())
        if seconds <= 0:
            raise timed_out(self._config.max_total_wait.total_seconds())
        arguments = parameters(request, model=model, temperature=self._config.temperature, with_schema=with_schema)
        calls.made += 1
        return await self._endpoint.complete(arguments, seconds=seconds)


@dataclass(slots=True)
class _Calls:
    made: int = 0


def _answer(reply: Reply, model: str, attempts: int) -> ModelAnswer:
    return ModelAnswer(
        text=reply.text,
        tool_requests=reply.tool_requests,
        model=model,
        input_tokens=reply.input_tokens,
        cached_tokens=reply.cached_tokens,
        output_tokens=reply.output_tokens,
        attempts=attempts,
    )
