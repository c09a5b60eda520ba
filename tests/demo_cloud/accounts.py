"""The emulated providers in a process of their own, and Livia, who links her two accounts there."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from adiuva_rpc.supervision import SUPERVISOR_VARIABLE
from orchestrator.runs.incoming import message_id
from tests.demo_cloud import week
from tests.emulator.client import ControlClient
from tests.emulator.google.state import CLIENT
from tests.emulator.mails import Mail
from tests.emulator.microsoft.people import PUBLIC_CLIENT

ADIUVA = str(Path(sys.executable).parent / "adiuva")
START_SECONDS = 30
LINK_SECONDS = 60
ACCOUNTS = {"gmail": week.GMAIL, "outlook": week.OUTLOOK}
"""By provider."""
_OF_PROVIDERS = tuple(f"ADIUVA_{name}_" for name in ("GOOGLE", "GMAIL", "MICROSOFT", "GRAPH", "OUTLOOK", "TEAMS"))


class DemoError(Exception):
    """The demo cannot go on. The text is for people."""


@dataclass(slots=True)
class Week:
    """The mails of the week, as they lie at the providers."""

    mails: dict[str, Mail] = field(default_factory=dict)
    """By what a run calls them, such as `message:gmail:18c…`."""

    def subject(self, source: str) -> str:
        """Return the subject of a message, or what a run calls it if it is none of these."""
        return self.mails[source].header("Subject") if source in self.mails else source

    def place(self, source: str) -> datetime:
        """Return when a message came, and the end of time for what is none of these."""
        return self.mails[source].received_at if source in self.mails else datetime.max.replace(tzinfo=UTC)

    def message_id(self, source: str) -> str:
        """Return the Message-ID of a message, or what a run calls it if it is none of these."""
        return self.mails[source].message_id if source in self.mails else source


def use_emulated_providers(base_url: str) -> None:
    """Change this process's variables, so that the connectors that it starts work with the emulator alone."""
    for name in list(os.environ):
        if name.startswith(_OF_PROVIDERS):
            del os.environ[name]
    places = ("GOOGLE_ACCOUNTS_URL", "GOOGLE_OAUTH2_URL", "GMAIL_URL", "MICROSOFT_LOGIN_URL", "GRAPH_URL")
    os.environ.update({f"ADIUVA_{name}": base_url for name in places})
    os.environ["ADIUVA_GOOGLE_CLIENT_ID"] = CLIENT.client_id
    os.environ["ADIUVA_GOOGLE_CLIENT_SECRET"] = CLIENT.secret
    os.environ["ADIUVA_MICROSOFT_CLIENT_ID"] = PUBLIC_CLIENT.client_id


@asynccontextmanager
async def emulated_providers() -> AsyncIterator[str]:
    """Run the emulator until the block ends, and give its address.

    Raises:
        DemoError: It did not start.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.emulator"),
        env={**os.environ, SUPERVISOR_VARIABLE: str(os.getpid())},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # A session of its own: Ctrl-C reaches this process alone, which stops all in order.
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                port = json.loads(await process.stdout.readline())["port"]
        except (TimeoutError, ValueError):
            raise DemoError("the emulator of the providers did not start") from None
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def seed(emulator: ControlClient, now: datetime) -> Week:
    """Make both accounts, and let the week's mails lie in them."""
    await emulator.google.add_account(week.GMAIL)
    await emulator.microsoft.add_account(week.OUTLOOK, name="Livia Montanari")
    private, business = week.gmail(now), week.outlook(now)
    ids = {
        "gmail": zip(await emulator.google.deliver(week.GMAIL, *private), private, strict=True),
        "outlook": zip(await emulator.microsoft.deliver(week.OUTLOOK, *business), business, strict=True),
    }
    return Week({message_id(provider, key): mail for provider, pairs in ids.items() for key, mail in pairs})


async def link(provider: str, client_file: Path) -> dict[str, Any]:
    """Link Livia's account with the real command, and a browser that consents to everything.

    Returns:
        The connection, as the command shows it.

    Raises:
        DemoError: It was not linked.
    """
    command = await asyncio.create_subprocess_exec(
        *(ADIUVA, "connections", "link", provider, "--account", ACCOUNTS[provider], "--no-browser", "--json"),
        env=_with_client(client_file),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LINK_SECONDS):
            address = await _address(command)
            if address:
                async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
                    await browser.get(address)
            linked, said = await command.communicate()
    except TimeoutError:
        raise DemoError(f"{provider}: nobody consented in time") from None
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()
    if command.returncode != 0:
        raise DemoError(f"{provider}: {said.decode('utf-8', 'replace').strip()}")
    connection: dict[str, Any] = json.loads(linked)
    return connection


async def workspace(data: Path, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the device holds of a run, as `adiuva workspace show` tells it.

    Raises:
        DemoError: It tells nothing.
    """
    command = await asyncio.create_subprocess_exec(
        *(ADIUVA, "workspace", "show", "--data", str(data), "--run", run_id, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    answer, _ = await command.communicate()
    if command.returncode != 0:
        raise DemoError("the workspace of the device cannot be read")
    found: dict[str, list[dict[str, Any]]] = json.loads(answer)
    return found


async def provider_calls(emulator: ControlClient) -> dict[str, int]:
    """Return how many requests the API of each provider got since the counters were reset; tokens are no reading."""
    routes = {"gmail": "^/gmail/", "outlook": "^/v1.0/"}
    return {provider: len(await emulator.calls(route)) for provider, route in routes.items()}


async def _address(command: asyncio.subprocess.Process) -> str:
    """Return the address that the command asks its user to open; empty when it ended before."""
    assert command.stderr is not None
    while line := (await command.stderr.readline()).decode():
        address = line.strip()
        if address.startswith("http") and "state" in parse_qs(urlsplit(address).query):
            return address
    return ""


def _with_client(client_file: Path) -> Mapping[str, str]:
    return {**os.environ, "ADIUVA_CLIENT": str(client_file)}
