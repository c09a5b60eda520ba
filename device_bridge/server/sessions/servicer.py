"""DeviceSessionService: the stream of one device, from its credential to its status."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import structlog

from adiuva.device_bridge.v1 import session_service_pb2 as pb, session_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.identity import Caller, Role, current_caller
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.sessions.admission import Admission, Newcomer
from device_bridge.server.sessions.conversion import frame_from_proto, frame_to_proto
from device_bridge.server.sessions.domain import BridgeItem, Frame, Hello
from device_bridge.server.sessions.ports import SessionStore
from device_bridge.server.sessions.pump import PeerGone, SessionPump
from device_bridge.server.sessions.registry import Sessions
from device_bridge.server.sessions.session import Session, Surroundings

_log = structlog.get_logger(__name__)

_Context = grpc.aio.ServicerContext[pb.ConnectRequest, pb.ConnectResponse]


class DeviceSessionServicer(pb_grpc.DeviceSessionServiceServicer):
    """Holds the sessions of devices.

    Args:
        shared: What all sessions share.
        admission: Lets devices in.
        sessions: Who is here.
        store: Where tools are saved.
    """

    def __init__(self, *, shared: Surroundings, admission: Admission, sessions: Sessions, store: SessionStore) -> None:
        self._shared = shared
        self._admission = admission
        self._sessions = sessions
        self._store = store

    async def Connect(  # type: ignore[override]  # a coroutine that writes, where the stub knows generators only
        self, _requests: AsyncIterator[pb.ConnectRequest], context: _Context
    ) -> None:
        """Hold one session until it ends."""
        newcomer = newcomer_of(current_caller())
        self._admission.enter()
        session = Session(self._shared)

        async def admit(session: Session, hello: Hello) -> None:
            await self._admission.admit(session, newcomer, hello)

        pump = SessionPump(
            session,
            _GrpcStream(context, self._shared),
            limits=self._shared.limits,
            admit=admit,
            save_tools=self._save_tools,
            clock=self._shared.clock,
        )
        try:
            await pump.run()
        finally:
            self._sessions.detach(session)
            self._admission.leave()
            _log.info("session over", device_id=session.device_id, epoch=session.epoch)

    async def _save_tools(self, session: Session, manifest: Manifest) -> None:
        try:
            await self._store.save_tools(session.device_id, session.epoch, manifest)
        except AdiuvaError as error:
            # The session lives on without: the next Hello is asked for its tools again.
            _log.warning("tools not saved", device_id=session.device_id, reason=error.reason)


def newcomer_of(caller: Caller) -> Newcomer:
    """Return who dials. The policy table lets nobody else through."""
    if caller.role is Role.ENROLLING:
        return Newcomer(code=caller.code or "")
    return Newcomer(user_id=caller.user_id or "", device_id=caller.device_id or "")


class _GrpcStream:
    """The stream in domain terms."""

    def __init__(self, context: _Context, shared: Surroundings) -> None:
        self._context = context
        self._shared = shared

    async def read(self) -> Frame | None:
        message: object = await self._context.read()
        # At the end of the device's side it is grpc.aio.EOF.
        return frame_from_proto(message) if isinstance(message, pb.ConnectRequest) else None

    def encode(self, seq: int, items: list[BridgeItem]) -> pb.ConnectResponse:
        return frame_to_proto(seq, items, limits=self._shared.limits, now=self._shared.clock())

    async def write(self, message: pb.ConnectResponse) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.InternalError:
            # What grpc.aio raises for a write to a peer that left.
            raise PeerGone from None
