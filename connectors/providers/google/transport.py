"""Lets google-auth make its requests through our own client."""

from __future__ import annotations

from collections.abc import Mapping

import google.auth.transport

from connectors.providers.google.replies import is_usable
from connectors.providers.identity_http import Send
from connectors.providers.retry import unavailable
from connectors.providers.wire import Answer


class GoogleResponse(google.auth.transport.Response):
    """An answer as google-auth wants it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in any case."""
        return self._answer.headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._answer.body


class GoogleTransport(google.auth.transport.Request):
    """A request of google-auth, from its worker thread.

    google-auth sees no answer that it would try again itself, with real sleeps, for `Send` has done that before; and
    none that it would stumble over.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.last: Answer | None = None
        """The last answer. google-auth tells only in words what is wrong, and the time only by its own clock."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_unknown: object,
    ) -> GoogleResponse:
        """Make a request. Its time is bounded anyway, whatever `timeout` is.

        Raises:
            ProviderUnavailable: There is no usable answer. And what `Send` raises.
        """
        self.last = self._send(method, url, headers=headers, content=body)
        if not is_usable(self.last):
            raise unavailable("NOT_JSON")
        return GoogleResponse(self.last)
