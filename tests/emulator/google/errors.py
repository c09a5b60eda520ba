"""How Google says no: the bodies of the Gmail API's errors, and of the authorization server's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GmailError(Exception):
    """A call of the Gmail API is refused."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = error_body(status, reason, message, domain=domain)

    def answer(self) -> web.Response:
        """Return it as an HTTP answer."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


def error_body(status: int, reason: str, message: str, *, domain: str = "global") -> dict[str, Any]:
    """Return the body of an error of the Gmail API, also for a `Fault` of a test's own.

    Args:
        status: The HTTP status.
        reason: What a client branches on: `rateLimitExceeded`, `notFound`, …
        message: For people, and sometimes the only place where a time to wait is told.
        domain: `global`, or `usageLimits` for the 403 of quotas.
    """
    return {
        "error": {
            "code": status,
            "message": message,
            "errors": [{"message": message, "domain": domain, "reason": reason}],
            "status": _STATUS_NAMES.get(status, "UNKNOWN"),
        }
    }


class OAuthError(Exception):
    """The token endpoint, or another form of the authorization server, refuses a request."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status

    def answer(self) -> web.Response:
        """Return it as an HTTP answer."""
        return web.json_response({"error": self.error, "error_description": self.description}, status=self.status)
