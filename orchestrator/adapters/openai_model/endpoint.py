"""One call to the endpoint: bytes in time, or what it means that there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import httpx2
import openai

from orchestrator.adapters.openai_model.answers import MAX_BODY_BYTES, Reply, read_reply
from orchestrator.adapters.openai_model.config import OpenAIConfig
from orchestrator.adapters.openai_model.failures import Failed, bad_answer, of_status, timed_out, unreachable
from orchestrator.runs.domain import JsonObject


class Endpoint:
    """The connection to the endpoint, by the SDK with its own retries turned off."""

    def __init__(self, config: OpenAIConfig, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._client = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=config.api_key.get_secret_value(),
            max_retries=0,
            # A redirect would carry the user's texts to a host that nobody configured.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def complete(self, arguments: JsonObject, *, seconds: float) -> Reply:
        """Make one call with the arguments of a chat completion, within that many seconds.

        Raises:
            Failed: it brought no answer.
        """
        outcome = await self._call(arguments, seconds)
        # Raised here and not while an error of the SDK is handled: that one holds the endpoint's words, and would go
        # into a log as the context of ours.
        if isinstance(outcome, Failed):
            raise outcome
        return read_reply(outcome)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _call(self, arguments: JsonObject, seconds: float) -> bytes | Failed:
        completions = self._client.chat.completions.with_streaming_response
        try:
            async with asyncio.timeout(seconds), completions.create(**arguments, timeout=seconds) as response:
                body = bytearray()
                async for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        return bad_answer("gave an answer that is too long to be one", retryable=False)
                return bytes(body)
        except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException):
            return timed_out(seconds)
        except openai.APIStatusError as error:
            model = arguments["model"]
            return of_status(model, error.status_code, error.response.headers, code=error.code, now=self._now())
        except (openai.APIConnectionError, httpx2.TransportError, httpx2.DecodingError):
            return unreachable()
