"""The bridge's store in memory: every port of it, on dictionaries and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.devices.domain import Device, Manifest, Notice, NoticeKind
from device_bridge.server.devices.ports import DeviceCursor
from device_bridge.server.enrolment.ports import CredentialMaker, DeviceCredential, NewDevice
from device_bridge.server.errors import CodeRefused, CodeShownOnce, DeviceRevoked, DeviceUnknown, TooManyCodes
from device_bridge.server.sessions.ports import Arrival, Opening


@dataclass(slots=True)
class _Lease:
    replica: str
    epoch: int
    expires_at: datetime


@dataclass(slots=True)
class _Code:
    user_id: str
    request_id: str
    expires_at: datetime
    device_id: str | None = None


@dataclass(slots=True)
class _Credential:
    installation_id: str
    sha256: str
    used: bool = False


class FakeBridgeStore:
    """Implements SessionStore, DeviceStore, DeviceDirectory, EnrolmentStore and NoticeFeed's source."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.notices: list[Notice] = []
        """Everything that replicas were told, in order."""
        self.listeners: list[Callable[[Notice], None]] = []
        self._devices: dict[str, Device] = {}
        self._credentials: dict[str, _Credential] = {}
        self._leases: dict[str, _Lease] = {}
        self._codes: dict[str, _Code] = {}
        self._tools: dict[str, Manifest] = {}

    # --- SessionStore

    async def open_session(self, arrival: Arrival, *, replica: str, lease_seconds: float) -> Opening:
        device = self._devices.get(arrival.device_id)
        if device is None or device.user_id != arrival.user_id:
            raise DeviceUnknown
        if device.revoked_at is not None:
            raise DeviceRevoked
        epoch = device.session_epoch + 1
        self._tick()
        self._devices[arrival.device_id] = replace(
            device,
            session_epoch=epoch,
            agent_version=arrival.agent_version,
            display_name=arrival.display_name,
            root_names=arrival.root_names,
            tools_hash=arrival.manifest.hash,
            connected_at=self.now,
            last_seen_at=self.now,
        )
        self._leases[arrival.device_id] = _Lease(replica, epoch, self._in(lease_seconds))
        if arrival.manifest.tools:
            self._tools[arrival.device_id] = arrival.manifest
        stored = self._tools.get(arrival.device_id)
        known = stored if stored is not None and stored.hash == arrival.manifest.hash else None
        self._tell(NoticeKind.CONNECTED, arrival.device_id, epoch)
        return Opening(epoch=epoch, known=known)

    async def renew(self, epochs: Mapping[str, int], *, replica: str, lease_seconds: float) -> set[str]:
        lost = set()
        for device_id, epoch in epochs.items():
            device = self._devices.get(device_id)
            if device is None or device.session_epoch != epoch or device.revoked_at is not None:
                lost.add(device_id)
                continue
            self._leases[device_id] = _Lease(replica, epoch, self._in(lease_seconds))
            self._devices[device_id] = replace(device, last_seen_at=self.now)
        return lost

    async def release(self, epochs: Mapping[str, int]) -> None:
        for device_id, epoch in epochs.items():
            device = self._devices.get(device_id)
            if device is not None and device.session_epoch == epoch:
                self._devices[device_id] = replace(device, last_seen_at=self.now)
            lease = self._leases.get(device_id)
            if lease is not None and lease.epoch == epoch:
                self._end_lease(device_id)

    async def expire(self) -> None:
        for device_id, lease in list(self._leases.items()):
            if lease.expires_at <= self.now:
                self._end_lease(device_id)

    async def drop_leases_of(self, replica: str) -> int:
        held = [device_id for device_id, lease in self._leases.items() if lease.replica == replica]
        for device_id in held:
            self._end_lease(device_id)
        return len(held)

    async def save_tools(self, device_id: str, epoch: int, manifest: Manifest) -> None:
        device = self._devices.get(device_id)
        if device is None or device.session_epoch != epoch:
            return
        self._devices[device_id] = replace(device, tools_hash=manifest.hash)
        if manifest.tools:
            self._tools[device_id] = manifest
        self._tell(NoticeKind.CHANGED, device_id, epoch)

    # --- DeviceStore and DeviceDirectory

    async def get(self, user_id: str, device_id: str) -> Device:
        device = self._devices.get(device_id)
        if device is None or device.user_id != user_id:
            raise DeviceUnknown
        return self._seen(device)

    async def page(
        self, user_id: str | None, *, limit: int, after: DeviceCursor | None, include_revoked: bool
    ) -> list[Device]:
        listed = [
            self._seen(device)
            for device in self._devices.values()
            if user_id in {None, device.user_id}
            and (include_revoked or device.revoked_at is None)
            and (after is None or (device.enrolled_at, device.device_id) < (after.enrolled_at, after.device_id))
        ]
        listed.sort(key=lambda device: (device.enrolled_at, device.device_id), reverse=True)
        return listed[:limit]

    async def load(self, device_ids: Collection[str]) -> dict[str, Device]:
        return {each: self._seen(self._devices[each]) for each in device_ids if each in self._devices}

    async def tools(self, user_id: str, device_id: str) -> Manifest:
        await self.get(user_id, device_id)
        if device_id not in self._tools:
            raise DeviceUnknown
        return self._tools[device_id]

    async def revoke(self, user_id: str, device_id: str, *, reason: str) -> Device:
        device = await self.get(user_id, device_id)
        if device.revoked_at is None:
            self._devices[device_id] = replace(self._devices[device_id], revoked_at=self.now)
            self._leases.pop(device_id, None)
            self._tell(NoticeKind.REVOKED, device_id, device.session_epoch)
        return await self.get(user_id, device_id)

    async def ask_release(self, user_id: str, device_id: str) -> Device:
        device = await self.get(user_id, device_id)
        if device.online:
            self._tell(NoticeKind.RELEASE, device_id, device.session_epoch)
        return device

    async def locate(self, wanted: Sequence[tuple[str, str]]) -> list[str | AdiuvaError]:
        return [self._locate(user_id, device_id) for user_id, device_id in wanted]

    # --- EnrolmentStore

    async def add_code(
        self, user_id: str, *, request_id: str, sha256: str, lifetime: float, max_unused: int
    ) -> datetime:
        mine = [code for code in self._codes.values() if code.user_id == user_id]
        if any(code.request_id == request_id for code in mine):
            raise CodeShownOnce
        if sum(code.device_id is None and code.expires_at > self.now for code in mine) >= max_unused:
            raise TooManyCodes(retry_after=60.0)
        expires_at = self._in(lifetime)
        self._codes[sha256] = _Code(user_id, request_id, expires_at)
        return expires_at

    async def code_is_good(self, sha256: str) -> bool:
        code = self._codes.get(sha256)
        if code is None or code.expires_at <= self.now:
            return False
        if code.device_id is None:
            return True
        return not self._credentials[code.device_id].used and self._devices[code.device_id].revoked_at is None

    async def redeem(self, sha256: str, device: NewDevice, *, credential_of: CredentialMaker) -> tuple[str, str]:
        if not await self.code_is_good(sha256):
            raise CodeRefused
        code = self._codes[sha256]
        if code.device_id is None:
            code.device_id = device.device_id
            self._devices[device.device_id] = self._new(code.user_id, device)
            self._tell(NoticeKind.CHANGED, device.device_id, 0)
        elif self._credentials[code.device_id].installation_id != device.installation_id:
            raise CodeRefused
        self._credentials[code.device_id] = _Credential(device.installation_id, credential_of(code.device_id))
        return code.device_id, code.user_id

    async def credential(self, device_id: str) -> DeviceCredential | None:
        known = self._credentials.get(device_id)
        if known is None:
            return None
        device = self._devices[device_id]
        return DeviceCredential(
            device_id=device_id,
            user_id=device.user_id,
            sha256=known.sha256,
            used=known.used,
            revoked=device.revoked_at is not None,
        )

    async def mark_used(self, device_id: str, sha256: str) -> bool:
        known = self._credentials.get(device_id)
        if known is None or known.sha256 != sha256:
            return False
        known.used = True
        return True

    # --- helpers

    def _tick(self) -> None:
        # Never two things at the same moment: what came later is then later, as with a real clock.
        self.now += timedelta(microseconds=1)

    def _in(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def _seen(self, device: Device) -> Device:
        lease = self._leases.get(device.device_id)
        return replace(device, online=lease is not None and lease.expires_at > self.now)

    def _locate(self, user_id: str, device_id: str) -> str | AdiuvaError:
        mine = [
            device
            for device in self._devices.values()
            if device.user_id == user_id and device.revoked_at is None and device_id in {"", device.device_id}
        ]
        if device_id:
            return device_id if mine else DeviceUnknown()
        met = [(device.connected_at, device.device_id) for device in mine if device.connected_at is not None]
        return max(met)[1] if met else DeviceUnknown()

    def _new(self, user_id: str, device: NewDevice) -> Device:
        self._tick()
        return Device(
            device_id=device.device_id,
            user_id=user_id,
            display_name=device.display_name,
            online=False,
            session_epoch=0,
            agent_version="",
            root_names=(),
            tools_hash="",
            enrolled_at=self.now,
            connected_at=None,
            last_seen_at=None,
            revoked_at=None,
        )

    def _end_lease(self, device_id: str) -> None:
        lease = self._leases.pop(device_id)
        self._tell(NoticeKind.DISCONNECTED, device_id, lease.epoch)

    def _tell(self, kind: NoticeKind, device_id: str, epoch: int) -> None:
        notice = Notice(kind=kind, device_id=device_id, user_id=self._devices[device_id].user_id, epoch=epoch)
        self.notices.append(notice)
        for listener in self.listeners:
            listener(notice)
