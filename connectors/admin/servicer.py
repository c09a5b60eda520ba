"""AdminService on the wire: parse, call, convert."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

import grpc.aio

from adiuva.connectors.v1 import admin_service_pb2 as pb, admin_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import current_caller
from connectors.admin.conversion import event_to_proto, quarantined_to_proto, rotated_to_proto
from connectors.admin.errors import NotInQuarantine
from connectors.admin.ports import AuditTrail, Now, QuarantineDesk
from connectors.admin.rotating import KeyRotation
from connectors.paging import decode_token, encode_token, fitting, page_size

MAX_RETRIES: Final = 1_000
ROTATION_SECONDS: Final = 60.0
"""Of one call, at the most."""
MARGIN_SECONDS: Final = 5.0

_CONNECTION_ID = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_EVENT_ID = re.compile(r"[0-9]{1,18}")
_QUARANTINE_ID = re.compile(r"[0-9a-f]{32}")

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(pb_grpc.AdminServiceServicer):
    """Serves the operator: all users, or the one whom the caller names.

    Args:
        rotation: Of the keys.
        quarantine: The messages that could not be read.
        audit: What was done to grants.
        now: The present time.
    """

    def __init__(self, *, rotation: KeyRotation, quarantine: QuarantineDesk, audit: AuditTrail, now: Now) -> None:
        self._rotation = rotation
        self._quarantine = quarantine
        self._audit = audit
        self._now = now

    async def RotateKeys(self, request: pb.RotateKeysRequest, context: Context) -> pb.RotateKeysResponse:
        """Put grants under the newest key."""
        seconds, remaining = ROTATION_SECONDS, context.time_remaining()
        if remaining is not None:
            seconds = min(max(0.0, remaining - MARGIN_SECONDS), seconds)
        until = self._now() + timedelta(seconds=seconds)
        return rotated_to_proto(await self._rotation.rotate(actor=current_caller().name, until=until))

    async def ListQuarantinedMessages(
        self, request: pb.ListQuarantinedMessagesRequest, context: Context
    ) -> pb.ListQuarantinedMessagesResponse:
        """Give a page of the messages that could not be read."""
        user_id, connection_id = current_caller().acting_for, _connection_id(request.connection_id)
        size, query = page_size(request.page_size), f"{user_id or ''}\0{connection_id}"
        found = await self._quarantine.page(
            user_id=user_id,
            connection_id=connection_id,
            limit=size + 1,
            after=decode_token("quarantine", query, request.page_token),
        )
        messages = [quarantined_to_proto(one) for one in found[:size]]
        messages = messages[: fitting(one.ByteSize() for one in messages)]
        more = ""
        if len(messages) < len(found):
            last = found[len(messages) - 1]
            more = encode_token("quarantine", query, (last.first_tried_at, last.quarantine_id))
        return pb.ListQuarantinedMessagesResponse(messages=messages, next_page_token=more)

    async def RetryQuarantinedMessages(
        self, request: pb.RetryQuarantinedMessagesRequest, context: Context
    ) -> pb.RetryQuarantinedMessagesResponse:
        """Have messages tried again."""
        if not 1 <= len(request.quarantine_ids) <= MAX_RETRIES:
            raise InvalidArgument("quarantine_ids", f"must be 1 to {MAX_RETRIES} ids")
        if not all(_QUARANTINE_ID.fullmatch(one) for one in request.quarantine_ids):
            raise NotInQuarantine
        asked = await self._quarantine.request_retry(request.quarantine_ids, user_id=current_caller().acting_for)
        return pb.RetryQuarantinedMessagesResponse(requested=asked)

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        """Give a page of the audit trail."""
        user_id, connection_id = current_caller().acting_for, _connection_id(request.connection_id)
        size, query = page_size(request.page_size), f"{user_id or ''}\0{connection_id}"
        after = decode_token("audit", query, request.page_token)
        if after is not None and not _EVENT_ID.fullmatch(after[1]):
            raise InvalidArgument("page_token", "this is no token of this query; begin again without one")
        found = await self._audit.page(
            user_id=user_id,
            connection_id=connection_id,
            limit=size + 1,
            before="" if after is None else after[1],
        )
        events = [event_to_proto(one) for one in found[:size]]
        events = events[: fitting(one.ByteSize() for one in events)]
        more = ""
        if len(events) < len(found):
            last = found[len(events) - 1]
            more = encode_token("audit", query, (last.at, last.event_id))
        return pb.ListAuditEventsResponse(events=events, next_page_token=more)


def _connection_id(named: str) -> str:
    if not _CONNECTION_ID.fullmatch(named):
        raise InvalidArgument("connection_id", "is not the id of a connection")
    return named
