"""Devices in memory behind the port that runs use, with what a real device promises: policy, ledger, run records.

    devices = FakeDevices()
    laptop = devices.add("laptop", roots=["sample"])
    laptop.workspace.files["sample/a.md"] = FakeFile("TODO call Ada")

Trouble is made by `before` and `after` (awaited around every call, and free to raise or to wait), by `offline`, and by
the files' own failures.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from orchestrator.runs.domain import (
    DeviceCall,
    DeviceOffline,
    DeviceUnknown,
    EffectClass,
    JsonObject,
    ToolFailure,
    ToolOutcome,
    ToolSpec,
)
from orchestrator.runs.ports import DeviceInfo, ToolManifest
from tests.fakes.device_tools import TOOLS, Call, Refused, Workspace

Hook = Callable[[DeviceCall], Awaitable[None]]


async def nothing(_call: DeviceCall) -> None:
    """A hook that does nothing."""


@dataclass(slots=True)
class FakeRun:
    """What a device knows of a run."""

    epoch: int = 0
    policies: dict[tuple[str, str], JsonObject] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    completed: JsonObject | None = None
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class FakeDevice:
    """One device. What it keeps survives being offline, as a database would."""

    device_id: str
    user_id: str
    roots: tuple[str, ...]
    online: bool = True
    workspace: Workspace = field(default_factory=Workspace)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    processed: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    ledger: dict[str, tuple[str, ToolOutcome]] = field(default_factory=dict)
    calls: list[DeviceCall] = field(default_factory=list)
    """Every call that reached it."""
    executed: Counter[str] = field(default_factory=Counter)
    """How often each call_id had its effect."""
    missing: set[str] = field(default_factory=set)
    """Tools that it does not have."""
    answers: dict[str, Callable[[DeviceCall], ToolOutcome]] = field(default_factory=dict)
    """What tools answer instead of doing their work."""
    before: Hook = nothing
    after: Hook = nothing

    def called(self, tool: str) -> list[JsonObject]:
        """The arguments of the calls of a tool."""
        return [json.loads(call.arguments_json) for call in self.calls if call.tool == tool]

    def snapshot(self) -> JsonObject:
        """What is to be the same after every way in which a run can go."""
        return {
            "rows": self.workspace.rows,
            "comments": sorted(json.dumps(comment, sort_keys=True) for comment in self.workspace.comments),
            "processed": self.processed,
            "completed": {
                run_id: None if run.completed is None else run.completed["state"] for run_id, run in self.runs.items()
            },
        }

    def answer(self, call: DeviceCall) -> ToolOutcome:
        """Answer a call, from the ledger when it was made before."""
        self.calls.append(call)
        if call.tool in self.answers:
            return self.answers[call.tool](call)
        print_of = json.dumps([call.tool, json.loads(call.arguments_json), call.context.phase, call.context.group])
        if call.call_id in self.ledger:
            made, outcome = self.ledger[call.call_id]
            return outcome if made == print_of else _failed(Refused("CALL_ID_REUSED"))
        try:
            outcome = self._run(call)
        except Refused as refused:
            return _failed(refused)
        if call.tool not in TOOLS or TOOLS[call.tool][0].effect is not EffectClass.READ_ONLY:
            self.ledger[call.call_id] = (print_of, outcome)
        return outcome

    def _run(self, call: DeviceCall) -> ToolOutcome:
        context = call.context
        run = self.runs.get(context.run_id, FakeRun())
        if context.epoch < run.epoch:
            raise Refused("STALE_EPOCH")
        if run.completed is not None:
            raise Refused("POLICY_DENIED", "The run is completed.")
        arguments: JsonObject = json.loads(call.arguments_json)
        if call.tool in {"begin_run", "mark_processed", "complete_run"}:
            if context.phase != "control":
                raise Refused("POLICY_DENIED")
            self.runs[context.run_id] = run
            run.epoch = context.epoch
            return ToolOutcome(result_json=json.dumps(self._control(call, run, arguments)))
        if call.tool not in TOOLS or call.tool in self.missing:
            raise Refused("UNKNOWN_TOOL")
        spec, tool = TOOLS[call.tool]
        self._check_policy(call, run, spec, arguments)
        run.epoch = context.epoch
        run.calls[context.phase, context.group] += 1
        known = self.processed.get(context.client_agent_id or context.agent_id, {})
        at_work = Call(self.workspace, arguments, call.call_id, known, self.roots)
        result = tool(at_work)
        if spec.effect is EffectClass.EFFECT:
            self.executed[call.call_id] += 1
        for effect in at_work.effects:
            run.effects[effect.kind.value.lower(), effect.entity_type] += 1
        return ToolOutcome(result_json=json.dumps(result), effects=tuple(at_work.effects))

    def _check_policy(self, call: DeviceCall, run: FakeRun, spec: ToolSpec, arguments: JsonObject) -> None:
        scope = (call.context.phase, call.context.group)
        policy = run.policies.get(scope)
        if policy is None or call.tool not in policy["tools"]:
            raise Refused("POLICY_DENIED")
        if policy["read_only"] and spec.effect is not EffectClass.READ_ONLY:
            raise Refused("POLICY_DENIED")
        if spec.toolset not in {"filesystem", "projects", *policy["data_types"]}:
            raise Refused("POLICY_DENIED")
        files = policy["files"]
        if files is not None and arguments.get("source") not in {None, *files}:
            raise Refused("INVALID_ARGUMENT", "source")
        if files is not None and call.tool == "read_file_content" and arguments["path"] not in files:
            raise Refused("POLICY_DENIED")
        if run.calls[scope] >= policy["budgets"]["max_calls"]:
            raise Refused("BUDGET_EXCEEDED")

    def _control(self, call: DeviceCall, run: FakeRun, arguments: JsonObject) -> JsonObject:
        context = call.context
        match call.tool:
            case "begin_run":
                scope = (arguments["phase"], arguments["group"])
                if run.policies.setdefault(scope, arguments) != arguments:
                    raise Refused("POLICY_DENIED", "another policy")
                return {}
            case "mark_processed":
                marks = self.processed.setdefault(context.client_agent_id or context.agent_id, {})
                for file in arguments["files"]:
                    marks[file["path"]] = (file["size_bytes"], file["mtime_ns"])
                return {"marked": len(arguments["files"])}
            case _:
                run.completed = arguments
                effects: dict[str, dict[str, int]] = {}
                for (kind, entity_type), number in run.effects.items():
                    effects.setdefault(kind, {})[entity_type] = number
                return {"effects": effects}


class FakeDevices:
    """Implements `runs.ports.Devices` over devices in memory."""

    def __init__(self) -> None:
        self._devices: dict[str, FakeDevice] = {}
        self._changes: asyncio.Queue[DeviceInfo] = asyncio.Queue(maxsize=100)

    def add(self, device_id: str, *, user_id: str = "ada", roots: tuple[str, ...] = ("sample",)) -> FakeDevice:
        """Enrol a device and connect it."""
        device = FakeDevice(device_id=device_id, user_id=user_id, roots=roots)
        self._devices[device_id] = device
        return device

    def connect(self, device: FakeDevice) -> None:
        """Bring a device back, and tell whoever watches."""
        device.online = True
        self._changes.put_nowait(_info(device))

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Return the named device, or any connected one."""
        await asyncio.sleep(0)
        of_user = [device for device in self._devices.values() if device.user_id == user_id]
        named = [device for device in of_user if device_id in {"", device.device_id}]
        if not named:
            raise DeviceUnknown("There is no such device. Enrol it first.")
        online = [device for device in named if device.online]
        if not online:
            raise DeviceOffline("The device is not connected. Start the app on it.")
        return _info(online[-1])

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return what the device advertised."""
        device = self._device(user_id, device_id)
        specs = tuple(spec for spec, _ in TOOLS.values() if spec.name not in device.missing)
        return ToolManifest(hash="fake", tools=specs)

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Run a tool."""
        await asyncio.sleep(0)
        device = self._device(call.user_id, call.device_id)
        await device.before(call)
        if not device.online:
            raise DeviceOffline("The device was lost.")
        outcome = device.answer(call)
        await device.after(call)
        return outcome

    async def watch(self) -> AsyncIterator[DeviceInfo]:
        """Yield every device, then each change."""
        for device in list(self._devices.values()):
            yield _info(device)
        while True:
            yield await self._changes.get()

    def _device(self, user_id: str, device_id: str) -> FakeDevice:
        device = self._devices.get(device_id)
        if device is None or device.user_id != user_id:
            raise DeviceUnknown("There is no such device. Enrol it first.")
        return device


def _info(device: FakeDevice) -> DeviceInfo:
    return DeviceInfo(device_id=device.device_id, user_id=device.user_id, online=device.online, connected_at=None)


def _failed(refused: Refused) -> ToolOutcome:
    return ToolOutcome(failure=ToolFailure(reason=refused.reason, message=refused.message))
