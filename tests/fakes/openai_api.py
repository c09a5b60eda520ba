"""A chat-completions endpoint on loopback: strict about requests as the real one is, and as bad as a script wants.

In a test:

    with FakeOpenAI([say("Hello"), ask("read_file_content", path="a.md"), refuse(429, retry_after="2")]) as api:
        ...  # api.url, api.key, api.requests

As a process, with a script of answers as a JSON list (each with the field names of `Scripted`):

    python -m tests.fakes.openai_api --port 0 --key sk-test --script answers.json
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.openai_requests import Refused, check_request

KEY = "sk-fake-0123456789"
PATH = "/v1/chat/completions"
_MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """One answer. By default a good one; the other fields make it a bad one."""

    text: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Each with `name` and `arguments` (an object, or text as it is), and optionally `id`."""
    finish_reason: str = ""
    """Empty: "stop", or "tool_calls" when there are any."""
    usage: Mapping[str, Any] | None = None
    """None: made-up figures with the number of bytes as tokens."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = "scripted error"
    """The message of a status other than 200."""
    body: str | None = None
    """Sent as it is instead of an answer, with `content_type`."""
    content_type: str = "application/json"
    pad_bytes: int = 0
    """Make the text this much longer."""
    hang: bool = False
    """Never answer, until the client leaves or the server closes."""
    reset: bool = False
    """Send half of the answer, then reset the connection."""
    when: str = ""
    """Only for a request whose JSON holds this."""
    repeat: bool = False
    """Use it again and again."""


def say(text: str, **more: Any) -> Scripted:
    """Return an answer with this text."""
    return Scripted(text=text, **more)


def ask(name: str, **arguments: Any) -> Scripted:
    """Return an answer that asks for one tool call."""
    return Scripted(tool_calls=({"name": name, "arguments": arguments},))


def refuse(status: int, *, error: str = "scripted error", **headers: str) -> Scripted:
    """Return an error; `retry_after="2"` becomes the header Retry-After."""
    return Scripted(status=status, error=error, headers={name.replace("_", "-"): it for name, it in headers.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Mapping[str, Any]


class FakeOpenAI:
    """The endpoint, in threads of this process."""

    def __init__(
        self,
        script: Sequence[Scripted] = (),
        *,
        key: str = KEY,
        port: int = 0,
        models: frozenset[str] = frozenset(),
        strict_schemas: bool = True,
    ) -> None:
        """Serve the script on loopback.

        Args:
            script: Used in order; each once, unless it repeats. When nothing is left for a request, it is answered
                with status 400 and code `script_exhausted`.
            key: The one that is accepted.
            port: 0 for any free one.
            models: The ones that exist; empty for any.
            strict_schemas: Whether `response_format` of type json_schema is known here; False answers it with 400.
        """
        self.key = key
        self.models = models
        self.strict_schemas = strict_schemas
        self.requests: list[Received] = []
        self.closing = threading.Event()
        self._script = list(script)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """The base URL, as OPENAI_BASE_URL takes it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def unused(self) -> list[Scripted]:
        """The answers that nobody asked for."""
        with self._lock:
            return [answer for answer in self._script if not answer.repeat]

    def add(self, *answers: Scripted) -> None:
        """Add answers to the end of the script."""
        with self._lock:
            self._script.extend(answers)

    def received(self, request: Received) -> None:
        """Remember a request."""
        with self._lock:
            self.requests.append(request)

    def take(self, body: Mapping[str, Any]) -> Scripted:
        """Return the answer for a good request."""
        text = json.dumps(body, ensure_ascii=False)
        with self._lock:
            for index, answer in enumerate(self._script):
                if answer.when in text:
                    return answer if answer.repeat else self._script.pop(index)
        return Scripted(status=400, error="The script has no answer for this request. (script_exhausted)")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    api: FakeOpenAI

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that left; everything else is a fault of this fake."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed names a narrower type


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 10

    def do_POST(self) -> None:
        api = self.server.api
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", "0"))
        raw = self.rfile.read(min(length, _MAX_REQUEST_BYTES))
        try:
            if headers.get("authorization") != f"Bearer {api.key}":
                raise Refused("Incorrect API key provided.", status=401, code="invalid_api_key")  # noqa: TRY301
            if self.path != PATH:
                raise Refused(f"Invalid URL (POST {self.path})", status=404)  # noqa: TRY301
            body = check_request(raw, models=api.models, strict_schemas=api.strict_schemas)
        except Refused as refused:
            api.received(Received(path=self.path, headers=headers, body=_parsed(raw)))
            self._send_json(refused.status, refused.body())
            return
        api.received(Received(path=self.path, headers=headers, body=body))
        self._play(api.take(body), body)

    def do_GET(self) -> None:
        self._send_json(404, Refused(f"Invalid URL (GET {self.path})", status=404).body())

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test output clean."""

    def _play(self, answer: Scripted, body: Mapping[str, Any]) -> None:
        if answer.hang:
            self._hang()
        elif answer.reset:
            self._reset()
        elif answer.body is not None:
            self._send(answer.status, answer.body.encode(), answer.content_type, answer.headers)
        elif answer.status != 200:
            refused = Refused(answer.error, status=answer.status)
            self._send_json(answer.status, refused.body(), answer.headers)
        else:
            self._send_json(200, _completion(answer, body, len(self.server.api.requests)), answer.headers)

    def _hang(self) -> None:
        self.close_connection = True
        self.connection.settimeout(0.05)
        while not self.server.api.closing.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    def _reset(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"id": "chatcmpl-half", "choices": [{"message": {"content": "hal')
        self.wfile.flush()
        # Closing with a linger time of 0 sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _send_json(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", headers or {})

    def _send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        # A connection kept alive would hold up the close of the server, and could be closed just when it is used again.
        self.send_header("Connection", "close")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _completion(answer: Scripted, body: Mapping[str, Any], number: int) -> dict[str, Any]:
    text = answer.text
    if answer.pad_bytes:
        text = (text or "") + "x" * answer.pad_bytes
    calls = [
        {
            "id": call.get("id", f"call_{number}_{index}"),
            "type": "function",
            "function": {"name": call["name"], "arguments": _arguments(call["arguments"])},
        }
        for index, call in enumerate(answer.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    spent = {"prompt_tokens": len(json.dumps(body)), "completion_tokens": len(json.dumps(message))}
    usage = answer.usage or {
        **spent,
        "total_tokens": sum(spent.values()),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    }
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_770_000_000,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": answer.finish_reason or ("tool_calls" if calls else "stop"),
            }
        ],
        "usage": usage,
    }


def _arguments(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def load_script(path: Path) -> list[Scripted]:
    """Read a script of answers.

    Raises:
        TypeError: an entry has a field that `Scripted` does not have.
    """
    entries = [Scripted(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    return [replace(entry, tool_calls=tuple(entry.tool_calls)) for entry in entries]


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; the first line on standard output is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.openai_api", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--script", type=Path, help="JSON file with a list of answers")
    parser.add_argument("--no-strict-schemas", action="store_true", help="refuse response_format, as older servers do")
    options = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    script = load_script(options.script) if options.script else []
    strict = not options.no_strict_schemas
    with FakeOpenAI(script, key=options.key, port=options.port, strict_schemas=strict) as api:
        sys.stdout.write(api.url + "\n")
        sys.stdout.flush()
        stopped.wait()


if __name__ == "__main__":
    main()
