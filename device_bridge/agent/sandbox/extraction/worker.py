"""The helper process: takes documents on its standard input, answers with their text on its standard output.

A request is one line of JSON `{"kind": ".pdf", "size": n}` and n bytes; an answer is one line of JSON, either
`{"text": …, "complete": …}` or `{"fault": …}`. It ends when its input ends or when nothing was asked for a while.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import sys
from typing import IO

from device_bridge.agent.sandbox.extraction.bounds import MAX_MEMORY_BYTES, Fault, TextBuilder, Unconvertible

IDLE_SECONDS = 60.0

_CONVERTERS = {".pdf": "pdf", ".docx": "word", ".xlsx": "sheet", ".eml": "mail"}


def main() -> None:
    """Serve until the input ends."""
    _limit_resources()
    # What a parser prints must not end up in the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one request after another."""
    while select.select([requests], [], [], IDLE_SECONDS)[0]:
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        answer = convert(request["kind"], requests.read(request["size"]))
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def convert(kind: str, data: bytes) -> dict[str, object]:
    """Return the answer for one document; whatever a parser does with it, it is an answer."""
    into = TextBuilder()
    try:
        module = importlib.import_module(f"{__package__}.{_CONVERTERS[kind]}")
        module.convert(data, into)
    except Unconvertible as error:
        return {"fault": error.fault.value}
    except Exception:  # noqa: BLE001 - parsers fail on broken input with every kind of exception, RecursionError included
        return {"fault": Fault.BROKEN.value}
    return {"text": into.text(), "complete": into.complete}


def _limit_resources() -> None:
    try:
        import resource  # not on every platform
    except ImportError:
        return
    limits = ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0))
    for limit, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
