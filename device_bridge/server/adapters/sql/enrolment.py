"""Enrolment codes and device credentials, by their hashes."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from device_bridge.server.adapters.sql.engine import transaction
from device_bridge.server.adapters.sql.notices import notify
from device_bridge.server.adapters.sql.tables import devices, enrolment_codes
from device_bridge.server.devices.domain import Notice, NoticeKind
from device_bridge.server.enrolment.ports import CredentialMaker, DeviceCredential, NewDevice
from device_bridge.server.errors import CodeRefused, CodeShownOnce, TooManyCodes

_KEEP_EXPIRED = timedelta(days=1)
_RETRY_AFTER = 60.0
_GOOD = and_(
    enrolment_codes.c.expires_at > func.now(),
    or_(
        enrolment_codes.c.device_id.is_(None),
        and_(devices.c.credential_used_at.is_(None), devices.c.revoked_at.is_(None)),
    ),
)
"""A code may be redeemed: it is young, and nobody has come in with what it led to."""
_WITH_DEVICE = enrolment_codes.outerjoin(devices, devices.c.device_id == enrolment_codes.c.device_id)


class SqlEnrolmentStore:
    """Implements `enrolment.ports.EnrolmentStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add_code(
        self, user_id: str, *, request_id: str, sha256: str, lifetime: float, max_unused: int
    ) -> datetime:
        """Remember a code; see the port."""
        mine = enrolment_codes.c.user_id == user_id
        async with transaction(self._engine) as connection:
            # One code of a user at a time, or two requests could both find the last free place.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"enrolment {user_id}"}
            )
            await connection.execute(
                enrolment_codes.delete().where(mine, enrolment_codes.c.expires_at < func.now() - _KEEP_EXPIRED)
            )
            repeated = select(enrolment_codes.c.request_id).where(mine, enrolment_codes.c.request_id == request_id)
            if (await connection.execute(repeated)).one_or_none() is not None:
                raise CodeShownOnce
            unused = (
                select(func.count())
                .select_from(enrolment_codes)
                .where(mine, enrolment_codes.c.expires_at > func.now(), enrolment_codes.c.device_id.is_(None))
            )
            if (await connection.execute(unused)).scalar_one() >= max_unused:
                raise TooManyCodes(retry_after=_RETRY_AFTER)
            added = await connection.execute(
                insert(enrolment_codes)
                .values(
                    code_sha256=sha256,
                    user_id=user_id,
                    request_id=request_id,
                    expires_at=func.now() + timedelta(seconds=lifetime),
                )
                .returning(enrolment_codes.c.expires_at)
            )
            expires_at: datetime = added.scalar_one()
            return expires_at

    async def code_is_good(self, sha256: str) -> bool:
        """Tell whether a code may still be redeemed; see the port."""
        query = (
            select(enrolment_codes.c.code_sha256)
            .select_from(_WITH_DEVICE)
            .where(enrolment_codes.c.code_sha256 == sha256, _GOOD)
        )
        async with transaction(self._engine) as connection:
            return (await connection.execute(query)).one_or_none() is not None

    async def redeem(self, sha256: str, device: NewDevice, *, credential_of: CredentialMaker) -> tuple[str, str]:
        """Redeem a code; see the port."""
        lock = select(enrolment_codes.c.code_sha256).where(enrolment_codes.c.code_sha256 == sha256).with_for_update()
        query = (
            select(enrolment_codes.c.user_id, enrolment_codes.c.device_id, devices.c.installation_id)
            .select_from(_WITH_DEVICE)
            .where(enrolment_codes.c.code_sha256 == sha256, _GOOD)
        )
        async with transaction(self._engine) as connection:
            # The lock is a statement of its own: a query that waited for it would still see the device as it was.
            await connection.execute(lock)
            code = (await connection.execute(query)).one_or_none()
            if code is None or code.installation_id not in {None, device.installation_id}:
                raise CodeRefused
            if code.device_id is None:
                await _make(connection, code.user_id, device, sha256, credential_of(device.device_id))
                return device.device_id, code.user_id
            replaced = await connection.execute(
                update(devices)
                .where(devices.c.device_id == code.device_id, devices.c.credential_used_at.is_(None))
                .values(credential_sha256=credential_of(code.device_id), display_name=device.display_name)
                .returning(devices.c.device_id)
            )
            if replaced.one_or_none() is None:
                raise CodeRefused
            return code.device_id, code.user_id

    async def credential(self, device_id: str) -> DeviceCredential | None:
        """Return what is known about a device's credential; see the port."""
        query = select(
            devices.c.user_id,
            devices.c.credential_sha256,
            devices.c.credential_used_at.is_not(None).label("used"),
            devices.c.revoked_at.is_not(None).label("revoked"),
        ).where(devices.c.device_id == device_id)
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return DeviceCredential(
            device_id=device_id, user_id=row.user_id, sha256=row.credential_sha256, used=row.used, revoked=row.revoked
        )

    async def mark_used(self, device_id: str, sha256: str) -> bool:
        """The credential has authenticated; see the port."""
        async with transaction(self._engine) as connection:
            marked = await connection.execute(
                update(devices)
                .where(devices.c.device_id == device_id, devices.c.credential_sha256 == sha256)
                .values(credential_used_at=func.coalesce(devices.c.credential_used_at, func.now()))
                .returning(devices.c.device_id)
            )
            return marked.one_or_none() is not None


async def _make(connection: AsyncConnection, user_id: str, device: NewDevice, code: str, credential: str) -> None:
    await connection.execute(
        insert(devices).values(
            device_id=device.device_id,
            user_id=user_id,
            installation_id=device.installation_id,
            display_name=device.display_name,
            credential_sha256=credential,
        )
    )
    await connection.execute(
        update(enrolment_codes).where(enrolment_codes.c.code_sha256 == code).values(device_id=device.device_id)
    )
    await notify(connection, [Notice(kind=NoticeKind.CHANGED, device_id=device.device_id, user_id=user_id, epoch=0)])
