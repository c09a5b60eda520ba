"""The whole device agent against a bridge that does what the test says: real tools, real workspace, real wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from adiuva.device_bridge.v1 import tool_pb2
from adiuva_rpc.errors import Unauthenticated
from adiuva_rpc.tls import Authority, server_credentials
from device_bridge.agent.app import AgentRunning, FolderMissing, Plan, only_agent, serve
from device_bridge.agent.device_config import ConfigFault, SharedFolder
from device_bridge.agent.identity_store import BridgeAddress, IdentityStore
from device_bridge.agent.link.domain import EndKind, SessionEnd
from device_bridge.agent.link.link import Connected, Waiting
from device_bridge.agent.private_files import DamagedFile
from tests.device_bridge.agent.link.support import LeastRandom
from tests.fakes.bridge import BridgeSession, FakeBridge

PATIENCE = 10.0
SCOPE = {"run_id": "run", "client_agent_id": "agent", "agent_name": "Notes", "trigger": "manual"}
CONTROL = tool_pb2.RunContext(**SCOPE, epoch=1, phase="control")
PROCESSING = tool_pb2.RunContext(**SCOPE, epoch=1, phase="processing", group="acme")


class CodeRefused(Unauthenticated):
    """As the bridge says it."""

    reason = "ENROLMENT_CODE_REFUSED"


class Running:
    """A device agent under test."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.events: list[Connected | Waiting | FolderMissing] = []
        self.end: SessionEnd | None = None
        self.finished = asyncio.Event()
        self.told = asyncio.Event()

    def report(self, event: Connected | Waiting | FolderMissing) -> None:
        self.events.append(event)
        self.told.set()

    async def finish(self) -> SessionEnd:
        self.stop.set()
        return await self.ended()

    async def ended(self) -> SessionEnd:
        with anyio.fail_after(PATIENCE):
            await self.finished.wait()
        assert self.end is not None
        return self.end


def plan(tmp_path: Path, fake: FakeBridge, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "data": tmp_path / "data",
        "bridge": BridgeAddress(target=fake.target),
        "display_name": "Anna's laptop",
        "code": "code",
        **changes,
    }
    return Plan(**given)


@contextlib.asynccontextmanager
async def agent(what: Plan) -> AsyncIterator[Running]:
    running = Running()

    async def run() -> None:
        running.end = await serve(what, report=running.report, stop=running.stop, rng=LeastRandom())
        running.finished.set()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run())
        yield running
        task.cancel()


@pytest.fixture
def clients(tmp_path: Path) -> SharedFolder:
    path = tmp_path / "clients"
    path.mkdir()
    (path / "notes.md").write_text("- [ ] send the offer\n")
    return SharedFolder(name="clients", path=path)


async def answer(session: BridgeSession, key: str, tool: str, arguments: dict[str, Any], **fields: Any) -> Any:
    await session.call(key, tool, arguments, **fields)
    outcome = (await session.expect_done(key)).outcome
    return json.loads(outcome.result_json) if outcome.WhichOneof("outcome") == "result_json" else outcome.failure.reason


async def test_the_built_in_tools_are_offered_and_answer(tmp_path: Path, clients: SharedFolder) -> None:
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge, roots=(clients,))):
        session = await bridge.next_session()
        await session.welcome(issued_credential="secret")

        listed = await answer(session, "a", "list_directory", {"path": "clients"})
        read = await answer(session, "b", "read_file_content", {"path": "clients/notes.md"})
        refused = await answer(session, "c", "read_file_content", {"path": "/etc/passwd"})
        unknown = await answer(session, "d", "delete_everything", {})

    tools = {tool.name for tool in session.hello.tools.tools}
    assert {"list_directory", "find_changed_files", "create_task", "begin_run", "complete_run"} <= tools
    assert list(session.hello.root_names) == ["clients"]
    assert [entry["name"] for entry in listed["entries"]] == ["notes.md"]
    assert read["text"] == "- [ ] send the offer\n"
    assert refused == "INVALID_ARGUMENT"
    assert unknown == "UNKNOWN_TOOL"


async def test_an_effect_is_applied_once_through_a_restart_of_the_agent(tmp_path: Path) -> None:
    begin = {
        "phase": "processing",
        "group": "acme",
        "agent_name": "Notes",
        "trigger": "manual",
        "tools": ["create_task"],
        "read_only": False,
        "directories": [],
        "files": None,
        "data_types": ["tasks"],
        "budgets": {"max_calls": 10, "max_read_bytes": 1000, "max_creates": 5},
    }
    async with FakeBridge() as bridge:
        async with agent(plan(tmp_path, bridge)) as first:
            session = await bridge.next_session()
            await session.welcome(issued_credential="secret")
            await answer(session, "begin", "begin_run", begin, run_context=CONTROL)
            made = await answer(session, "make", "create_task", {"title": "offer"}, run_context=PROCESSING)
            await first.finish()

        async with agent(plan(tmp_path, bridge, code="")):
            session = await bridge.next_session()
            await session.welcome()
            again = await answer(session, "make", "create_task", {"title": "offer"}, run_context=PROCESSING)
            replayed = session.done("make")[0].outcome.replayed
            listed = await answer(session, "list", "list_tasks", {})

    assert made["title"] == "offer"
    assert again == made
    assert replayed
    assert len(listed["tasks"]) == 1


async def test_the_first_start_enrols_and_the_second_needs_no_code(tmp_path: Path) -> None:
    async with FakeBridge() as bridge:
        async with agent(plan(tmp_path, bridge)) as first:
            enrolling = await bridge.next_session()
            await enrolling.welcome(issued_credential="secret")
            await enrolling.call("a", "list_projects")
            await enrolling.expect_done("a")
            await first.finish()
        async with agent(plan(tmp_path, bridge, code="")):
            later = await bridge.next_session()

    assert enrolling.authorization == "Enrolment code"
    assert later.authorization == "Bearer secret"
    assert later.hello.installation_id == enrolling.hello.installation_id
    assert later.hello.instance_id != enrolling.hello.instance_id
    assert len(later.hello.tools.tools) == 0
    assert later.hello.tools.hash == enrolling.hello.tools.hash


async def test_a_lost_welcome_is_repaired_within_the_same_start(tmp_path: Path) -> None:
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge)):
        lost = await bridge.next_session()
        await lost.end(grpc.StatusCode.UNAVAILABLE)
        again = await bridge.next_session()
        await again.welcome(issued_credential="second")
        await again.end(grpc.StatusCode.UNAVAILABLE)
        later = await bridge.next_session()

    assert (again.authorization, later.authorization) == ("Enrolment code", "Bearer second")
    assert again.hello.installation_id == lost.hello.installation_id


async def test_a_refused_code_ends_the_agent(tmp_path: Path) -> None:
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge)) as running:
        session = await bridge.next_session()
        await session.fail(CodeRefused("The enrolment code is unknown, used or expired."))
        end = await running.ended()

    assert (end.kind, end.permanent) == (EndKind.REFUSED, True)


async def test_stopping_says_goodbye(tmp_path: Path) -> None:
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge)) as running:
        session = await bridge.next_session()
        await session.welcome(issued_credential="secret")
        await session.call("a", "list_projects")
        await session.expect_done("a")

        end = await running.finish()
        await session.expect_kind("goodbye")

    assert end.kind is EndKind.LEFT


async def test_a_bridge_over_tls_is_checked_against_the_stored_authority(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "tls")
    tls = server_credentials(authority.issue(tmp_path / "tls" / "bridge"))
    other = Authority.create(tmp_path / "other")
    async with FakeBridge(tls) as bridge:
        address = BridgeAddress(target=bridge.target, ca_pem=authority.cert.read_text(), server_name="localhost")
        async with agent(plan(tmp_path, bridge, bridge=address)):
            session = await bridge.next_session()
            await session.welcome(issued_credential="secret")
            await session.call("a", "list_projects")
            await session.expect_done("a")

        wrong = BridgeAddress(target=bridge.target, ca_pem=other.cert.read_text(), server_name="localhost")
        async with agent(plan(tmp_path, bridge, bridge=wrong)) as running:
            with anyio.fail_after(PATIENCE):
                await running.told.wait()
            refused = running.events[0]

    stored = IdentityStore(tmp_path / "data" / "device").load()
    assert stored is not None
    assert stored.bridge == address
    assert isinstance(refused, Waiting)
    assert "CERTIFICATE_VERIFY_FAILED" in refused.end.detail


async def test_a_shared_folder_that_is_gone_does_not_keep_the_device_offline(
    tmp_path: Path, clients: SharedFolder
) -> None:
    gone = SharedFolder(name="usb", path=tmp_path / "usb")
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge, roots=(gone, clients))) as running:
        session = await bridge.next_session()

    assert list(session.hello.root_names) == ["clients"]
    assert [event.folder.name for event in running.events if isinstance(event, FolderMissing)] == ["usb"]


async def test_two_agents_cannot_run_on_one_data_directory(tmp_path: Path) -> None:
    async with FakeBridge() as bridge, agent(plan(tmp_path, bridge)):
        await bridge.next_session()

        with pytest.raises(AgentRunning, match=r"another device agent \(process \d+\)"):
            await serve(plan(tmp_path, bridge), report=lambda _: None, stop=asyncio.Event())


def test_the_data_directory_is_free_again_after_an_agent(tmp_path: Path) -> None:
    for _ in range(2):
        with only_agent(tmp_path):
            pass


async def test_a_damaged_identity_is_told_and_kept(tmp_path: Path) -> None:
    (tmp_path / "data" / "device").mkdir(parents=True)
    (tmp_path / "data" / "device" / "identity.json").write_text("{")

    async with FakeBridge() as bridge:
        with pytest.raises(DamagedFile):
            await serve(plan(tmp_path, bridge), report=lambda _: None, stop=asyncio.Event())


async def test_folders_that_exclude_each_other_are_told(tmp_path: Path) -> None:
    (tmp_path / "data" / "sample").mkdir(parents=True)
    roots = (
        SharedFolder(name="around", path=tmp_path),
        SharedFolder(name="sample", path=tmp_path / "data" / "sample"),
    )

    async with FakeBridge() as bridge:
        with pytest.raises(ConfigFault, match="Share only one of them"):
            await serve(plan(tmp_path, bridge, roots=roots), report=lambda _: None, stop=asyncio.Event())
