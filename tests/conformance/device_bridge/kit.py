"""A store of the bridge under test, and what a test does with it over and over."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from device_bridge.server.devices.domain import Device, EffectClass, Manifest, Notice, NoticeKind, Tool
from device_bridge.server.devices.ports import DeviceStore
from device_bridge.server.enrolment.ports import EnrolmentStore, NewDevice
from device_bridge.server.routing.ports import DeviceDirectory
from device_bridge.server.sessions.ports import Arrival, Opening, SessionStore

HASH_A, HASH_B = "a" * 64, "b" * 64
TOOLS = Manifest(
    hash=HASH_A,
    tools=(
        Tool(name="read", description="Reads, \u00fc.", toolset="filesystem", effect_class=EffectClass.READ_ONLY),
        Tool(name="write", input_schema_json='{"type":"object"}', default_timeout=1.5, max_result_bytes=10),
    ),
)
REPLICA = "replica-1"


class Stores(DeviceStore, DeviceDirectory, Protocol):
    """Devices and who owns them."""


@dataclass(slots=True)
class Kit:
    """A store under test and what a test does with it over and over."""

    sessions: SessionStore
    devices: Stores
    enrolment: EnrolmentStore
    expire_leases: Callable[[], Awaitable[None]]
    """Makes every lease look overdue."""
    expire_codes: Callable[[], Awaitable[None]]
    """Makes every code look expired."""
    notices: Callable[[], Awaitable[list[Notice]]]
    """What the replicas were told about `user` since the last time."""
    user: str = field(default_factory=lambda: f"user-{uuid.uuid4().hex[:8]}")
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def code(self, user: str | None = None, *, lifetime: float = 60.0, request_id: str = "") -> str:
        """Make a code and return its hash."""
        sha256 = uuid.uuid4().hex * 2
        await self.enrolment.add_code(
            user or self.user,
            request_id=request_id or uuid.uuid4().hex,
            sha256=sha256,
            lifetime=lifetime,
            max_unused=20,
        )
        return sha256

    async def redeem(self, code: str, *, installation: str = "i-1", device_id: str = "") -> str:
        """Redeem a code and return the device's id. The credential's hash is `credential of <number>`."""
        new = NewDevice(
            device_id=device_id or uuid.uuid4().hex, installation_id=installation, display_name="Anna's laptop"
        )
        made, _user = await self.enrolment.redeem(
            code, new, credential_of=lambda _device_id: f"credential-{next(self._numbers)}"
        )
        return made

    async def enrol(self, user: str | None = None) -> str:
        """Make a device of a user."""
        return await self.redeem(await self.code(user))

    async def open(
        self, device_id: str, *, manifest: Manifest = TOOLS, replica: str = REPLICA, user: str | None = None
    ) -> Opening:
        """Begin a session."""
        arrival = Arrival(
            device_id=device_id,
            user_id=user or self.user,
            session_id=uuid.uuid4().hex,
            agent_version="0.2.0",
            display_name="Anna's new name",
            root_names=("sample", "mail"),
            manifest=manifest,
        )
        return await self.sessions.open_session(arrival, replica=replica, lease_seconds=60.0)

    async def renew(self, epochs: dict[str, int]) -> set[str]:
        """Renew leases."""
        return await self.sessions.renew(epochs, replica=REPLICA, lease_seconds=60.0)

    async def device(self, device_id: str) -> Device:
        """Return a device of the user."""
        return await self.devices.get(self.user, device_id)

    async def kinds(self) -> list[NoticeKind]:
        """Return the kinds of what the replicas were told since the last time."""
        return [notice.kind for notice in await self.notices()]
