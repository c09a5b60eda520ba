"""Knows devices by their credentials, and people who enrol one by their codes."""

from __future__ import annotations

import hmac

from adiuva_rpc.identity import Caller, Role
from device_bridge.server.enrolment.domain import code_hash, credential_hash, device_of_credential
from device_bridge.server.enrolment.ports import EnrolmentStore
from device_bridge.server.errors import DeviceRevoked


class DeviceAuthenticator:
    """Recognises `Bearer <device credential>` and `Enrolment <code>`."""

    def __init__(self, store: EnrolmentStore) -> None:
        self._store = store

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        """Return the device, or somebody with a good code; None for what is not known.

        Raises:
            DeviceRevoked: The device may not connect any more.
            StoreUnavailable: The database cannot be reached.
        """
        match scheme:
            case "bearer":
                return await self._device(credential)
            case "enrolment":
                return await self._enrolling(credential)
            case _:
                return None

    async def _device(self, credential: str) -> Caller | None:
        device_id = device_of_credential(credential)
        known = await self._store.credential(device_id) if device_id else None
        presented = credential_hash(credential)
        if known is None or not hmac.compare_digest(known.sha256, presented):
            return None
        if known.revoked:
            raise DeviceRevoked
        # The first use kills the code; a repeated enrolment may have replaced the credential in this very moment.
        if not known.used and not await self._store.mark_used(known.device_id, presented):
            return None
        return Caller(role=Role.DEVICE, name=known.device_id, user_id=known.user_id, device_id=known.device_id)

    async def _enrolling(self, code: str) -> Caller | None:
        digest = code_hash(code)
        if digest is None or not await self._store.code_is_good(digest):
            return None
        return Caller(role=Role.ENROLLING, name="enrolling", code=code)
