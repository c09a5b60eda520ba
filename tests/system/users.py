"""Further users of a running stack: each has a token, a client.json, and a device agent of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.json_format import MessageToDict

from adiuva.orchestrator.v1 import agent_pb2, run_service_pb2 as pb, run_service_pb2_grpc as pb_grpc
from adiuva_rpc.client_config import FILE_NAME
from adiuva_rpc.tls import write_private
from adiuva_rpc.tokens import new_token, token_hash
from tests.system.local_stack import ADIUVA, LocalStack, adiuva, clean_environment

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20
WAIT_SECONDS = 60
POLL_SECONDS = 0.05
AT_A_TIME = 4

Json = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")

_DROP_CAPABILITIES = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
        sys.exit("the capabilities of root cannot be dropped here")
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass
class User:
    """Somebody who uses the stack, with a machine of their own."""

    stack: LocalStack
    user_id: str
    data: Path
    """Holds client.json and, once there is a device, its part."""
    root: Path
    """The folder that the device shares, under its own name."""
    device: Json = field(default_factory=dict)
    """What the user's device agent said when it was ready."""

    @property
    def client_file(self) -> Path:
        return self.data / FILE_NAME

    @property
    def client(self) -> Json:
        """The content of client.json."""
        content: Json = json.loads(self.client_file.read_text(encoding="utf-8"))
        return content

    @property
    def device_id(self) -> str:
        device_id: str = self.device["device_id"]
        return device_id

    def adiuva(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an `adiuva` command as this user. Whatever happens, there is no stack trace on the screen."""
        env = {"ADIUVA_CLIENT": str(self.client_file), "ADIUVA_DATA": str(self.data)}
        return without_a_trace(adiuva(*arguments, check=check, env=env))

    def json(self, *arguments: str, check: bool = True) -> Any:
        """Run an `adiuva` command with --json, and return what it answered."""
        return json.loads(self.adiuva(*arguments, "--json", check=check).stdout)

    def run(self, *arguments: str) -> Json:
        """Start a run, and return it when it has ended, however it ended. The exit code says the same as its state."""
        done = self.adiuva("runs", "start", *arguments, "--watch", "--json", check=False)
        run: Json = json.loads(done.stdout)
        assert done.returncode == (0 if state(run) in {"SUCCEEDED", "PARTIAL"} else 1)
        return run

    def work(self, folder: str, instructions: str, *, agent: str = "") -> Json:
        """Run an agent of its own on a folder, and return the run when it has ended; without a process for it.

        Args:
            folder: The wire path.
            instructions: For the model.
            agent: The client_agent_id; a new one when empty.
        """
        definition = agent_pb2.AgentDefinition(
            display_name=folder,
            client_agent_id=agent or str(uuid.uuid4()),
            local_directory=agent_pb2.LocalDirectory(directory_paths=[folder]),
            data_types=[agent_pb2.DATA_TYPE_TASKS, agent_pb2.DATA_TYPE_PROJECTS],
            prompt_template=instructions,
        )
        request = pb.StartRunRequest(request_id=str(uuid.uuid4()), definition=definition)
        with self.runs() as stub:
            run_id = stub.StartRun(request, metadata=self.authorization, timeout=WAIT_SECONDS).run.run_id
        return self.ended(run_id)

    def ended(self, run_id: str, *, within: int = WAIT_SECONDS) -> Json:
        """Wait for the end of a run, and return it."""
        request = pb.WaitRunRequest(run_id=run_id)
        request.timeout.FromSeconds(within)
        with self.runs() as stub:
            answer = stub.WaitRun(request, metadata=self.authorization, timeout=within + 10)
        run: Json = MessageToDict(
            answer.run, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        assert state(run) not in {"QUEUED", "RUNNING"}, f"not within {within} s"
        return run

    @property
    def authorization(self) -> tuple[tuple[str, str], ...]:
        """The metadata of this user's calls."""
        return (("authorization", f"Bearer {self.client['token']}"),)

    @contextmanager
    def runs(self) -> Iterator[pb_grpc.RunServiceStub]:
        """Give the run service as the wire has it, without the limits of our own channels."""
        client = self.client
        credentials = grpc.ssl_channel_credentials(Path(client["ca_file"]).read_bytes())
        options = (("grpc.ssl_target_name_override", client["server_name"]), ("grpc.max_send_message_length", -1))
        with grpc.secure_channel(client["orchestrator"]["target"], credentials, options) as channel:
            yield pb_grpc.RunServiceStub(channel)

    def folder(self, name: str, **files: str) -> str:
        """Make a folder in the shared one, with Markdown files, and return its wire path."""
        made = self.root / name
        made.mkdir(parents=True)
        for stem, text in files.items():
            (made / f"{stem}.md").write_text(text, encoding="utf-8")
        return f"{self.root.name}/{name}"

    @contextmanager
    def at_the_device(self, *, prefix: Sequence[str] = ()) -> Iterator[Json]:
        """Run the user's device agent, and give what it said when it was ready.

        Args:
            prefix: A command that starts the agent.
        """
        command = [*prefix, ADIUVA, "device", "--json", "--data", str(self.data), "--root", str(self.root)]
        if not (self.data / "device" / "identity.json").exists():
            command += ["--code", self.json("devices", "enrol")["code"]]
        with background(command, log=self.data / "device.err") as ready:
            self.device = ready
            yield ready


def add_user(stack: LocalStack, user_id: str, place: Path) -> User:
    """Let somebody else use a running stack; the services read the file of tokens again when it changes."""
    token, _hash = new_token()
    file = stack.data / "tokens" / "callers.json"
    callers = json.loads(file.read_text(encoding="utf-8"))
    callers.append({"name": user_id, "role": "user", "user_id": user_id, "sha256": token_hash(token)})
    write_private(file, json.dumps(callers).encode())
    user = User(stack, user_id, place / user_id, place / f"work-of-{user_id}")
    user.data.mkdir(parents=True)
    user.root.mkdir()
    write_private(user.client_file, json.dumps({**stack.client, "token": token}).encode())
    return user


@contextmanager
def background(command: Sequence[str], *, log: Path) -> Iterator[Json]:
    """Run a process that says with a line of JSON that it is ready; end it with SIGTERM."""
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_environment(), cwd=ROOT
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"{command} did not start:\n{log.read_text(encoding='utf-8')}"
        yield json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@cache
def like_anybody() -> tuple[str, ...] | None:
    """Return a command that starts another one which file permissions hold for; None where there is no way to.

    They hold for everybody but root: then it is started without the capabilities to pass over them.
    """
    if os.geteuid() != 0:
        return ()
    prefix = (sys.executable, "-c", _DROP_CAPABILITIES)
    tried = subprocess.run([*prefix, "/bin/true"], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else None


def at_once(work: Callable[[T], R], things: Iterable[T]) -> list[R]:
    """Return what the work returns for each thing, in their order; commands that do not touch each other save time."""
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        return list(threads.map(work, things))


def until(condition: Callable[[], Any], *, within: float = WAIT_SECONDS) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s"
        time.sleep(POLL_SECONDS)
    return answer


def state(run: Json) -> str:
    """Return a run's state without its prefix."""
    return str(run["state"]).removeprefix("RUN_STATE_")


def reasons(run: Json) -> list[str]:
    """Return the reason codes of a run's errors. Each comes with a sentence."""
    assert all(error["message"].endswith(".") for error in run["errors"])
    return [error["reason"] for error in run["errors"]]


def processed(run: Json) -> tuple[int, int]:
    """Return how many files a run found, and how many it processed."""
    return run["counts"]["items_found"], run["counts"]["items_processed"]


def check_refused(done: subprocess.CompletedProcess[str], reason: str, *words: str) -> None:
    """Check that a command ended with one clear error: exit code 1, the reason code, and these words."""
    without_a_trace(done)
    text = " ".join(done.stderr.split())
    assert done.returncode == 1, (done.returncode, done.stdout, text)
    assert f"error [{reason}] " in text, text
    assert not [word for word in words if word not in text], text


def without_a_trace(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Return a command's outcome, in which there must be no stack trace."""
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done
