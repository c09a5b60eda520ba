"""One process of a local stack: started, watched, started again when it dies, and stopped in good order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adiuva_rpc.supervision import SUPERVISOR_VARIABLE
from orchestrator.cli.stack.errors import StartError

READY_SECONDS = 60.0
STOP_SECONDS = 12.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
STABLE_SECONDS = 30.0
"""A process that ran for so long starts again without a pause when it dies."""
QUIET = {"GRPC_VERBOSITY": "NONE"}
"""What grpc has to say reaches the log as our own errors."""

Ready = dict[str, Any]
Report = Callable[[str], None]


@dataclass(slots=True)
class Program:
    """What to start, and how to start it again."""

    name: str
    command: Sequence[str]
    environment: Callable[[Ready], Mapping[str, str]]
    """The variables to add, given the ready line of the first start (empty before): a second start keeps the ports."""
    log: Path
    ready: Ready = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it says that it is ready, with one line of JSON on stdout.

        Raises:
            StartError: it ended, or was not ready in time.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env={**os.environ, **QUIET, SUPERVISOR_VARIABLE: str(os.getpid()), **self.environment(self.ready)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # A session of its own: Ctrl-C reaches the supervisor alone, which stops all in order.
                start_new_session=True,
            )
        assert self.process.stdout is not None  # noqa: S101 - asked for with PIPE
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self.process.stdout.readline()
        except TimeoutError:
            await self.stop()
            raise StartError(f"{self.name} was not ready after {READY_SECONDS:.0f} s; see {self.log}") from None
        try:
            self.ready = json.loads(line)
        except ValueError:
            await self.stop()
            raise StartError(f"{self.name} did not start: {self._last_words(begin)}") from None

    async def keep_running(self, report: Report) -> None:
        """Wait for the process's end and start it again, for ever."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            assert self.process is not None  # noqa: S101 - started before
            began = loop.time()
            await self._drain_output()
            code = await self.process.wait()
            if loop.time() - began > STABLE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            report(f"{self.name} ended ({_how(code)}); starting it again")
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            try:
                await self.start()
            except StartError as error:
                report(str(error))

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL if that does not help in time."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _drain_output(self) -> None:
        assert self.process is not None  # noqa: S101 - started before
        assert self.process.stdout is not None  # noqa: S101 - asked for with PIPE
        while await self.process.stdout.read(65_536):
            pass

    def _last_words(self, begin: int) -> str:
        """Return the error that the process wrote for people, else where to look."""
        with self.log.open("rb") as log:
            log.seek(begin)
            lines = log.read().decode("utf-8", "replace").splitlines()
        plain = [line.strip() for line in lines if line.strip() and not line.startswith("{")]
        spoken = [line.removeprefix("error:").strip() for line in plain if line.startswith("error:")]
        if spoken:
            return spoken[-1]
        return "; ".join(plain[-4:]) if plain and "Traceback" not in plain[0] else f"see {self.log}"


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
