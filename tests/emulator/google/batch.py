"""Gmail's batch: up to a hundred calls as parts of one multipart body, each with its own answer."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message

from aiohttp import web

from tests.emulator.core import Core
from tests.emulator.google.errors import GmailError

_MOST = 100
_REQUEST_LINE = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.1\r?\n")


@dataclass(frozen=True, slots=True)
class _Inner:
    content_id: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


async def batch(core: Core, request: web.Request) -> web.Response:
    """`POST /batch`: serve the parts one after another; a part without authorization has that of the whole.

    Raises:
        GmailError: The body is not a batch, or has more than a hundred parts.
    """
    head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
    whole = message_from_bytes(head + await request.read(), policy=policy.compat32)
    parts = whole.get_payload()
    if whole.get_content_type() != "multipart/mixed" or not isinstance(parts, list):
        raise GmailError(400, "badRequest", "Failed to parse batch request: not multipart/mixed")
    if len(parts) > _MOST:
        raise GmailError(400, "badRequest", f"The batch request has more than {_MOST} calls.")
    inherited = {name: request.headers[name] for name in ("Authorization", "Host") if name in request.headers}
    boundary = f"batch_{secrets.token_urlsafe(16)}"
    answers = [await _served(core, request, _inner(part, inherited)) for part in parts if isinstance(part, Message)]
    body = b"".join(f"--{boundary}\r\n".encode() + answer for answer in answers) + f"--{boundary}--\r\n".encode()
    return web.Response(body=body, headers={"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _inner(part: Message[str, str], inherited: dict[str, str]) -> _Inner:
    content = part.get_payload(decode=True)
    line = _REQUEST_LINE.match(content) if isinstance(content, bytes) else None
    if part.get_content_type() != "application/http" or line is None:
        raise GmailError(400, "badRequest", "Failed to parse batch request: a part is not application/http")
    call = message_from_bytes(bytes(content)[line.end() :], policy=policy.compat32)
    body = call.get_payload(decode=True)
    return _Inner(
        content_id=str(part.get("Content-ID", "")).strip(),
        method=line[1].decode(),
        target=line[2].decode(),
        headers={**inherited, **{name.title(): str(value) for name, value in call.items()}},
        body=body if isinstance(body, bytes) else b"",
    )


async def _served(core: Core, request: web.Request, inner: _Inner) -> bytes:
    answer = await core.inner(request, method=inner.method, target=inner.target, headers=inner.headers, body=inner.body)
    content = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
    head = [
        "Content-Type: application/http",
        f"Content-ID: <response-{inner.content_id.removeprefix('<')}" if inner.content_id else "",
        "",
        f"HTTP/1.1 {answer.status} {answer.reason}",
        *(f"{name}: {value}" for name, value in answer.headers.items() if name.title() != "Content-Length"),
        f"Content-Length: {len(content)}",
    ]
    # An empty line ends the part's own head.
    lines = [line for number, line in enumerate(head) if line or number == 2]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"
