"""The verdict of the pure name layer, for platforms that this machine is not."""

from __future__ import annotations

from device_bridge.agent.domain import ToolError
from device_bridge.agent.sandbox.names import Platform
from device_bridge.agent.sandbox.paths import parse


def verdict(path: str, platform: Platform) -> str:
    """Return OK, or the reason for which `path` is refused on `platform` before anything is opened."""
    try:
        parse(path, platform=platform)
    except ToolError as error:
        return error.reason.value
    return "OK"
