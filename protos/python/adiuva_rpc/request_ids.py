"""The id that joins the log lines of one request in all services: `x-request-id` on the wire, `request_id` in logs."""

from __future__ import annotations

import re
import secrets
from typing import Final

from structlog.contextvars import bind_contextvars, get_contextvars

REQUEST_ID_HEADER: Final = "x-request-id"
_VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_request_id() -> str:
    """Return a new request id: 16 random hex digits."""
    return secrets.token_hex(8)


def current_request_id() -> str | None:
    """Return the id of the request that is served now."""
    value = get_contextvars().get("request_id")
    return value if isinstance(value, str) else None


def bind_request_id(presented: str | bytes | None) -> str:
    """Make a request id current in this task and those it starts; return it.

    Args:
        presented: What the caller sent. One that could not be printed safely in a log is replaced by a new one.
    """
    request_id = presented if isinstance(presented, str) and _VALID.fullmatch(presented) else new_request_id()
    bind_contextvars(request_id=request_id)
    return request_id
