"""The agent's side of the helper process: start it, ask it, kill it when it is late, remember the last answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.sandbox.extraction.bounds import Fault
from device_bridge.agent.sandbox.media import DocumentKind
from device_bridge.agent.sandbox.refusals import unavailable

CONVERSION_SECONDS = 15.0
"""How long one document may take."""

_REMEMBERED_CHARACTERS = 4_000_000

# What an interpreter may need to start. Nothing else of the agent's environment: there may be secrets in it.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

# The same modules as here, whatever put them on the path.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from device_bridge.agent.sandbox.extraction.worker import main; main()"
)

_REFUSALS = {
    Fault.BROKEN: (Reason.BINARY, "The document is damaged or not of the kind that its name says; no text was found."),
    Fault.PROTECTED: (Reason.BINARY, "The document is protected with a password and cannot be read."),
    Fault.TOO_LARGE: (Reason.RESULT_TOO_LARGE, "The document is too large, unpacked, to be converted to text."),
}


@dataclass(frozen=True, slots=True)
class ConvertedText:
    """The text of a document."""

    text: str = field(repr=False)
    complete: bool
    """False when the conversion stopped at a bound."""


class Converter:
    """Converts documents. Blocks; safe to call from several threads, each of which gets a process of its own."""

    def __init__(self, *, seconds: float = CONVERSION_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._texts: OrderedDict[tuple[int, ...], ConvertedText] = OrderedDict()

    def text(self, identity: tuple[int, ...], kind: DocumentKind, data: bytes) -> ConvertedText:
        """Return the text of `data`; `identity` is equal only for the same content, and saves converting it again.

        Raises:
            ToolError: BINARY (broken or protected), RESULT_TOO_LARGE, TIMEOUT, or UNAVAILABLE when no process starts.
        """
        with self._lock:
            known = self._texts.get(identity)
            idle = self._idle.pop() if self._idle and known is None else None
        if known is not None:
            return known
        worker, converted = self._convert(idle, kind, data)
        with self._lock:
            self._idle.append(worker)
            self._remember(identity, converted)
        if isinstance(converted, Fault):
            raise ToolError(*_REFUSALS[converted])
        return converted

    def _convert(self, idle: _Worker | None, kind: DocumentKind, data: bytes) -> tuple[_Worker, ConvertedText | Fault]:
        if idle is not None:
            try:
                return idle, idle.convert(kind, data, self._seconds)
            except _WorkerEnded:
                # For lack of work, most likely, just before it was asked; else the next one fails on the document too.
                idle = None
        worker = _Worker()
        try:
            return worker, worker.convert(kind, data, self._seconds)
        except _WorkerEnded:
            # It needed more memory than it may have, or hit a fault of a parser.
            raise ToolError(*_REFUSALS[Fault.BROKEN]) from None

    def _remember(self, identity: tuple[int, ...], converted: ConvertedText | Fault) -> None:
        if isinstance(converted, Fault):
            return
        self._texts[identity] = converted
        while sum(len(known.text) for known in self._texts.values()) > _REMEMBERED_CHARACTERS:
            self._texts.popitem(last=False)


class _WorkerEnded(Exception):
    """A helper process ended before it answered."""


class _Worker:
    """One helper process. Used by one thread at a time; ends with the object."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM, json.dumps([path for path in sys.path if path])]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                cwd="/",
            )
        except OSError:
            raise unavailable("The device could not start the converter of documents.") from None
        self.end = weakref.finalize(self, _end, self._process)

    def convert(self, kind: DocumentKind, data: bytes, seconds: float) -> ConvertedText | Fault:
        """Return the text, or why there is none. After an exception the process is gone.

        Raises:
            ToolError: TIMEOUT.
            _WorkerEnded: the process ended without an answer.
        """
        late = threading.Event()
        timer = threading.Timer(seconds, self._kill, args=(late,))
        timer.start()
        try:
            answer = self._ask(kind, data)
        finally:
            timer.cancel()
            # Its thread holds this object until it ends.
            timer.join()
        if answer is not None:
            return ConvertedText(answer["text"], answer["complete"]) if "text" in answer else Fault(answer["fault"])
        self.end()
        if late.is_set():
            raise ToolError(Reason.TIMEOUT, f"The document took more than {seconds:g} s to convert to text.")
        raise _WorkerEnded

    def _ask(self, kind: DocumentKind, data: bytes) -> dict[str, Any] | None:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            return None
        try:
            requests.write(json.dumps({"kind": kind.value, "size": len(data)}).encode() + b"\n")
            requests.write(data)
            requests.flush()
            line = answers.readline()
        except OSError:
            return None
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def _kill(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
