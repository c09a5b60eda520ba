"""What the adapter needs to know of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from adiuva_rpc.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIConfig:
    """An endpoint, the models to ask there, and how patient to be.

    Raises:
        ValueError: no model is named, or a limit is not positive.
    """

    base_url: str
    """Up to and with the version: https://api.openai.com/v1."""
    api_key: Secret = field(repr=False)
    models: tuple[str, ...]
    """The first is asked; each next one when those before it do not answer."""
    temperature: float | None = None
    """None leaves it to the endpoint: some models refuse any."""
    request_timeout: timedelta = timedelta(minutes=2)
    """Longest that one call may take, from the connection to the last byte."""
    max_attempts: int = 4
    """Calls to one model for one answer. A call repeated without a response schema that was refused is not counted."""
    max_total_wait: timedelta = timedelta(minutes=5)
    """Longest that an answer may take in all, with every retry and fallback. The models share it."""

    def __post_init__(self) -> None:
        if not self.models or not all(self.models):
            raise ValueError("at least one model must be named")
        if self.max_attempts < 1 or min(self.request_timeout, self.max_total_wait) <= timedelta(0):
            raise ValueError("attempts and times must be positive")
