"""The reference device agent's tools and database behind the port that runs use, without a bridge between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from device_bridge.agent.domain import Outcome, RunContext, ToolCall
from device_bridge.agent.tools import catalogue
from orchestrator.runs.domain import (
    DeviceCall,
    Effect,
    EffectClass,
    EffectKind,
    ToolFailure,
    ToolOutcome,
    ToolSpec,
)
from orchestrator.runs.ports import DeviceInfo, ToolManifest
from tests.device_bridge.agent.workspace.support import Device


@dataclass
class RealDevices:
    """Implements `runs.ports.Devices` with one device, which is always connected."""

    device: Device
    calls: list[DeviceCall] = field(default_factory=list)

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Return the device."""
        return DeviceInfo(device_id="laptop", user_id=user_id, online=True, connected_at=None)

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return what the device advertises."""
        specs = tuple(
            ToolSpec(
                name=spec.name,
                description=spec.description,
                toolset=spec.toolset,
                effect=EffectClass[spec.effect.name],
                input_schema=spec.input_schema,
            )
            for spec in catalogue()
        )
        return ToolManifest(hash="real", tools=specs)

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Run a tool."""
        self.calls.append(call)
        context = call.context
        outcome = await self.device.run_tool(
            ToolCall(
                call_id=call.call_id,
                tool=call.tool,
                arguments=json.loads(call.arguments_json),
                context=RunContext(
                    run_id=context.run_id,
                    epoch=context.epoch,
                    agent_key=context.client_agent_id or context.agent_id,
                    agent_name=context.agent_name,
                    trigger=context.trigger,
                    phase=context.phase,
                    group=context.group,
                ),
            )
        )
        return _outcome(outcome)

    def watch(self) -> AsyncIterator[DeviceInfo]:
        """Nobody watches it."""
        raise NotImplementedError


def _outcome(outcome: Outcome) -> ToolOutcome:
    failure = outcome.failure
    return ToolOutcome(
        result_json=None if outcome.result is None else json.dumps(outcome.result),
        failure=None
        if failure is None
        else ToolFailure(reason=failure.reason.value, message=failure.message, retryable=failure.retryable),
        effects=tuple(
            Effect(
                kind=EffectKind[effect.kind.name],
                entity_type=effect.entity_type,
                entity_id=effect.entity_id,
                title=effect.title,
                source=effect.source,
            )
            for effect in outcome.effects
        ),
    )
