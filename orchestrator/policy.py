"""Which role may call each method. A method that is not here is refused; a test compares it with the contracts."""

from __future__ import annotations

from adiuva_rpc.identity import Policy, Role, only

_CALLERS = only(Role.SERVICE, Role.USER)

AGENT_SERVICE = "adiuva.orchestrator.v1.AgentService"
RUN_SERVICE = "adiuva.orchestrator.v1.RunService"

POLICY: Policy = {
    f"/{AGENT_SERVICE}/CreateAgent": _CALLERS,
    f"/{AGENT_SERVICE}/GetAgent": _CALLERS,
    f"/{AGENT_SERVICE}/ListAgents": _CALLERS,
    f"/{AGENT_SERVICE}/UpdateAgent": _CALLERS,
    f"/{AGENT_SERVICE}/DeleteAgent": _CALLERS,
    f"/{AGENT_SERVICE}/PauseAgent": _CALLERS,
    f"/{AGENT_SERVICE}/ResumeAgent": _CALLERS,
    f"/{AGENT_SERVICE}/PreviewSchedule": _CALLERS,
    f"/{RUN_SERVICE}/StartRun": _CALLERS,
    f"/{RUN_SERVICE}/GetRun": _CALLERS,
    f"/{RUN_SERVICE}/ListRuns": _CALLERS,
    f"/{RUN_SERVICE}/WaitRun": _CALLERS,
    f"/{RUN_SERVICE}/WatchRun": _CALLERS,
    f"/{RUN_SERVICE}/CancelRun": _CALLERS,
}
