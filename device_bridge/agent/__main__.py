"""`python -m device_bridge.agent`: the same as `adiuva device`, without the rest of the command line."""

from __future__ import annotations

from adiuva_rpc.supervision import end_with_supervisor
from device_bridge.agent.cli.device import app

if __name__ == "__main__":
    end_with_supervisor()
    app(prog_name="adiuva device")
