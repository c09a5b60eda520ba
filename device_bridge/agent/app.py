"""The composition root: settings in, a running device agent out. The only file that joins the link and the tools."""

from __future__ import annotations

import asyncio
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from random import Random, SystemRandom

import structlog

from device_bridge.agent.device_config import SharedFolder, guarded_directory
from device_bridge.agent.dispatch import build_run_tool
from device_bridge.agent.enrolment import DeviceIdentity
from device_bridge.agent.identity_store import BridgeAddress, IdentityStore
from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.connection import GrpcDialler, channel_to
from device_bridge.agent.link.domain import SessionEnd
from device_bridge.agent.link.lag import LoopLag
from device_bridge.agent.link.link import Connected, Link, Waiting
from device_bridge.agent.link.session import Introduction, Timing
from device_bridge.agent.sandbox import Root, RootRefused, Sandbox
from device_bridge.agent.tools import catalogue, manifest_hash
from device_bridge.agent.workspace.store import open_workspace

LOCK_NAME = "agent.lock"

log = structlog.get_logger(__name__)


class AgentRunning(Exception):
    """Another device agent runs on this data directory. The message says which and what to do."""


@dataclass(frozen=True, slots=True)
class FolderMissing:
    """A shared folder cannot be opened now; agents will not see it until the next start."""

    folder: SharedFolder
    why: str


Report = Callable[[Connected | Waiting | FolderMissing], None]
"""Told what happens, for people. Must not block or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    data: Path
    bridge: BridgeAddress
    display_name: str
    roots: tuple[SharedFolder, ...] = ()
    code: str = field(default="", repr=False)
    """The one-time code, for a device that has no credential."""
    timing: Timing = field(default_factory=Timing)

    @property
    def directory(self) -> Path:
        """The device's own part of the data directory."""
        return self.data / "device"


async def serve(plan: Plan, *, report: Report, stop: asyncio.Event, rng: Random | None = None) -> SessionEnd:
    """Run the device agent until `stop` is set, or until the bridge will never take it back.

    Args:
        plan: What to run.
        report: Told what happens.
        stop: Set when the agent shall leave.
        rng: For the jitter of reconnects; the system's own by default.

    Returns:
        How it ended: LEFT after `stop`.

    Raises:
        AgentRunning: Another one runs on the same data directory.
        DamagedFile: The stored identity cannot be read.
        WorkspaceError: The workspace cannot be used.
        OSError: The data directory cannot be written.
    """
    plan.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_agent(plan.directory):
        store = IdentityStore(plan.directory)
        identity = DeviceIdentity(store, store.load_or_create(), plan.bridge, plan.code)
        guarded = guarded_directory(plan.data, plan.roots)
        sandbox = Sandbox(_open(plan.roots, guarded, report), own_directory=guarded)
        bridge, tools, lag = plan.bridge, catalogue(), LoopLag()
        connect = channel_to(bridge.target, ca_pem=bridge.ca_pem, server_name=bridge.server_name)
        async with (
            open_workspace(plan.directory) as workspace,
            GrpcDialler(connect) as dialler,
            Calls(build_run_tool(workspace, sandbox), tools) as calls,
            asyncio.TaskGroup() as tasks,
        ):
            measuring = tasks.create_task(lag.measure())
            link = Link(
                dialler,
                calls=calls,
                identity=identity,
                introduction=Introduction(
                    instance_id=str(uuid.uuid4()),
                    agent_version=metadata.version("adiuva"),
                    display_name=plan.display_name,
                    root_names=sandbox.root_names(),
                    tools=tools,
                    tools_hash=manifest_hash(tools),
                ),
                rng=rng or SystemRandom(),
                lag=lag,
                timing=plan.timing,
                report=report,
            )
            end = await link.run(stop)
            measuring.cancel()
        log.info("agent_stopped", kind=end.kind.name)
        return end


@contextmanager
def only_agent(directory: Path) -> Iterator[None]:
    """Hold a device's directory: two agents on one identity would throw each other off the bridge.

    Raises:
        AgentRunning: It is held.
    """
    with (directory / LOCK_NAME).open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            message = (
                f"{directory.parent} is in use by another device agent (process {holder}). "
                "Stop it, or name another directory with --data."
            )
            raise AgentRunning(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _open(folders: tuple[SharedFolder, ...], guarded: Path, report: Report) -> list[Root]:
    roots = []
    for folder in folders:
        try:
            roots.append(folder.open(guarded))
        except RootRefused as error:
            # A disk that is not plugged in must not keep the rest of the device offline.
            report(FolderMissing(folder, str(error)))
    return roots
