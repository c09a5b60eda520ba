"""AgentService on the wire: parse, call, convert."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf.message import Message

from adiuva.orchestrator.v1 import agent_service_pb2 as pb, agent_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import current_caller, user_for
from orchestrator.agents.conversion import (
    after_from_proto,
    agent_to_proto,
    definition_from_proto,
    edit_from_proto,
    firing_to_proto,
    request_hash,
    schedule_from_proto,
)
from orchestrator.agents.ports import Mutation
from orchestrator.agents.rules import check_request_id
from orchestrator.agents.service import AgentService, key_of
from orchestrator.paging import decode_token, encode_token, fitting, page_size

Context = grpc.aio.ServicerContext[Any, Any]


class AgentServicer(pb_grpc.AgentServiceServicer):
    """Serves agents to the caller's user."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def CreateAgent(self, request: pb.CreateAgentRequest, context: Context) -> pb.CreateAgentResponse:
        """Store a new agent."""
        view = await self._service.create(
            _mutation(request, request.request_id),
            definition_from_proto(request.definition),
            schedule_from_proto(request.schedule) if request.HasField("schedule") else None,
            validate_only=request.validate_only,
        )
        return pb.CreateAgentResponse(agent=agent_to_proto(view))

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        """Give one agent."""
        view = await self._service.get(user_for(current_caller()), _agent_id(request.agent_id))
        return pb.GetAgentResponse(agent=agent_to_proto(view))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """Give a page of agents."""
        user_id = user_for(current_caller())
        views, more = await self._service.page(
            user_id,
            limit=page_size(request.page_size),
            before=decode_token("agents", user_id, request.page_token) if request.page_token else None,
        )
        agents = list(map(agent_to_proto, views))
        if (fit := fitting(agent.ByteSize() for agent in agents)) < len(agents):
            more = key_of(views[fit - 1])
        return pb.ListAgentsResponse(
            agents=agents[:fit], next_page_token=encode_token("agents", user_id, more) if more else ""
        )

    async def UpdateAgent(self, request: pb.UpdateAgentRequest, context: Context) -> pb.UpdateAgentResponse:
        """Change an agent."""
        view = await self._service.update(
            _mutation(request, request.request_id),
            _agent_id(request.agent_id),
            edit_from_proto(request),
            etag=request.etag,
            validate_only=request.validate_only,
        )
        return pb.UpdateAgentResponse(agent=agent_to_proto(view))

    async def DeleteAgent(self, request: pb.DeleteAgentRequest, context: Context) -> pb.DeleteAgentResponse:
        """Delete an agent."""
        mutation = _mutation(request, request.request_id)
        await self._service.delete(mutation, _agent_id(request.agent_id), etag=request.etag)
        return pb.DeleteAgentResponse()

    async def PauseAgent(self, request: pb.PauseAgentRequest, context: Context) -> pb.PauseAgentResponse:
        """Stop an agent's schedule."""
        mutation = _mutation(request, request.request_id)
        view = await self._service.pause(mutation, _agent_id(request.agent_id), request.reason)
        return pb.PauseAgentResponse(agent=agent_to_proto(view))

    async def ResumeAgent(self, request: pb.ResumeAgentRequest, context: Context) -> pb.ResumeAgentResponse:
        """Let an agent's schedule go on."""
        view = await self._service.resume(_mutation(request, request.request_id), _agent_id(request.agent_id))
        return pb.ResumeAgentResponse(agent=agent_to_proto(view))

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest, context: Context) -> pb.PreviewScheduleResponse:
        """Tell the next firings."""
        user_id, after = user_for(current_caller()), after_from_proto(request)
        match request.WhichOneof("subject"):
            case "agent_id":
                agent_id = _agent_id(request.agent_id)
                firings = await self._service.preview(user_id, agent_id, count=request.count, after=after)
            case "schedule":
                schedule = schedule_from_proto(request.schedule)
                firings = self._service.preview_schedule(schedule, count=request.count, after=after)
            case _:
                raise InvalidArgument("subject", "set agent_id or schedule")
        return pb.PreviewScheduleResponse(firings=map(firing_to_proto, firings))


def _mutation(request: Message, request_id: str) -> Mutation:
    check_request_id(request_id)
    return Mutation(
        user_id=user_for(current_caller()), request_id=request_id.lower(), request_hash=request_hash(request)
    )


def _agent_id(value: str) -> str:
    if not value:
        raise InvalidArgument("agent_id", "is required")
    return value
