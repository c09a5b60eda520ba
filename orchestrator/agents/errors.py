"""What can go wrong with agents, beyond a wrong field or an unknown agent."""

from __future__ import annotations

from adiuva_rpc.errors import Aborted, AlreadyExists, FailedPrecondition


class RequestIdReused(AlreadyExists):
    """This request_id was used for another request. Use a new one."""

    reason = "REQUEST_ID_REUSED"


class ClientAgentIdTaken(AlreadyExists):
    """The user has another agent with this client_agent_id."""

    reason = "CLIENT_AGENT_ID_TAKEN"


class AgentEtagStale(Aborted):
    """The agent was changed since it was read. Read it again, then decide."""

    reason = "AGENT_ETAG_STALE"


class NoSchedule(FailedPrecondition):
    """The agent has no schedule."""

    reason = "NO_SCHEDULE"


class ScheduleInvalid(FailedPrecondition):
    """The agent's stored schedule is not valid. Update it first."""

    reason = "SCHEDULE_INVALID"
