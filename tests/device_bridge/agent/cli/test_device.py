"""`adiuva device`: what a person types, what they are told, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner, Result

from adiuva.device_bridge.v1 import session_service_pb2 as pb
from adiuva_rpc.errors import Unauthenticated
from device_bridge.agent.app import only_agent
from device_bridge.agent.cli.device import app
from device_bridge.agent.identity_store import IdentityStore, StoredIdentity
from tests.fakes.bridge import FakeBridge

PATIENCE = 30.0


class CodeRefused(Unauthenticated):
    """As the bridge says it."""

    reason = "ENROLMENT_CODE_REFUSED"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("ADIUVA_"):
            monkeypatch.delenv(name)
    made = tmp_path / "data"
    monkeypatch.setenv("ADIUVA_DATA", str(made))
    return made


def adiuva_device(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


class Process:
    """A device agent in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        with anyio.fail_after(PATIENCE):
            return (await self._process.stdout.readline()).decode()

    async def said(self, text: str) -> str:
        """Wait until stderr has said a text; return everything up to there."""
        assert self._process.stderr is not None
        seen = ""
        with anyio.fail_after(PATIENCE):
            while text not in seen:
                line = await self._process.stderr.readline()
                assert line, f"it ended without saying {text!r}: {seen}"
                seen += line.decode()
        return seen

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        with anyio.fail_after(PATIENCE):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def running(data: Path, *arguments: str, **variables: str) -> AsyncIterator[Process]:
    hidden = {name: value for name, value in os.environ.items() if not name.startswith("ADIUVA_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "device_bridge.agent", "--data", str(data), *arguments),
        env={**hidden, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


# ---- asked wrongly


def test_a_device_without_a_bridge_is_told_how_to_name_one(data: Path) -> None:
    result = adiuva_device()

    assert result.exit_code == 2
    assert "--bridge HOST:PORT" in result.stderr


def test_a_device_without_identity_and_code_is_told_how_to_get_one(data: Path) -> None:
    result = adiuva_device("--bridge", "127.0.0.1:7003")

    assert result.exit_code == 2
    assert "error: This device is not enrolled yet." in result.stderr
    assert "adiuva devices enrol" in result.stderr
    assert not (data / "device").exists()


def test_a_bridge_that_is_no_address_is_named_by_its_option(data: Path) -> None:
    result = adiuva_device("--bridge", "nowhere", "--code", "c")

    assert result.exit_code == 2
    assert "--bridge (ADIUVA_DEVICE_BRIDGE): must be host:port" in result.stderr


@pytest.mark.parametrize("root", ["/nowhere/at/all", "/"])
def test_a_folder_that_cannot_be_shared_is_told_before_anything_starts(data: Path, root: str) -> None:
    result = adiuva_device("--bridge", "127.0.0.1:7003", "--code", "c", "--root", root)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert not (data / "device" / "config.json").exists()


def test_an_unknown_option_is_refused(data: Path) -> None:
    assert adiuva_device("--frobnicate").exit_code == 2


# ---- it could not be done


def test_a_second_agent_on_the_same_directory_is_told_of_the_first(data: Path) -> None:
    IdentityStore(data / "device").save(StoredIdentity(installation_id="i", credential="c"))

    with only_agent(data / "device"):
        result = adiuva_device("--bridge", "127.0.0.1:7003")

    assert result.exit_code == 1
    assert f"process {os.getpid()}" in result.stderr


def test_a_damaged_identity_is_told(data: Path) -> None:
    (data / "device").mkdir(parents=True)
    (data / "device" / "identity.json").write_text("{")

    result = adiuva_device("--bridge", "127.0.0.1:7003", "--code", "c")

    assert result.exit_code == 1
    assert "identity.json is damaged" in result.stderr


# ---- folders


def test_folders_are_added_listed_and_removed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "Clients").mkdir()

    added = adiuva_device("roots", "add", str(tmp_path / "Clients"), "--json")
    listed = adiuva_device("roots", "list", "--json")
    shown = adiuva_device("roots", "list")
    removed = adiuva_device("roots", "remove", "clients", "--json")

    assert json.loads(added.stdout) == {"roots": [{"name": "clients", "path": str(tmp_path / "Clients")}]}
    assert json.loads(listed.stdout) == json.loads(added.stdout)
    assert "clients" in shown.stdout
    assert json.loads(removed.stdout) == {"roots": []}
    assert "No folder is shared" in adiuva_device("roots", "list").stdout


@pytest.mark.parametrize("before", [True, False], ids=["before roots", "after list"])
def test_the_data_directory_may_be_named_on_either_side(data: Path, tmp_path: Path, *, before: bool) -> None:
    other, shared = tmp_path / "other", tmp_path / "clients"
    shared.mkdir()
    adiuva_device("roots", "add", str(shared), "--data", str(other))

    place = ("--data", str(other))
    listed = adiuva_device(*(place if before else ()), "roots", "list", "--json", *(() if before else place))

    assert [root["name"] for root in json.loads(listed.stdout)["roots"]] == ["clients"]
    assert not data.exists()


@pytest.mark.parametrize("arguments", [("add", "/nowhere/at/all"), ("remove", "nothing"), ("add", "~")])
def test_what_cannot_be_added_or_removed_is_told(data: Path, arguments: tuple[str, str]) -> None:
    result = adiuva_device("roots", *arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


# ---- running


async def test_it_enrols_says_that_it_is_ready_and_leaves_with_goodbye_on_sigterm(data: Path, tmp_path: Path) -> None:
    (tmp_path / "clients").mkdir()
    options = ("--root", str(tmp_path / "clients"), "--name", "Laptop", "--json")
    async with FakeBridge() as bridge:
        async with running(data, "--bridge", bridge.target, *options, ADIUVA_ENROLMENT_CODE="code") as process:
            session = await bridge.next_session()
            await session.welcome(issued_credential="adv_secret-credential")
            ready = json.loads(await process.line())

            process.signal(signal.SIGTERM)
            code = await process.ended()
            await session.expect_kind("goodbye")

        async with running(data, "--json") as process:
            later = await bridge.next_session()
            await later.welcome()
            again = json.loads(await process.line())

    assert code == 0
    assert ready == {
        "ready": True,
        "device_id": "laptop",
        "user_id": "anna",
        "name": "Laptop",
        "bridge": bridge.target,
        "roots": ["clients"],
    }
    assert again == ready
    assert later.authorization == "Bearer adv_secret-credential"
    assert list(later.hello.root_names) == ["clients"]


async def test_a_person_reads_sentences_and_ctrl_c_ends_it(data: Path) -> None:
    async with (
        FakeBridge() as bridge,
        running(data, "--bridge", bridge.target, "--code", "code", "--name", "Laptop") as process,
    ):
        session = await bridge.next_session()
        await session.welcome(issued_credential="adv_secret-credential")
        line = await process.line()
        told = await process.said("no folder is shared yet")
        await session.close(pb.CLOSE_REASON_SHUTDOWN)
        told += await process.said("the bridge stops; trying again in")
        await (await bridge.next_session()).welcome()
        told += await process.said("connected again")

        process.signal(signal.SIGINT)
        code = await process.ended()

    assert line == "connected as Laptop, device laptop\n"
    assert code == 0
    assert "adv_secret" not in told


async def test_an_unreachable_bridge_is_told_and_tried_again(data: Path) -> None:
    bridge = FakeBridge()
    await bridge.start()
    await bridge.stop()
    async with running(data, "--bridge", bridge.target, "--code", "code") as process:
        told = await process.said("trying again in")
        await bridge.start()
        session = await bridge.next_session()
        await session.welcome(issued_credential="secret")
        line = await process.line()
        process.signal(signal.SIGTERM)
        code = await process.ended()
    await bridge.stop()

    assert told.startswith(f"cannot reach the bridge at {bridge.target} (nobody listens there)")
    assert line.startswith("connected as ")
    assert code == 0


async def test_a_refused_code_ends_it_with_advice(data: Path) -> None:
    async with FakeBridge() as bridge, running(data, "--bridge", bridge.target, "--code", "used") as process:
        session = await bridge.next_session()
        await session.fail(CodeRefused("The enrolment code is unknown, used or expired."))
        told = await process.said("adiuva devices enrol")
        code = await process.ended()

    assert "error: the enrolment code was not accepted" in told
    assert "used or expired" in told
    assert code == 1


async def test_a_revoked_device_ends_with_advice(data: Path) -> None:
    async with FakeBridge() as bridge, running(data, "--bridge", bridge.target, "--code", "code") as process:
        session = await bridge.next_session()
        await session.welcome(issued_credential="secret")
        await session.close(pb.CLOSE_REASON_REVOKED, permanent=True)
        told = await process.said("error: this device was revoked")
        code = await process.ended()

    assert "--code CODE" in told
    assert code == 1


@pytest.mark.parametrize("place", ["device.before_credential", "device.after_credential"])
async def test_a_device_killed_while_it_enrols_is_enrolled_by_the_same_command(
    data: Path, tmp_path: Path, place: str
) -> None:
    fired = tmp_path / "fired"
    fired.mkdir()
    failing = {"ADIUVA_FAILPOINTS": f"{place}=kill", "ADIUVA_FAILPOINTS_DIR": str(fired)}
    async with FakeBridge() as bridge:
        command = ("--bridge", bridge.target, "--code", "code", "--json")
        async with running(data, *command, **failing) as process:
            first = await bridge.next_session()
            await first.welcome(issued_credential="first")
            code = await process.ended()
        async with running(data, *command) as process:
            second = await bridge.next_session()
            await second.welcome(issued_credential="second" if second.authorization.startswith("Enrolment") else "")
            ready = json.loads(await process.line())

    assert code == -signal.SIGKILL
    assert [file.name for file in fired.iterdir()] == [place]
    assert ready["ready"]
    assert second.hello.installation_id == first.hello.installation_id
    assert second.authorization == ("Enrolment code" if place == "device.before_credential" else "Bearer first")
