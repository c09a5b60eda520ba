"""Which role may call each method. A method that is not here is refused; a test compares it with the contracts."""

from __future__ import annotations

from adiuva_rpc.identity import Policy, Role, only

_CALLERS = only(Role.SERVICE, Role.USER)

SESSION_SERVICE = "adiuva.device_bridge.v1.DeviceSessionService"
TOOL_SERVICE = "adiuva.device_bridge.v1.ToolService"
DEVICE_SERVICE = "adiuva.device_bridge.v1.DeviceService"

DEVICE_POLICY: Policy = {
    f"/{SESSION_SERVICE}/Connect": only(Role.DEVICE, Role.ENROLLING),
}
"""Of the public port, which offers nothing else."""

INTERNAL_POLICY: Policy = {
    f"/{TOOL_SERVICE}/Execute": _CALLERS,
    f"/{TOOL_SERVICE}/CallTool": _CALLERS,
    f"/{TOOL_SERVICE}/GetCall": _CALLERS,
    f"/{TOOL_SERVICE}/CancelCall": _CALLERS,
    f"/{DEVICE_SERVICE}/ListDevices": _CALLERS,
    f"/{DEVICE_SERVICE}/GetDevice": _CALLERS,
    f"/{DEVICE_SERVICE}/ListTools": _CALLERS,
    f"/{DEVICE_SERVICE}/WatchDevices": _CALLERS,
    f"/{DEVICE_SERVICE}/CreateEnrolmentCode": _CALLERS,
    f"/{DEVICE_SERVICE}/RevokeDevice": _CALLERS,
    f"/{DEVICE_SERVICE}/DisconnectDevice": _CALLERS,
}
