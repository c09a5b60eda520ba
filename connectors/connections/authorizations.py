"""An authorization that waits for its user: what is shown of it, and how a repeated request finds it again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from adiuva_rpc.errors import InvalidArgument
from connectors.connections.domain import StoredFlow
from connectors.connections.redirects import check_redirect_uri
from connectors.errors import ProviderUnavailable
from connectors.providers.port import Flow

FLOW_LIFETIME: Final = timedelta(minutes=10)
"""Of a redirect flow."""
MAX_DEVICE_LIFETIME: Final = timedelta(hours=1)
"""Whatever the provider says about a device code."""
MIN_INTERVAL: Final = timedelta(seconds=1)
MAX_INTERVAL: Final = timedelta(minutes=1)
MAX_HINT_CHARS: Final = 320
PROVIDER_SECONDS: Final = 35.0
"""For one call of an identity, which ends within 30 s by its contract."""

T = TypeVar("T")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user asks for: to link an account, or to consent again."""

    user_id: str
    request_id: str
    flow: Flow
    redirect_uri: str = ""
    login_hint: str = field(default="", repr=False)
    actor: str
    """Who calls, for the audit trail."""

    def check(self, allowed: frozenset[str]) -> None:
        """Refuse what cannot be.

        Args:
            allowed: The redirect URIs of the operator.

        Raises:
            InvalidArgument: With the field.
        """
        if not _UUID.fullmatch(self.request_id):
            raise InvalidArgument("request_id", "a random UUID is required, a new one for each new request")
        if len(self.login_hint) > MAX_HINT_CHARS or not self.login_hint.isprintable():
            raise InvalidArgument("login_hint", f"must have at most {MAX_HINT_CHARS} printable characters")
        if self.flow is Flow.REDIRECT:
            check_redirect_uri(self.redirect_uri, allowed)
        elif self.redirect_uri:
            raise InvalidArgument("redirect_uri", "is for the redirect flow only")

    def fingerprint(self, subject: str) -> str:
        """Return what two requests have in common only when they ask for the same.

        Args:
            subject: The provider or connection that it is about.
        """
        parts = [subject, self.flow.value, self.redirect_uri, self.login_hint]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """A flow as its user sees it."""

    flow_id: str
    connection_id: str
    expires_at: datetime
    url: str = field(default="", repr=False)
    """For the redirect flow."""
    user_code: str = field(default="", repr=False)
    """For a device code, as what follows."""
    verification_uri: str = ""
    interval: timedelta = timedelta()


def shown_to_bytes(authorization: Authorization) -> bytes:
    """Return what the user is shown, for sealing."""
    shown = {
        "url": authorization.url,
        "user_code": authorization.user_code,
        "verification_uri": authorization.verification_uri,
        "interval": authorization.interval.total_seconds(),
    }
    return json.dumps(shown).encode()


def shown_from_bytes(flow: StoredFlow, shown: bytes) -> Authorization:
    """Return the flow as it was shown the first time."""
    fields = json.loads(shown)
    return Authorization(
        flow_id=flow.flow_id,
        connection_id=flow.connection_id,
        expires_at=flow.expires_at,
        url=fields["url"],
        user_code=fields["user_code"],
        verification_uri=fields["verification_uri"],
        interval=timedelta(seconds=fields["interval"]),
    )


def state_hash(state: str) -> bytes:
    """Return what is stored of a state: who reads the database cannot complete a flow with it."""
    return hashlib.sha256(state.encode("utf-8", "replace")).digest()


def secret_field(flow_id: str) -> str:
    """Return the field that a flow's secret is sealed for."""
    return f"flow:{flow_id}"


def shown_field(flow_id: str) -> str:
    """Return the field that what a flow shows is sealed for."""
    return f"shown:{flow_id}"


async def within(call: Awaitable[T]) -> T:
    """Wait for a call of an identity, but not for ever.

    Raises:
        ProviderUnavailable: It took too long.
    """
    try:
        async with asyncio.timeout(PROVIDER_SECONDS):
            return await call
    except TimeoutError:
        raise ProviderUnavailable from None
