"""RunService on the wire: parse, call, convert."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from typing import Any

import grpc.aio

from adiuva.orchestrator.v1 import run_service_pb2 as pb, run_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument, NotFound
from adiuva_rpc.identity import current_caller, user_for
from orchestrator.agents.conversion import definition_from_proto
from orchestrator.agents.domain import AgentDefinition
from orchestrator.agents.rules import check_definition
from orchestrator.paging import decode_token, encode_token, fitting, page_size
from orchestrator.runs.conversion import (
    alive,
    event_to_proto,
    planned_run_to_proto,
    run_to_proto,
    state_from_proto,
    trigger_from_proto,
)
from orchestrator.runs.events import StoredEvent
from orchestrator.runs.ports import RunQuery
from orchestrator.runs.service import DEFAULT_WAIT, RunService, StartRun

MAX_REASON_CHARS = 500
Context = grpc.aio.ServicerContext[Any, Any]


class RunServicer(pb_grpc.RunServiceServicer):
    """Serves runs to the caller's user."""

    def __init__(self, service: RunService) -> None:
        self._service = service

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:
        """Create a run."""
        user_id = user_for(current_caller())
        trigger = trigger_from_proto(request.trigger)
        answer = await self._service.start(
            StartRun(
                user_id=user_id,
                request_id=_request_id(request.request_id),
                request_hash=hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest(),
                subject=_subject(request),
                trigger=trigger,
                validate_only=request.validate_only,
            )
        )
        if isinstance(answer, AgentDefinition):
            return pb.StartRunResponse(run=planned_run_to_proto(user_id, answer, trigger))
        return pb.StartRunResponse(run=run_to_proto(answer, full=True))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """Give one run."""
        record = await self._service.get(user_for(current_caller()), _run_id(request.run_id))
        return pb.GetRunResponse(run=run_to_proto(record, full=request.view != pb.RUN_VIEW_BASIC))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Give a page of runs."""
        user_id = user_for(current_caller())
        states = frozenset(state_from_proto(state) for state in request.states)
        if not request.agent_id.isprintable():
            raise InvalidArgument("agent_id", "is not the id of an agent")
        fingerprint = f"{user_id}|{request.agent_id}|{','.join(sorted(state.value for state in states))}"
        limit = page_size(request.page_size)
        before = decode_token("runs", fingerprint, request.page_token) if request.page_token else None
        records = await self._service.page(
            RunQuery(user_id=user_id, agent_id=request.agent_id, states=states, limit=limit + 1, before=before)
        )
        runs = [run_to_proto(record, full=request.view == pb.RUN_VIEW_FULL) for record in records[:limit]]
        runs = runs[: fitting(run.ByteSize() for run in runs)]
        last = records[len(runs) - 1].run if len(records) > len(runs) else None
        return pb.ListRunsResponse(
            runs=runs,
            next_page_token=encode_token("runs", fingerprint, (last.created_at, last.run_id)) if last else "",
        )

    async def WaitRun(self, request: pb.WaitRunRequest, context: Context) -> pb.WaitRunResponse:
        """Wait for a run's end."""
        timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else DEFAULT_WAIT
        if timeout < timedelta(0):
            raise InvalidArgument("timeout", "must not be negative")
        # The answer has to be on its way before the caller gives up.
        remaining = context.time_remaining()
        if remaining is not None:
            timeout = min(timeout, timedelta(seconds=max(0.0, remaining - 0.5)))
        record = await self._service.wait(user_for(current_caller()), _run_id(request.run_id), timeout)
        return pb.WaitRunResponse(run=run_to_proto(record, full=True))

    # grpc.aio also takes a coroutine that writes: its clean-up runs where it was started.
    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> None:  # type: ignore[override]
        """Stream a run's events."""
        if request.after_seq < 0:
            raise InvalidArgument("after_seq", "must not be negative")
        seq = request.after_seq

        async def tell(entry: StoredEvent | None) -> None:
            nonlocal seq
            if entry is None:
                await context.write(pb.WatchRunResponse(event=alive(seq)))
                return
            seq = entry.seq
            for event in event_to_proto(entry):
                await context.write(pb.WatchRunResponse(event=event))

        await self._service.watch(user_for(current_caller()), _run_id(request.run_id), seq, tell)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """Ask for a run's end."""
        _request_id(request.request_id)
        if len(request.reason) > MAX_REASON_CHARS:
            raise InvalidArgument("reason", f"must be at most {MAX_REASON_CHARS} characters")
        record = await self._service.cancel(user_for(current_caller()), _run_id(request.run_id), request.reason)
        return pb.CancelRunResponse(run=run_to_proto(record, full=True))


def _subject(request: pb.StartRunRequest) -> str | AgentDefinition:
    match request.WhichOneof("subject"):
        case "agent_id" if request.agent_id:
            return request.agent_id
        case "definition":
            definition = definition_from_proto(request.definition)
            check_definition(definition, inline=True)
            return definition
        case _:
            raise InvalidArgument("subject", "set agent_id or definition")


def _request_id(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise InvalidArgument("request_id", "must be a UUID; make a new one for each new request") from None


def _run_id(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        if not value:
            raise InvalidArgument("run_id", "is required") from None
        raise NotFound("run") from None
