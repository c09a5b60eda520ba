"""The emulated providers beside a running stack, and a person who consents there as with a browser."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
import psycopg

from tests.emulator.client import ControlClient, control_client
from tests.emulator.google.state import CLIENT
from tests.emulator.microsoft.people import PUBLIC_CLIENT
from tests.system.local_stack import ADIUVA, COMMAND_SECONDS, LocalStack, clean_environment
from tests.system.users import Json, User, background, without_a_trace

PASTED = "http://localhost:8765/callback"
ANNA, WORK = "anna@example.com", "anna@contoso.example"
"""Accounts that both providers have from the start."""
WAIT_SECONDS = 30

T = TypeVar("T")


@dataclass(frozen=True)
class Providers:
    """The emulator, in a process of its own."""

    base_url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let a stack work with it."""
        places = ("GOOGLE_ACCOUNTS_URL", "GOOGLE_OAUTH2_URL", "GMAIL_URL", "MICROSOFT_LOGIN_URL", "GRAPH_URL")
        return {
            "ADIUVA_GOOGLE_CLIENT_ID": CLIENT.client_id,
            "ADIUVA_GOOGLE_CLIENT_SECRET": CLIENT.secret,
            "ADIUVA_MICROSOFT_CLIENT_ID": PUBLIC_CLIENT.client_id,
            **{f"ADIUVA_{name}": self.base_url for name in places},
        }

    def do(self, work: Callable[[ControlClient], Awaitable[T]]) -> T:
        """Move the emulator."""

        async def working() -> T:
            async with control_client(self.base_url) as emulator:
                return await work(emulator)

        return asyncio.run(working())


@contextmanager
def emulator_process(log: Path) -> Iterator[Providers]:
    """Run an emulator."""
    with background([sys.executable, "-m", "tests.emulator"], log=log) as ready:
        yield Providers(f"http://127.0.0.1:{ready['port']}")


class Linking:
    """An `adiuva connections` command that leads its user through a consent."""

    def __init__(self, user: User, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [ADIUVA, "connections", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean_environment(), "ADIUVA_CLIENT": str(user.client_file), "ADIUVA_DATA": str(user.data)},
        )
        self._said = ""

    def interrupted(self) -> subprocess.CompletedProcess[str]:
        """Press Ctrl-C, and wait for its end; nobody types anything any more."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(WAIT_SECONDS)
        return self.ended()

    def line(self, *beginnings: str) -> str:
        """Read what it tells its user up to a line that begins so, and return that line."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said += line
            if line.strip().startswith(beginnings):
                return line.strip()
        raise AssertionError(self._said)

    @property
    def address(self) -> str:
        """The address to open; ask once."""
        return self.line("http://", "https://")

    @property
    def user_code(self) -> str:
        """The code to type in; ask once."""
        self.line("Open ")
        assert self._process.stderr is not None
        while not (line := self._process.stderr.readline()).strip():
            assert line, self._said
        return line.strip()

    def ended(self, *, pasted: str = "") -> subprocess.CompletedProcess[str]:
        """Wait for its end, after something was pasted into it."""
        out, err = self._process.communicate(f"{pasted}\n" if pasted else None, timeout=COMMAND_SECONDS)
        return without_a_trace(
            subprocess.CompletedProcess(self._process.args, self._process.returncode, out, self._said + err)
        )

    def linked(self, *, pasted: str = "") -> Json:
        """Wait for its good end, and return the connection; the command was called with --json."""
        done = self.ended(pasted=pasted)
        assert done.returncode == 0, done.stderr
        connection: Json = json.loads(done.stdout)
        return connection


@contextmanager
def linking(user: User, *arguments: str) -> Iterator[Linking]:
    """Run a command that leads through a consent, and see to it that it does not outlive the block."""
    command = Linking(user, *arguments)
    try:
        yield command
    finally:
        command._process.kill()
        command._process.communicate()


def visit(address: str) -> str:
    """Open an address as a browser does, go wherever it leads, and return the last page."""
    with httpx2.Client(follow_redirects=True, trust_env=False, timeout=WAIT_SECONDS) as browser:
        page: str = browser.get(address).text
        return page


def come_back(address: str) -> str:
    """Consent in a browser on another machine: return the address that it ends at, where nobody listens."""
    with httpx2.Client(trust_env=False, timeout=WAIT_SECONDS) as browser:
        answer = browser.get(address)
    assert answer.status_code == 302, answer.text
    location: str = answer.headers["Location"]
    assert location.startswith(PASTED), location
    return location


def parameter(address: str, name: str) -> str:
    """Return a parameter of an address."""
    (value,) = parse_qs(urlsplit(address).query)[name]
    return value


def link(user: User, provider: str, account: str) -> Json:
    """Link an account with a browser on this machine."""
    with linking(user, "link", provider, "--account", account, "--no-browser", "--json") as command:
        visit(command.address)
        return command.linked()


def database(stack: LocalStack) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection to the stack's own PostgreSQL."""
    lines = (stack.data / "postgres" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    return psycopg.connect(host=lines[4], user="postgres", dbname="postgres", autocommit=True)


def state(connection: Json) -> str:
    """Return a connection's state without its prefix."""
    return str(connection["state"]).removeprefix("CONNECTION_STATE_")


def add_account(providers: Providers, address: str) -> str:
    """Make an account at both providers, and return its address."""

    async def add(emulator: ControlClient) -> None:
        await emulator.google.add_account(address)
        await emulator.microsoft.add_account(address)

    providers.do(add)
    return address


@contextmanager
def consenting(providers: Providers, **answer: Any) -> Iterator[None]:
    """Let the person at both consent screens do something else than approve everything, for the block."""

    async def decide(emulator: ControlClient, answer: Json) -> None:
        await emulator.google.consent(**answer)
        await emulator.microsoft.consent(**answer)

    providers.do(lambda emulator: decide(emulator, answer))
    try:
        yield
    finally:
        providers.do(lambda emulator: decide(emulator, {}))


@contextmanager
def fault(providers: Providers, route: str, **fields: Any) -> Iterator[None]:
    """Let requests to a path fail, for the block."""
    providers.do(lambda emulator: emulator.add_fault(route, times=0, **fields))
    try:
        yield
    finally:
        providers.do(lambda emulator: emulator.clear_faults())
