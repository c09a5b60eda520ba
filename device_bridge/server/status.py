"""The status codes of the bridge's own errors, beside those of the kit."""

from __future__ import annotations

from typing import Final

import grpc

from adiuva_rpc.status import BASE_STATUS, ErrorTable
from device_bridge.server.errors import CallCancelled

STATUSES: Final = BASE_STATUS | ErrorTable({CallCancelled: grpc.StatusCode.CANCELLED})
"""All other errors have the code of the class that they come from."""
