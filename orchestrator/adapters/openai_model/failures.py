"""What a failed call means: the fault that a user reads, and whether to ask again.

The sentences hold no key, no prompt and nothing that the endpoint said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.adapters.openai_model.retry import is_retryable, retry_after
from orchestrator.runs.domain import ModelBadAnswer, ModelFault, ModelRateLimited, ModelUnauthenticated


class Failed(Exception):
    """One call to one model did not bring an answer."""

    def __init__(
        self,
        fault: ModelFault,
        *,
        retryable: bool = False,
        wait_seconds: float | None = None,
        hopeless: bool = False,
        status: int = 0,
    ) -> None:
        """Say what it means.

        Args:
            fault: What the run is told when nothing else helps.
            retryable: Whether the same call may work later.
            wait_seconds: How long the endpoint asks to wait; None when it does not say.
            hopeless: Whether the other models of the chain will fail in the same way.
            status: Of the HTTP answer, if there was one.
        """
        super().__init__(fault.message)
        self.fault = fault
        self.retryable = retryable
        self.wait_seconds = wait_seconds
        self.hopeless = hopeless
        self.status = status


def of_status(model: str, status: int, headers: Mapping[str, str], *, code: str | None, now: datetime) -> Failed:
    """Return what an HTTP error means.

    Args:
        model: The model that was asked.
        status: The HTTP status.
        headers: Names in lower case.
        code: The error code in the body, if it had one.
        now: To read HTTP dates.
    """
    # A spent quota comes as 429 too, but no waiting of ours brings it back.
    spent = status == 429 and code == "insufficient_quota"
    return Failed(
        _fault(model, status, spent=spent),
        retryable=not spent and is_retryable(status, headers),
        wait_seconds=retry_after(headers, now=now),
        hopeless=status == 401,
        status=status,
    )


def _fault(model: str, status: int, *, spent: bool) -> ModelFault:
    if status == 401:
        return ModelUnauthenticated(
            "The model provider refused the API key (HTTP 401). Check the key in the server's settings."
        )
    if status == 403:
        return ModelUnauthenticated(
            f"The model provider does not let this API key use the model {model} (HTTP 403). "
            "Check the key and its rights."
        )
    if spent:
        return ModelRateLimited(
            "The account at the model provider has no quota left (HTTP 429). Check its plan and billing."
        )
    if status == 429:
        return ModelRateLimited(
            "The model provider asks to slow down for longer than a run waits (HTTP 429). Try again in some minutes."
        )
    if status == 404:
        return ModelFault(
            f"The model provider does not know the model {model} or the base URL is wrong (HTTP 404). "
            "Check both in the server's settings."
        )
    if status >= 500:
        return ModelFault(f"The model provider has a fault of its own (HTTP {status}). Try again later.")
    if 300 <= status < 400:
        return ModelFault(
            f"The model provider sends requests elsewhere (HTTP {status}), which is not followed. Check the base URL."
        )
    return ModelFault(
        f"The model provider refused the request (HTTP {status}). "
        "The model may not support tools, or the files may be too long for it."
    )


def unreachable() -> Failed:
    """Return what it means that the connection failed or broke."""
    fault = ModelFault(
        "The model provider cannot be reached, or the connection broke. Check the base URL and the network."
    )
    return Failed(fault, retryable=True)


def timed_out(seconds: float) -> Failed:
    """Return what it means that the answer did not come in time."""
    return Failed(ModelFault(f"The model did not answer within {seconds:.0f} s. Try again later."), retryable=True)


def bad_answer(what: str, *, retryable: bool = True) -> Failed:
    """Return what it means that an answer came that is none. `what` completes the sentence that begins "The model"."""
    return Failed(ModelBadAnswer(f"The model {what}. Try again, or choose another model."), retryable=retryable)
