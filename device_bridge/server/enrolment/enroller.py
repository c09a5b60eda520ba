"""Makes codes, and turns them into devices with credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from adiuva_rpc.errors import InvalidArgument
from device_bridge.server.enrolment.domain import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    MAX_UNUSED_CODES,
    MIN_LIFETIME,
    code_hash,
    credential_hash,
    new_code,
    new_credential,
    new_device_id,
)
from device_bridge.server.enrolment.ports import EnrolmentStore, NewDevice
from device_bridge.server.errors import CodeRefused
from device_bridge.server.sessions.ports import Enrolled

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code, for showing once."""

    code: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Code(expires_at={self.expires_at!r})"


class CodeEnroller:
    """Implements `sessions.ports.Enroller`."""

    def __init__(self, store: EnrolmentStore) -> None:
        self._store = store

    async def make_code(self, user_id: str, *, request_id: str, lifetime: float | None) -> Code:
        """Make a one-time code that leads to this user's devices.

        Args:
            user_id: The user.
            request_id: The caller's own, one code each.
            lifetime: Seconds; ten minutes when None.

        Raises:
            InvalidArgument: The lifetime is out of range, or the request_id is none.
            CodeShownOnce: There is a code of that request_id already.
            TooManyCodes: The user has too many unused ones.
            StoreUnavailable: The database cannot be reached.
        """
        seconds = DEFAULT_LIFETIME if lifetime is None else lifetime
        if not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
            raise InvalidArgument("lifetime", "must be between 1 minute and 24 hours")
        if not _REQUEST_ID.fullmatch(request_id):
            raise InvalidArgument("request_id", "must be 1 to 128 letters, digits or ._:-, e.g. a random UUID")
        code = new_code()
        digest = code_hash(code)
        assert digest is not None  # noqa: S101 - what new_code makes is a code
        expires_at = await self._store.add_code(
            user_id, request_id=request_id, sha256=digest, lifetime=seconds, max_unused=MAX_UNUSED_CODES
        )
        return Code(code=code, expires_at=expires_at)

    async def redeem(self, code: str, *, installation_id: str, display_name: str) -> Enrolled:
        """Make a device and its credential; see the port."""
        digest = code_hash(code)
        if digest is None:
            raise CodeRefused
        made: list[str] = []

        def credential_of(device_id: str) -> str:
            made.append(new_credential(device_id))
            return credential_hash(made[-1])

        device = NewDevice(device_id=new_device_id(), installation_id=installation_id, display_name=display_name)
        device_id, user_id = await self._store.redeem(digest, device, credential_of=credential_of)
        return Enrolled(device_id=device_id, user_id=user_id, credential=made[-1])
