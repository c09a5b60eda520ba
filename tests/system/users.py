"""Further users of a running stack: each has a token, a client.json, and a device agent of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from adiuva.device_bridge.v1 import device_service_pb2, device_service_pb2_grpc
from adiuva_rpc.client_config import FILE_NAME
from adiuva_rpc.tls import write_private
from adiuva_rpc.tokens import new_token, token_hash
from tests.system.local_stack import ADIUVA, LocalStack, adiuva, clean_environment

READY_SECONDS = 30
STOP_SECONDS = 20
WAIT_SECONDS = 60
POLL_SECONDS = 0.05

Json = dict[str, Any]


@dataclass
class User:
    """Somebody who uses the stack, with a machine of their own."""

    stack: LocalStack
    user_id: str
    data: Path
    """Holds client.json and, once there is a device, its part."""
    device: Json = field(default_factory=dict)
    """What the user's device agent said when it was ready."""

    @property
    def client_file(self) -> Path:
        return self.data / FILE_NAME

    @property
    def token(self) -> str:
        token: str = json.loads(self.client_file.read_text(encoding="utf-8"))["token"]
        return token

    @property
    def device_id(self) -> str:
        device_id: str = self.device["device_id"]
        return device_id

    def adiuva(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an `adiuva` command as this user."""
        return adiuva(*arguments, check=check, env=self.environment)

    def json(self, *arguments: str, check: bool = True) -> Any:
        """Run an `adiuva` command with --json, and return what it answered."""
        return json.loads(self.adiuva(*arguments, "--json", check=check).stdout)

    def run(self, *arguments: str) -> Json:
        """Start a run of every kind of work, and return it when it has ended; however it ended."""
        run: Json = self.json("runs", "start", *arguments, "--watch", check=False)
        return run

    @property
    def environment(self) -> dict[str, str]:
        return {"ADIUVA_CLIENT": str(self.client_file), "ADIUVA_DATA": str(self.data)}

    def enrolment_code(self) -> str:
        """Return a one-time code for a device of this user."""
        client = self.stack.client
        credentials = grpc.ssl_channel_credentials(Path(client["ca_file"]).read_bytes())
        options = (("grpc.ssl_target_name_override", client["server_name"]),)
        with grpc.secure_channel(client["device_bridge"]["target"], credentials, options) as channel:
            answer = device_service_pb2_grpc.DeviceServiceStub(channel).CreateEnrolmentCode(
                device_service_pb2.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4())),
                metadata=(("authorization", f"Bearer {self.token}"),),
                timeout=READY_SECONDS,
            )
        code: str = answer.code
        return code

    @contextmanager
    def at_the_device(self, root: Path | None = None, *, prefix: Sequence[str] = ()) -> Iterator[Json]:
        """Run the user's device agent, and give what it said when it was ready.

        Args:
            root: A folder to share; what was shared before stays.
            prefix: A command that starts the agent.
        """
        enrolled = (self.data / "device" / "identity.json").exists()
        command = [*prefix, ADIUVA, "device", "--json", "--data", str(self.data)]
        command += [] if enrolled else ["--code", self.enrolment_code()]
        command += ["--root", str(root)] if root is not None else []
        with background(command, log=self.data / "device.err") as (agent, ready):
            self.device = ready
            yield ready
            assert agent.poll() is None, "the device agent ended by itself"


def add_user(stack: LocalStack, user_id: str, data: Path) -> User:
    """Let somebody else use a running stack; the services read the file of tokens again when it changes."""
    token, _hash = new_token()
    file = stack.data / "tokens" / "callers.json"
    callers = json.loads(file.read_text(encoding="utf-8"))
    callers.append({"name": user_id, "role": "user", "user_id": user_id, "sha256": token_hash(token)})
    write_private(file, json.dumps(callers).encode())
    data.mkdir(parents=True, exist_ok=True)
    write_private(data / FILE_NAME, json.dumps({**stack.client, "token": token}).encode())
    return User(stack, user_id, data)


@contextmanager
def background(command: Sequence[str], *, log: Path) -> Iterator[tuple[subprocess.Popen[str], Json]]:
    """Run a process that says with one line of JSON that it is ready; end it with SIGTERM."""
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_environment(), cwd=Path.cwd()
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{command} did not start:\n{log.read_text(encoding='utf-8')}"
        yield process, json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(condition: Callable[[], Any], *, within: float = WAIT_SECONDS) -> Any:
    """Ask again and again until there is an answer that is true, and return it."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s"
        time.sleep(POLL_SECONDS)
    return answer


def reasons(run: Json) -> list[str]:
    """Return the reason codes of a run's errors."""
    return [error["reason"] for error in run["errors"]]


def state(run: Json) -> str:
    """Return a run's state without its prefix."""
    return str(run["state"]).removeprefix("RUN_STATE_")


PYTHON = sys.executable
