"""`adiuva devices`: list, show, enrol and revoke devices, and call their tools. A client of the bridge."""

from __future__ import annotations

from device_bridge.cli.commands import app

__all__ = ["app"]
