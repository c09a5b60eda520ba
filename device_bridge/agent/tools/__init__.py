"""The tools that this device offers: the table, its advertisement, and the hash that pins it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from device_bridge.agent.domain import ToolSpec
from device_bridge.agent.tools.control import CONTROL_TOOLS
from device_bridge.agent.tools.filesystem import FILE_TOOLS
from device_bridge.agent.tools.notes import NOTE_TOOLS
from device_bridge.agent.tools.projects import PROJECT_TOOLS
from device_bridge.agent.tools.tasks import TASK_TOOLS
from device_bridge.agent.tools.timelines import TIMELINE_TOOLS
from device_bridge.agent.tools.tool import Tool

BUILT_IN: tuple[Tool, ...] = (
    *FILE_TOOLS,
    *PROJECT_TOOLS,
    *TASK_TOOLS,
    *NOTE_TOOLS,
    *TIMELINE_TOOLS,
    *CONTROL_TOOLS,
)
"""Every tool of the device. Names and schemas come from here and from nowhere else."""


def catalogue() -> tuple[ToolSpec, ...]:
    """Return the tools as they are advertised, run control included."""
    return tuple(tool.spec for tool in BUILT_IN)


def manifest_hash(specs: Iterable[ToolSpec]) -> str:
    """Return the SHA-256, in hex, of what the tools promise. Independent of their order; any other change shows."""
    table = [
        {
            "name": spec.name,
            "description": spec.description,
            "toolset": spec.toolset,
            "effect": spec.effect.value,
            "input_schema": spec.input_schema,
            "timeout_seconds": spec.timeout_seconds,
            "max_result_bytes": spec.max_result_bytes,
        }
        for spec in sorted(specs, key=lambda spec: spec.name)
    ]
    return hashlib.sha256(json.dumps(table, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
