"""ToolService: calls of tools on devices."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import grpc.aio

from adiuva.device_bridge.v1 import tool_service_pb2 as pb, tool_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import current_caller, user_for
from adiuva_rpc.status import ErrorTable
from device_bridge.server.errors import CallUnknown, DeviceUnknown
from device_bridge.server.routing.arguments import check_call, check_call_id
from device_bridge.server.routing.calls import CallTable, Stage
from device_bridge.server.routing.conversion import (
    call_from_proto,
    outcome_to_proto,
    recorded_outcome,
    rejected_to_proto,
    whole_outcome_to_proto,
)
from device_bridge.server.routing.domain import Answer, Call, Finished, Rejected
from device_bridge.server.routing.execute import ExecuteStream, ExecuteStreams

ASK_DEVICE_SECONDS = 10.0
"""For asking a device about a call that the bridge does not remember."""
GET_CALL = "get_call"
"""The control tool of a device that knows what its ledger recorded."""

_ExecuteContext = grpc.aio.ServicerContext[pb.ExecuteRequest, pb.ExecuteResponse]


class ToolServicer(pb_grpc.ToolServiceServicer):
    """Translates between the wire and the call table.

    Args:
        table: The calls.
        streams: What the Execute streams share.
        statuses: Status codes of errors.
        clock: Monotonic seconds.
    """

    def __init__(
        self, *, table: CallTable, streams: ExecuteStreams, statuses: ErrorTable, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._streams = streams
        self._statuses = statuses
        self._clock = clock

    async def Execute(  # type: ignore[override]  # a coroutine that writes, where the stub knows generators only
        self, _requests: AsyncIterator[pb.ExecuteRequest], context: _ExecuteContext
    ) -> None:
        """Carry the calls of one stream."""
        await ExecuteStream(self._streams, context, current_caller()).run()

    async def CallTool(
        self, request: pb.CallToolRequest, context: grpc.aio.ServicerContext[pb.CallToolRequest, pb.CallToolResponse]
    ) -> pb.CallToolResponse:
        """Run one call and wait for its outcome."""
        if not request.HasField("call"):
            raise InvalidArgument("call", "is required")
        user_id = user_for(current_caller(), request.call.user_id)
        call = call_from_proto(request.call, user_id=user_id, call_id=str(uuid.uuid4()))
        check_call(call)
        finished = await self._finish(call)
        return pb.CallToolResponse(
            call_id=call.call_id,
            outcome=whole_outcome_to_proto(finished.outcome),
            device_id=finished.device_id,
            session_epoch=finished.epoch,
        )

    async def GetCall(
        self, request: pb.GetCallRequest, context: grpc.aio.ServicerContext[pb.GetCallRequest, pb.GetCallResponse]
    ) -> pb.GetCallResponse:
        """Tell how a call stands."""
        check_call_id(request.call_id)
        user_id = user_for(current_caller(), request.user_id)
        match self._table.standing(user_id, request.call_id, self._clock()):
            case Stage.WAITING:
                return pb.GetCallResponse(call_id=request.call_id, state=pb.CALL_STATE_WAITING)
            case Stage.RUNNING:
                return pb.GetCallResponse(call_id=request.call_id, state=pb.CALL_STATE_RUNNING)
            case Finished(outcome):
                return pb.GetCallResponse(
                    call_id=request.call_id, state=pb.CALL_STATE_FINISHED, outcome=outcome_to_proto(outcome)
                )
            case Rejected() as rejected:
                return pb.GetCallResponse(
                    call_id=request.call_id,
                    state=pb.CALL_STATE_REJECTED,
                    rejected=rejected_to_proto(rejected, self._statuses),
                )
            case None:
                return await self._ask_device(request, user_id)

    async def CancelCall(
        self,
        request: pb.CancelCallRequest,
        context: grpc.aio.ServicerContext[pb.CancelCallRequest, pb.CancelCallResponse],
    ) -> pb.CancelCallResponse:
        """Ask for the end of a call."""
        check_call_id(request.call_id)
        user_id = user_for(current_caller(), request.user_id)
        return pb.CancelCallResponse(was_running=self._table.cancel(user_id, request.call_id))

    async def _ask_device(self, request: pb.GetCallRequest, user_id: str) -> pb.GetCallResponse:
        question = pb.GetCallRequest(call_id=request.call_id)
        call = Call(
            user_id=user_id,
            call_id=f"get-call.{uuid.uuid4()}",
            device_id=request.device_id,
            tool=GET_CALL,
            arguments_json=f'{{"call_id":"{question.call_id}"}}',
            timeout=ASK_DEVICE_SECONDS,
        )
        check_call(call)
        try:
            outcome = whole_outcome_to_proto((await self._finish(call)).outcome)
        except DeviceUnknown:
            raise CallUnknown from None
        recorded = recorded_outcome(outcome.result_json) if outcome.HasField("result_json") else None
        if recorded is None:
            raise CallUnknown
        return pb.GetCallResponse(call_id=request.call_id, state=pb.CALL_STATE_FINISHED, outcome=recorded)

    async def _finish(self, call: Call) -> Finished:
        """Run a call to its end; a caller that leaves, leaves the call too."""
        waiter = _FutureWaiter()
        self._table.submit(call, waiter, self._clock())
        try:
            answer = await waiter.answer
        finally:
            self._table.leave(call.user_id, call.call_id, waiter)
        if isinstance(answer, Rejected):
            raise answer.error
        return answer


class _FutureWaiter:
    """Waits for one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def ended(self, _call: Call, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
