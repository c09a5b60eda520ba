"""Which role may call each method. A method that is not here is refused; a test compares it with the contracts."""

from __future__ import annotations

from adiuva_rpc.identity import Policy, Role, only

_CALLERS = only(Role.SERVICE, Role.USER)
_OPERATORS = only(Role.SERVICE)

CONNECTION_SERVICE = "adiuva.connectors.v1.ConnectionService"
MESSAGE_SERVICE = "adiuva.connectors.v1.MessageService"
ADMIN_SERVICE = "adiuva.connectors.v1.AdminService"

POLICY: Policy = {
    f"/{CONNECTION_SERVICE}/BeginAuthorization": _CALLERS,
    f"/{CONNECTION_SERVICE}/CompleteAuthorization": _CALLERS,
    f"/{CONNECTION_SERVICE}/PollDeviceAuthorization": _CALLERS,
    f"/{CONNECTION_SERVICE}/Reauthorize": _CALLERS,
    f"/{CONNECTION_SERVICE}/ListConnections": _CALLERS,
    f"/{CONNECTION_SERVICE}/GetConnection": _CALLERS,
    f"/{CONNECTION_SERVICE}/TestConnection": _CALLERS,
    f"/{CONNECTION_SERVICE}/Disconnect": _CALLERS,
    f"/{CONNECTION_SERVICE}/WatchConnections": _CALLERS,
    f"/{MESSAGE_SERVICE}/FetchMessages": _CALLERS,
    f"/{MESSAGE_SERVICE}/CommitCursor": _CALLERS,
    f"/{MESSAGE_SERVICE}/GetAttachment": _CALLERS,
    f"/{ADMIN_SERVICE}/RotateKeys": _OPERATORS,
    f"/{ADMIN_SERVICE}/ListQuarantinedMessages": _OPERATORS,
    f"/{ADMIN_SERVICE}/RetryQuarantinedMessages": _OPERATORS,
    f"/{ADMIN_SERVICE}/ListAuditEvents": _OPERATORS,
}
