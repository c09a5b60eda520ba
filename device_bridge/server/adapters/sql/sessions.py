"""Epochs, leases and tools of sessions. Every write names an epoch; one of a stale session finds nothing to change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from sqlalchemy import Select, Values, and_, column, func, select, update, values
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import BigInteger, Text

from device_bridge.server.adapters.sql.engine import transaction
from device_bridge.server.adapters.sql.manifests import manifest_of, tools_to_json
from device_bridge.server.adapters.sql.notices import notify
from device_bridge.server.adapters.sql.tables import device_leases, devices, tool_manifests
from device_bridge.server.devices.domain import Manifest, Notice, NoticeKind
from device_bridge.server.errors import DeviceRevoked, DeviceUnknown
from device_bridge.server.sessions.ports import Arrival, Opening

BATCH = 1000
"""Sessions in one statement."""


class SqlSessionStore:
    """Implements `sessions.ports.SessionStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open_session(self, arrival: Arrival, *, replica: str, lease_seconds: float) -> Opening:
        """Give the device's next epoch to a session; see the port."""
        async with transaction(self._engine) as connection:
            epoch = await _next_epoch(connection, arrival)
            await _take_lease(connection, arrival, epoch, replica, lease_seconds)
            known = await _remember_tools(connection, arrival.device_id, arrival.manifest)
            notice = Notice(
                kind=NoticeKind.CONNECTED, device_id=arrival.device_id, user_id=arrival.user_id, epoch=epoch
            )
            await notify(connection, [notice])
        return Opening(epoch=epoch, known=known)

    async def renew(self, epochs: Mapping[str, int], *, replica: str, lease_seconds: float) -> set[str]:
        """Extend leases; see the port."""
        renewed: set[str] = set()
        for batch in _batches(epochs):
            async with transaction(self._engine) as connection:
                seen = await _mark_seen(connection, batch)
                if not seen:
                    continue
                # A lease that another replica expired while the database was away from us comes back: what counts is
                # that the session is still the device's newest.
                leases = insert(device_leases).values(
                    [
                        {
                            "device_id": device_id,
                            "replica_address": replica,
                            "session_id": "",
                            "epoch": epochs[device_id],
                            "expires_at": func.now() + timedelta(seconds=lease_seconds),
                        }
                        for device_id in seen
                    ]
                )
                leases = leases.on_conflict_do_update(
                    index_elements=[device_leases.c.device_id],
                    set_={"expires_at": leases.excluded.expires_at},
                    where=device_leases.c.epoch == leases.excluded.epoch,
                )
                rows = await connection.execute(leases.returning(device_leases.c.device_id))
                renewed.update(row.device_id for row in rows)
        return set(epochs) - renewed

    async def release(self, epochs: Mapping[str, int]) -> None:
        """End leases of sessions that are over; see the port."""
        for batch in _batches(epochs):
            live = _live(batch)
            async with transaction(self._engine) as connection:
                await _mark_seen(connection, batch)
                mine = select(device_leases.c.device_id).join(
                    live, and_(device_leases.c.device_id == live.c.device_id, device_leases.c.epoch == live.c.epoch)
                )
                await _end_leases(connection, mine)

    async def expire(self) -> None:
        """End the leases that nobody renewed; see the port."""
        overdue = select(device_leases.c.device_id).where(device_leases.c.expires_at <= func.now())
        async with transaction(self._engine) as connection:
            await _end_leases(connection, overdue)

    async def drop_leases_of(self, replica: str) -> int:
        """End all leases of a replica; see the port."""
        held = select(device_leases.c.device_id).where(device_leases.c.replica_address == replica)
        async with transaction(self._engine) as connection:
            return await _end_leases(connection, held)

    async def save_tools(self, device_id: str, epoch: int, manifest: Manifest) -> None:
        """Remember a device's tools; see the port."""
        async with transaction(self._engine) as connection:
            changed = await connection.execute(
                update(devices)
                .where(devices.c.device_id == device_id, devices.c.session_epoch == epoch)
                .values(tools_hash=manifest.hash)
                .returning(devices.c.user_id)
            )
            row = changed.one_or_none()
            if row is None:
                return
            await _remember_tools(connection, device_id, manifest)
            notice = Notice(kind=NoticeKind.CHANGED, device_id=device_id, user_id=row.user_id, epoch=epoch)
            await notify(connection, [notice])


async def _next_epoch(connection: AsyncConnection, arrival: Arrival) -> int:
    mine = and_(devices.c.device_id == arrival.device_id, devices.c.user_id == arrival.user_id)
    opened = await connection.execute(
        update(devices)
        .where(mine, devices.c.revoked_at.is_(None))
        .values(
            session_epoch=devices.c.session_epoch + 1,
            agent_version=arrival.agent_version,
            display_name=arrival.display_name,
            root_names=list(arrival.root_names),
            tools_hash=arrival.manifest.hash,
            connected_at=func.now(),
            last_seen_at=func.now(),
        )
        .returning(devices.c.session_epoch)
    )
    row = opened.one_or_none()
    if row is not None:
        return int(row.session_epoch)
    revoked = (await connection.execute(select(devices.c.revoked_at).where(mine))).one_or_none()
    raise DeviceUnknown if revoked is None else DeviceRevoked


async def _take_lease(
    connection: AsyncConnection, arrival: Arrival, epoch: int, replica: str, lease_seconds: float
) -> None:
    lease = insert(device_leases).values(
        device_id=arrival.device_id,
        replica_address=replica,
        session_id=arrival.session_id,
        epoch=epoch,
        expires_at=func.now() + timedelta(seconds=lease_seconds),
    )
    new = lease.excluded
    await connection.execute(
        lease.on_conflict_do_update(
            index_elements=[device_leases.c.device_id],
            set_={
                "replica_address": new.replica_address,
                "session_id": new.session_id,
                "epoch": new.epoch,
                "expires_at": new.expires_at,
            },
            where=device_leases.c.epoch < new.epoch,
        )
    )


async def _remember_tools(connection: AsyncConnection, device_id: str, manifest: Manifest) -> Manifest | None:
    """Store the descriptors if they came; else return the stored ones if their hash is the device's."""
    if manifest.tools:
        row = insert(tool_manifests).values(device_id=device_id, hash=manifest.hash, tools=tools_to_json(manifest))
        await connection.execute(
            row.on_conflict_do_update(
                index_elements=[tool_manifests.c.device_id],
                set_={"hash": row.excluded.hash, "tools": row.excluded.tools, "saved_at": func.now()},
            )
        )
        return manifest
    query = select(tool_manifests.c.tools).where(
        tool_manifests.c.device_id == device_id, tool_manifests.c.hash == manifest.hash
    )
    stored = (await connection.execute(query)).one_or_none()
    return None if stored is None else manifest_of(manifest.hash, stored.tools)


async def _mark_seen(connection: AsyncConnection, batch: list[tuple[str, int]]) -> list[str]:
    """Remember that these sessions were heard from; return the devices of those that are still the newest.

    Everything that locks rows of both tables locks the devices first, each table in the order of the ids. So no two
    transactions ever wait for each other.
    """
    live = _live(batch)
    newest = (
        select(devices.c.device_id)
        .join(live, and_(devices.c.device_id == live.c.device_id, devices.c.session_epoch == live.c.epoch))
        .where(devices.c.revoked_at.is_(None))
        .order_by(devices.c.device_id)
        .with_for_update(of=devices)
        .cte("newest")
    )
    seen = await connection.execute(
        update(devices)
        .where(devices.c.device_id == newest.c.device_id)
        .values(last_seen_at=func.now())
        .returning(devices.c.device_id)
    )
    return sorted(row.device_id for row in seen)


async def _end_leases(connection: AsyncConnection, which: Select[tuple[str]]) -> int:
    """End leases and tell; return how many there were. A lease that somebody else is changing now is left to them."""
    ending = which.order_by(device_leases.c.device_id).with_for_update(of=device_leases, skip_locked=True).cte("ending")
    ended = await connection.execute(
        device_leases.delete()
        .where(device_leases.c.device_id == ending.c.device_id)
        .returning(device_leases.c.device_id, device_leases.c.epoch)
    )
    epochs = {row.device_id: row.epoch for row in ended}
    if epochs:
        owners = await connection.execute(
            select(devices.c.device_id, devices.c.user_id).where(devices.c.device_id.in_(list(epochs)))
        )
        notices = [
            Notice(
                kind=NoticeKind.DISCONNECTED, device_id=row.device_id, user_id=row.user_id, epoch=epochs[row.device_id]
            )
            for row in owners
        ]
        await notify(connection, notices)
    return len(epochs)


def _live(batch: Iterable[tuple[str, int]]) -> Values:
    return values(column("device_id", Text), column("epoch", BigInteger), name="live").data(list(batch))


def _batches(epochs: Mapping[str, int]) -> Iterable[list[tuple[str, int]]]:
    pairs = sorted(epochs.items())
    return (pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH))
