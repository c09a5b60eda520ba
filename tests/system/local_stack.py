"""A whole stack of real processes, started with `adiuva up` as a user would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADIUVA = str(Path(sys.executable).parent / "adiuva")
START_SECONDS = 90
STOP_SECONDS = 60
COMMAND_SECONDS = 120
FREE_PORTS = ("--orchestrator-port", "0", "--bridge-port", "0", "--device-port", "0", "--connectors-port", "0")


@dataclass
class LocalStack:
    """A running `adiuva up`."""

    data: Path
    root: Path
    facts: dict[str, Any]
    """What `adiuva up --json` said."""
    supervisor: subprocess.Popen[str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def client_file(self) -> Path:
        return Path(self.facts["client_file"])

    @property
    def client(self) -> dict[str, Any]:
        """The content of client.json."""
        content: dict[str, Any] = json.loads(self.client_file.read_text(encoding="utf-8"))
        return content

    def adiuva(
        self, *arguments: str, check: bool = True, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run an `adiuva` command against this stack."""
        return adiuva(
            *arguments,
            check=check,
            timeout=timeout,
            env={"ADIUVA_CLIENT": str(self.client_file), "ADIUVA_DATA": str(self.data), **self.environment},
        )

    def json(self, *arguments: str, check: bool = True) -> Any:
        """Run an `adiuva` command with --json, and return what it answered."""
        return json.loads(self.adiuva(*arguments, "--json", check=check).stdout)

    def pid(self, name: str) -> int:
        """The process id of a part, by the log it writes: the newest child of the supervisor with that name."""
        modules = {
            "device bridge": "device_bridge.server",
            "connectors": "connectors",
            "orchestrator": "orchestrator",
            "device agent": "device_bridge.agent",
        }
        wanted = modules[name]
        for child in children(self.supervisor.pid):
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if wanted.encode() in command:
                return child
        raise LookupError(name)

    def kill(self, name: str) -> None:
        """End a part with SIGKILL; the supervisor starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def logs(self) -> str:
        """Everything that the parts have logged."""
        return "\n".join(
            f"== {file.name}\n{file.read_text(encoding='utf-8', errors='replace')}"
            for file in sorted((self.data / "logs").glob("*.log"))
        )


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    with contextlib.suppress(FileNotFoundError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []


def clean_environment() -> dict[str, str]:
    """Return the environment without what could lead the stack elsewhere."""
    hidden = ("ADIUVA_", "OPENAI_")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def adiuva(
    *arguments: str, check: bool = True, timeout: float = COMMAND_SECONDS, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an `adiuva` command; with `check` its exit code must be 0."""
    done = subprocess.run(
        [ADIUVA, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**clean_environment(), **(env or {})},
    )
    assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@contextmanager
def local_stack(
    data: Path, root: Path | None, *, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[LocalStack]:
    """Give a running stack, and stop it as Ctrl-C does."""
    roots = ["--root", str(root)] if root is not None else []
    command = [ADIUVA, "up", "--json", "--data", str(data), *roots, *FREE_PORTS, *options]
    errors = data.parent / f"{data.name}-up.err"
    with errors.open("w", encoding="utf-8") as stderr:
        supervisor = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**clean_environment(), **(env or {})},
        )
    try:
        facts = _read_facts(supervisor, errors)
        stack = LocalStack(data=data, root=root or data, facts=facts, supervisor=supervisor)
        try:
            yield stack
        except BaseException:
            sys.stderr.write(stack.logs()[-20_000:])
            raise
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGINT)
            try:
                supervisor.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()
        assert supervisor.stdout is not None
        supervisor.stdout.close()


def _read_facts(supervisor: subprocess.Popen[str], errors: Path) -> dict[str, Any]:
    assert supervisor.stdout is not None
    text = ""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        line = supervisor.stdout.readline()
        if not line:
            break
        text += line
        if line.rstrip() == "}":
            facts: dict[str, Any] = json.loads(text)
            return facts
    raise AssertionError(f"`adiuva up` did not start:\n{text}\n{errors.read_text(encoding='utf-8')}")
