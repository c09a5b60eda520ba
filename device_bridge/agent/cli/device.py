"""`adiuva device`: run the device agent, and say which folders agents may look at."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adiuva_rpc.client_config import default_data_directory
from adiuva_rpc.settings import SettingsError, load
from adiuva_rpc.telemetry import configure_logging
from device_bridge.agent.app import AgentRunning, FolderMissing, Plan, serve
from device_bridge.agent.cli.wording import ENROL, why_stopped, why_waiting
from device_bridge.agent.device_config import ConfigFault, DeviceConfig, load_config, save_config
from device_bridge.agent.identity_store import IdentityStore
from device_bridge.agent.link.domain import EndKind
from device_bridge.agent.link.link import Connected, Waiting
from device_bridge.agent.private_files import DamagedFile
from device_bridge.agent.settings import AgentSettings, BridgeUnknown, find_bridge
from device_bridge.agent.workspace.errors import WorkspaceError

app = typer.Typer(help="Run the device agent: the part that lives on the user's laptop.")
roots_app = typer.Typer(help="The folders that agents may look at.", no_args_is_help=True)
app.add_typer(roots_app, name="roots")

OPTIONS = {
    "ADIUVA_DATA": "--data",
    "ADIUVA_DEVICE_BRIDGE": "--bridge",
    "ADIUVA_DEVICE_CA": "--ca",
    "ADIUVA_DEVICE_NAME": "--name",
    "ADIUVA_ENROLMENT_CODE": "--code",
}
"""Variables and the options that set them."""

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Where everything is kept; by default $ADIUVA_DATA or ~/.local/share/adiuva."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


class NotEnrolled(Exception):
    """The device has neither a credential nor a code."""


@app.callback(invoke_without_command=True)
def device(
    context: typer.Context,
    data: Data = None,
    bridge: Annotated[
        str | None, typer.Option("--bridge", metavar="HOST:PORT", help="The bridge's port for devices.")
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="The authority of the bridge's certificate, PEM.")] = None,
    code: Annotated[
        str | None, typer.Option("--code", help="The one-time code, for the first start; also $ADIUVA_ENROLMENT_CODE.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", help="A folder that agents may look at. Can be repeated; remembered for later starts."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call this device; by default its host name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the device agent. What was given once is remembered: later starts need no option."""
    if context.invoked_subcommand is not None:
        context.obj = data
        return
    told = {"--data": data, "--bridge": bridge, "--ca": ca, "--name": name, "--code": code}
    with _faults_for_people():
        settings = _settings({option: str(value) for option, value in told.items() if value is not None})
        configure_logging("device_agent", level=settings.log_level or ("INFO" if as_json else "WARNING"))
        plan = _plan(settings, root or [])
        speaker = Speaker(plan, as_json=as_json)
        end = asyncio.run(_until_signal(plan, speaker))
    if end is not None:
        _complain(end)
        raise typer.Exit(1)


@roots_app.command("list")
def list_roots(context: typer.Context, data: Data = None, as_json: AsJson = False) -> None:
    """Show the folders that agents may look at."""
    with _faults_for_people():
        config = load_config(_directory(context, data) / "device")
    _show_roots(config, as_json=as_json)


@roots_app.command("add")
def add_root(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The folder.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let agents look at one more folder, from the next start of the device agent on."""
    with _faults_for_people():
        place = _directory(context, data)
        config = load_config(place / "device").sharing(directory, data=place)
        save_config(place / "device", config)
    _show_roots(config, as_json=as_json)


@roots_app.command("remove")
def remove_root(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="The folder: its name or its path.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Close a folder to agents, from the next start of the device agent on."""
    with _faults_for_people():
        place = _directory(context, data)
        config = load_config(place / "device").without(which)
        save_config(place / "device", config)
    _show_roots(config, as_json=as_json)


class Speaker:
    """Tells a person, or a supervisor, what the agent does: one ready line on stdout, progress on stderr."""

    def __init__(self, plan: Plan, *, as_json: bool) -> None:
        self._plan = plan
        self._as_json = as_json
        self._was_ready = False
        self._missing: set[str] = set()

    def __call__(self, event: Connected | Waiting | FolderMissing) -> None:
        """Tell one event."""
        if isinstance(event, FolderMissing):
            self._missing.add(event.folder.name)
            self._say(f"{event.why}: agents will not see `{event.folder.name}` until the next start")
        elif isinstance(event, Waiting):
            why = why_waiting(event.end, self._plan.bridge.target)
            self._say(f"{why}; trying again in {_duration(event.delay)}")
        elif self._was_ready:
            self._say("connected again")
        else:
            self._was_ready = True
            self._ready(event)

    def _ready(self, event: Connected) -> None:
        name, device_id = self._plan.display_name, event.welcome.device_id
        if self._as_json:
            roots = [folder.name for folder in self._plan.roots if folder.name not in self._missing]
            ready = {"ready": True, "device_id": device_id, "user_id": event.welcome.user_id, "name": name}
            _tell(json.dumps({**ready, "bridge": self._plan.bridge.target, "roots": roots}), sys.stdout)
            return
        _tell(f"connected as {name}, device {device_id}", sys.stdout)
        if not self._plan.roots:
            self._say("no folder is shared yet: agents see no file. Share one with --root DIR")

    def _say(self, text: str) -> None:
        _tell(text, sys.stderr)


async def _until_signal(plan: Plan, speaker: Callable[[Any], None]) -> str | None:
    """Run the agent; return why it stopped, None when it was asked to."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin_to_stop(number: signal.Signals) -> None:
        # The second time it ends at once, as the system does by itself.
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, begin_to_stop, number)
    end = await serve(plan, report=speaker, stop=stop)
    return None if end.kind is EndKind.LEFT else why_stopped(end)


def _plan(settings: AgentSettings, roots: list[Path]) -> Plan:
    directory = settings.device_directory
    stored = IdentityStore(directory).load()
    bridge = find_bridge(settings, stored)
    code = settings.enrolment_code.get_secret_value() if settings.enrolment_code else ""
    if not code and not (stored and stored.credential):
        message = f"This device is not enrolled yet. {ENROL}"
        raise NotEnrolled(message)
    before = config = load_config(directory)
    for root in roots:
        config = config.sharing(root, data=settings.data)
    if settings.device_name:
        config = replace(config, display_name=settings.device_name)
    if config != before:
        save_config(directory, config)
    name = config.display_name or socket.gethostname() or "device"
    return Plan(data=settings.data, bridge=bridge, display_name=name[:200], roots=config.roots, code=code)


def _settings(told: Mapping[str, str]) -> AgentSettings:
    variables = {variable: told[option] for variable, option in OPTIONS.items() if option in told}
    environ = {**os.environ, "ADIUVA_DATA": str(default_data_directory()), **variables}
    settings = load(AgentSettings, environ)
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})


def _directory(context: typer.Context, data: Path | None) -> Path:
    """Return the data directory of a command below `device`; the option may stand on either side of its name."""
    named = data or context.obj
    return _settings({"--data": str(named)} if named else {}).data


def _show_roots(config: DeviceConfig, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"roots": [{"name": root.name, "path": str(root.path)} for root in config.roots]}, indent=2))
        return
    if not config.roots:
        print("No folder is shared. Share one with `adiuva device roots add DIR`.")
        return
    table = Table("name", "folder")
    for root in config.roots:
        table.add_row(root.name, escape(str(root.path)))
    Console().print(table)


@contextmanager
def _faults_for_people() -> Iterator[None]:
    """Turn what a person can put right into a sentence and an exit code: 2 asked wrongly, 1 it could not be done."""
    try:
        yield
    except SettingsError as error:
        for variable, fault in error.faults.items():
            option = OPTIONS.get(variable)
            _complain(f"{option} ({variable}): {fault}" if option else f"{variable}: {fault}")
        raise typer.Exit(2) from None
    except (BridgeUnknown, ConfigFault, NotEnrolled) as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    except (AgentRunning, DamagedFile, WorkspaceError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        _complain(f"{error.filename or 'the data directory'} cannot be used: {error.strerror}.")
        raise typer.Exit(1) from None


def _tell(text: str, stream: TextIO) -> None:
    # A bridge's words and a folder's name must not steer the terminal.
    plain = "".join(character if character.isprintable() else "?" for character in text)
    # Whoever listened may be gone; the agent goes on.
    with suppress(OSError):
        print(plain, file=stream, flush=True)


def _complain(sentence: str) -> None:
    _tell(f"error: {sentence}", sys.stderr)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(1, round(seconds))} s"
