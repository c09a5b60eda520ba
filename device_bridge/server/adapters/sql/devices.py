"""Devices: lists, tools, revocation, and who owns which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.adapters.sql.engine import transaction
from device_bridge.server.adapters.sql.manifests import manifest_of
from device_bridge.server.adapters.sql.notices import notify
from device_bridge.server.adapters.sql.tables import device_leases, devices, tool_manifests
from device_bridge.server.devices.domain import Device, Manifest, Notice, NoticeKind
from device_bridge.server.devices.ports import DeviceCursor
from device_bridge.server.errors import DeviceUnknown

_ONLINE = (
    select(device_leases.c.device_id)
    .where(device_leases.c.device_id == devices.c.device_id, device_leases.c.expires_at > func.now())
    .exists()
    .label("online")
)
_DEVICES: Select[Any] = select(devices, _ONLINE)


class SqlDeviceStore:
    """Implements `devices.ports.DeviceStore` and `routing.ports.DeviceDirectory`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, user_id: str, device_id: str) -> Device:
        """Return a device; see the port."""
        async with transaction(self._engine) as connection:
            return await _get(connection, user_id, device_id)

    async def page(
        self, user_id: str | None, *, limit: int, after: DeviceCursor | None, include_revoked: bool
    ) -> list[Device]:
        """Return devices, newest enrolment first; see the port."""
        query = _DEVICES.order_by(devices.c.enrolled_at.desc(), devices.c.device_id.desc()).limit(limit)
        if user_id is not None:
            query = query.where(devices.c.user_id == user_id)
        if not include_revoked:
            query = query.where(devices.c.revoked_at.is_(None))
        if after is not None:
            place = tuple_(devices.c.enrolled_at, devices.c.device_id)
            query = query.where(place < tuple_(after.enrolled_at, after.device_id))
        async with transaction(self._engine) as connection:
            return [_device(row) for row in await connection.execute(query)]

    async def load(self, device_ids: Collection[str]) -> dict[str, Device]:
        """Return the devices with these ids; see the port."""
        query = _DEVICES.where(devices.c.device_id.in_(list(device_ids)))
        async with transaction(self._engine) as connection:
            return {row.device_id: _device(row) for row in await connection.execute(query)}

    async def tools(self, user_id: str, device_id: str) -> Manifest:
        """Return a device's tools; see the port."""
        query = (
            select(tool_manifests.c.hash, tool_manifests.c.tools)
            .join(devices, devices.c.device_id == tool_manifests.c.device_id)
            .where(devices.c.device_id == device_id, devices.c.user_id == user_id)
        )
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise DeviceUnknown
        return manifest_of(row.hash, row.tools)

    async def revoke(self, user_id: str, device_id: str, *, reason: str) -> Device:
        """End a device's right to connect; see the port."""
        async with transaction(self._engine) as connection:
            revoked = await connection.execute(
                update(devices)
                .where(devices.c.device_id == device_id, devices.c.user_id == user_id, devices.c.revoked_at.is_(None))
                .values(revoked_at=func.now(), revoke_reason=reason)
                .returning(devices.c.session_epoch)
            )
            row = revoked.one_or_none()
            if row is not None:
                await connection.execute(device_leases.delete().where(device_leases.c.device_id == device_id))
                await notify(connection, [_notice(NoticeKind.REVOKED, device_id, user_id, row.session_epoch)])
            return await _get(connection, user_id, device_id)

    async def ask_release(self, user_id: str, device_id: str) -> Device:
        """Ask for the end of a device's session; see the port."""
        async with transaction(self._engine) as connection:
            device = await _get(connection, user_id, device_id)
            if device.online:
                notice = _notice(NoticeKind.RELEASE, device_id, user_id, device.session_epoch)
                await notify(connection, [notice])
            return device

    async def locate(self, wanted: Sequence[tuple[str, str]]) -> list[str | AdiuvaError]:
        """Find devices by user and id; see the port."""
        named = {device_id for _, device_id in wanted if device_id}
        anybody = {user_id for user_id, device_id in wanted if not device_id}
        owners: dict[str, str] = {}
        newest: dict[str, str] = {}
        usable = devices.c.revoked_at.is_(None)
        async with transaction(self._engine) as connection:
            if named:
                query = select(devices.c.device_id, devices.c.user_id).where(usable, devices.c.device_id.in_(named))
                owners = {row.device_id: row.user_id for row in await connection.execute(query)}
            if anybody:
                last = (
                    select(devices.c.user_id, devices.c.device_id)
                    .where(usable, devices.c.user_id.in_(anybody), devices.c.connected_at.is_not(None))
                    .ext(distinct_on(devices.c.user_id))
                    .order_by(devices.c.user_id, devices.c.connected_at.desc())
                )
                newest = {row.user_id: row.device_id for row in await connection.execute(last)}
        found: list[str | AdiuvaError] = []
        for user_id, device_id in wanted:
            known = newest.get(user_id) if not device_id else device_id if owners.get(device_id) == user_id else None
            found.append(known or DeviceUnknown())
        return found


async def _get(connection: AsyncConnection, user_id: str, device_id: str) -> Device:
    query = _DEVICES.where(devices.c.device_id == device_id, devices.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise DeviceUnknown
    return _device(row)


def _device(row: Row[Any]) -> Device:
    return Device(
        device_id=row.device_id,
        user_id=row.user_id,
        display_name=row.display_name,
        online=row.online,
        session_epoch=row.session_epoch,
        agent_version=row.agent_version,
        root_names=tuple(row.root_names),
        tools_hash=row.tools_hash,
        enrolled_at=row.enrolled_at,
        connected_at=row.connected_at,
        last_seen_at=row.last_seen_at,
        revoked_at=row.revoked_at,
    )


def _notice(kind: NoticeKind, device_id: str, user_id: str, epoch: int) -> Notice:
    return Notice(kind=kind, device_id=device_id, user_id=user_id, epoch=epoch)
