"""A local stack: who starts what, in which order, with which credentials."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from adiuva_rpc.client_config import ClientConfig, load_client_config
from adiuva_rpc.tls import TlsFileError
from orchestrator.cli.stack.credentials import Credentials, ensure_credentials, write_client_file
from orchestrator.cli.stack.database import database
from orchestrator.cli.stack.errors import DataInUse, DataUnusable, PortInUse
from orchestrator.cli.stack.process import Program, Report
from orchestrator.cli.stack.programs import (
    HOST,
    Ports,
    bridge_program,
    connectors_program,
    device_program,
    key_file,
    orchestrator_program,
)


@dataclass(slots=True)
class Stack:
    """A running stack."""

    data: Path
    client_file: Path
    config: ClientConfig
    programs: list[Program]
    model: str
    """The model that runs use, for people."""
    connectors: str
    """Where the connectors listen."""
    providers: list[str]
    """The providers that are set up."""

    def program(self, name: str) -> Program:
        """Return a program by its name, such as `orchestrator`."""
        return next(program for program in self.programs if program.name == name)


@asynccontextmanager
async def stack(
    data: Path, *, ports: Ports, roots: Sequence[Path] = (), report: Report, progress: Report
) -> AsyncIterator[Stack]:
    """Start everything, keep it running, and stop it in good order at the end.

    Ctrl-C and SIGTERM cancel the task that entered the block, once, also while things are being started; what comes
    while they are being stopped is left unheard.

    Args:
        data: Where everything is kept; made when it is missing.
        ports: Where the services listen.
        roots: Folders of this machine that a device agent opens to agents; no device agent without any.
        report: Told of what goes wrong while it runs.
        progress: Told what is being started.

    Raises:
        DataInUse, DataUnusable: the data directory.
        PortInUse: a port is taken.
        StartError: a part did not start.
        DatabaseError: PostgreSQL did not start.
    """
    _make_private(data)
    async with AsyncExitStack() as parts:
        with _interruptible():
            parts.enter_context(_alone(data))
            _check_ports(ports)
            credentials = _credentials(data)
            progress("starting PostgreSQL")
            url = await parts.enter_async_context(database(data))
            bridge = bridge_program(data, url, credentials, ports)
            await _start(parts, bridge, progress)
            connectors = connectors_program(data, url, credentials, ports, await key_file(data))
            await _start(parts, connectors, progress)
            orchestrator = orchestrator_program(data, url, credentials, ports, bridge, connectors)
            await _start(parts, orchestrator, progress)
            client_file = _write_client_file(data, credentials, bridge, connectors, orchestrator)
            config = load_client_config(client_file)
            programs = [bridge, connectors, orchestrator]
            if roots:
                device = await device_program(data, roots, config)
                await _start(parts, device, progress)
                programs.append(device)
            keepers = await parts.enter_async_context(_cancelled_at_the_end())
            for program in programs:
                keepers.create_task(program.keep_running(report))
            parts.callback(progress, "stopping")
            yield Stack(
                data=data,
                client_file=client_file,
                config=config,
                programs=programs,
                model=orchestrator.ready.get("model", "offline"),
                connectors=f"{HOST}:{connectors.ready['port']}",
                providers=list(connectors.ready["providers"]),
            )


async def _start(parts: AsyncExitStack, program: Program, progress: Report) -> None:
    progress(f"starting the {program.name}")
    parts.push_async_callback(program.stop)
    await program.start()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel the present task while the block runs, once. After that they are left unheard."""
    task = asyncio.current_task()
    listening = task is not None

    def interrupt() -> None:
        nonlocal listening
        if task is not None and listening:
            listening = False
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        listening = False


@asynccontextmanager
async def _cancelled_at_the_end() -> AsyncIterator[asyncio.TaskGroup]:
    """Give a group whose tasks run until the block ends."""
    stop = asyncio.Event()

    class _Ended(Exception):
        pass

    async def end() -> None:
        await stop.wait()
        raise _Ended

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(end())
            try:
                yield tasks
            finally:
                stop.set()
    except* _Ended:
        pass


def _write_client_file(
    data: Path, credentials: Credentials, bridge: Program, connectors: Program, orchestrator: Program
) -> Path:
    return write_client_file(
        data,
        credentials,
        orchestrator=f"{HOST}:{orchestrator.ready['port']}",
        bridge=f"{HOST}:{bridge.ready['internal_port']}",
        bridge_devices=f"{HOST}:{bridge.ready['device_port']}",
        connectors=f"{HOST}:{connectors.ready['port']}",
    )


def _credentials(data: Path) -> Credentials:
    try:
        return ensure_credentials(data)
    except TlsFileError as error:
        raise DataUnusable(f"{error}; remove the file to have a new one made") from None


def _make_private(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataUnusable(f"{data} cannot be made ({error.strerror}); name another directory with --data") from None


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the data directory: two stacks on one would destroy each other's database."""
    with (data / "up.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise DataInUse(
                f"{data} is in use by another `adiuva up` (process {lock.read().strip() or 'unknown'}); "
                "stop it, or name another directory with --data"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _check_ports(ports: Ports) -> None:
    wanted: dict[str, int] = {
        "--orchestrator-port": ports.orchestrator,
        "--bridge-port": ports.bridge,
        "--device-port": ports.bridge_devices,
        "--connectors-port": ports.connectors,
    }
    for option, port in wanted.items():
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise PortInUse(
                    f"port {port} is in use on {HOST}; choose another with {option} (0 takes a free one)"
                ) from None
