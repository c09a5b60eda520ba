"""Requests that were served: the same request_id gets its first answer again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.tables import requests
from orchestrator.agents.errors import RequestIdReused

REQUEST_LIFETIME = timedelta(hours=24)


async def remember_request(
    connection: AsyncConnection, user_id: str, request_id: str, request_hash: str, answer_id: str
) -> str:
    """Return `answer_id` when the request is new, or the id that the same request got before.

    Two transactions with one request_id wait for each other here, so only one of them does the work.

    Raises:
        RequestIdReused: the request_id was used for another request.
    """
    known = await recall_request(connection, user_id, request_id, request_hash, answer_id)
    return answer_id if known is None else known


async def recall_request(
    connection: AsyncConnection, user_id: str, request_id: str, request_hash: str, answer_id: str
) -> str | None:
    """Return None when the request is new, and remember it with `answer_id`; else the id that it got before.

    For changes, whose answer_id is the same both times. Otherwise as `remember_request`.
    """
    now = datetime.now(UTC)
    await connection.execute(
        requests.delete().where(requests.c.user_id == user_id, requests.c.at < now - REQUEST_LIFETIME)
    )
    inserted = await connection.execute(
        upsert(requests)
        .values(user_id=user_id, request_id=request_id, request_hash=request_hash, answer_id=answer_id, at=now)
        .on_conflict_do_nothing()
        .returning(requests.c.answer_id)
    )
    if inserted.one_or_none() is not None:
        return None
    known = (
        await connection.execute(
            select(requests.c.request_hash, requests.c.answer_id).where(
                requests.c.user_id == user_id, requests.c.request_id == request_id
            )
        )
    ).one()
    if known.request_hash != request_hash:
        raise RequestIdReused
    return str(known.answer_id)
