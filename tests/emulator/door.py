"""The one door through which every request to a provider's path comes: counted, delayed, refused, cut off, served."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulator.counters import Call
from tests.emulator.faults import Fault

if TYPE_CHECKING:
    from tests.emulator.core import Core

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_GOOGLE = ("/gmail/", "/batch", "/o/oauth2/", "/token", "/revoke", "/device/")
_IN_TEXT = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last 429 or 503 that named a time: until when it holds, and what to answer whoever comes before that."""

    until: datetime
    wait: timedelta
    status: int
    headers: dict[str, str]
    text: str

    def again(self, now: datetime) -> Refusal:
        """Return the same refusal, with its wait beginning now."""
        until = now + self.wait
        headers = dict(self.headers)
        if not headers.get("Retry-After", "0").isdecimal():
            headers["Retry-After"] = format_datetime(until, usegmt=True)
        text = _IN_TEXT.sub(lambda _: f"Retry after {rfc3339(until)}", self.text)
        return Refusal(until, self.wait, self.status, headers, text)


class Throttles:
    """Who was told to wait, and until when (by the virtual clock)."""

    def __init__(self) -> None:
        self.extend_on_early_calls = False
        """Answer an early call with the same refusal, and let its wait begin anew: retries that keep a throttle up."""
        self._refusals: dict[str, Refusal] = {}

    def refusal_of(self, key: str, now: datetime) -> Refusal | None:
        """Return what `key` was told, if it must still wait."""
        refusal = self._refusals.get(key)
        return refusal if refusal and now < refusal.until else None

    def remember(self, key: str, refusal: Refusal) -> None:
        """Note that `key` was told to wait."""
        self._refusals[key] = refusal

    def note(self, key: str, answer: web.StreamResponse, now: datetime) -> None:
        """Note what `answer` tells `key`, if it is a refusal that names a time."""
        if answer.status not in {429, 503, 403} or not isinstance(answer, web.Response):
            return
        text = (answer.text or "") if isinstance(answer.body, bytes) else ""
        until = _named_time(answer.headers.get("Retry-After"), text, now)
        if until is None or until <= now:
            return
        headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
        self._refusals[key] = Refusal(until, until - now, answer.status, headers, text)


def rfc3339(moment: datetime) -> str:
    """Return a moment as Google writes it: `2026-11-02T09:00:30.000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _named_time(header: str | None, text: str, now: datetime) -> datetime | None:
    if header is not None:
        try:
            named = now + timedelta(seconds=int(header)) if header.isdecimal() else parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        return named if named.tzinfo else named.replace(tzinfo=UTC)
    found = _IN_TEXT.search(text)
    return datetime.fromisoformat(found[1]) if found else None


async def arrive(core: Core, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve one request to a provider's path; the middleware calls this, and a batch for each of its parts."""
    account = core.account_of(request)
    half = "google" if request.path.startswith(_GOOGLE) else "microsoft"
    key = f"{half}:{account or request.path}"
    refusal = core.throttles.refusal_of(key, core.now())
    call = Call(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        account=account,
        at=core.now(),
        half=half,
        early=refusal is not None,
    )
    core.counters.begin(call)
    try:
        # Whoever leaves while it is delayed or held has asked all the same.
        await request.read()
        await asyncio.sleep(core.latency_of(request.path) / 1000)
        if refusal and core.throttles.extend_on_early_calls:
            refusal = refusal.again(core.now())
            core.throttles.remember(key, refusal)
            call.status = refusal.status
            return web.Response(status=refusal.status, headers=refusal.headers, text=refusal.text)
        answer = await _with_faults(core, request, handler, call)
        core.throttles.note(key, answer, core.now())
    except web.HTTPException as answer:
        call.status = answer.status
        raise
    except ConnectionError:
        # The peer died in the middle of its request: there is nobody to answer, and no mistake of ours.
        return web.Response(status=400)
    except Exception:
        core.crashes.append(traceback.format_exc())
        raise
    finally:
        core.counters.end(call)
    return answer


async def _with_faults(core: Core, request: web.Request, handler: Handler, call: Call) -> web.StreamResponse:
    fault = core.faults.take(request.method, request.path, call.account)
    answer = await _instead(core, request, fault) if fault else None
    if answer is None:
        answer = await handler(request)
        if fault and fault.reset_after_bytes is not None:
            return await _cut_off(request, answer, fault.reset_after_bytes)
        call.status = answer.status
    elif not (fault and fault.drop):
        call.status = answer.status
    return answer


async def _instead(core: Core, request: web.Request, fault: Fault) -> web.StreamResponse | None:
    """Do what the fault does before the provider works; return the answer if the provider is not asked at all."""
    if fault.hold:
        await core.faults.hold(fault)
    if fault.delay_ms is not None:
        await asyncio.sleep(fault.delay_ms / 1000)
    if fault.drop:
        _reset(request)
        return web.Response(status=503)
    return None if fault.status is None else _as_planned(fault.status, dict(fault.headers), fault.body)


def _as_planned(status: int, headers: dict[str, str], body: Any) -> web.Response:
    if body is None or isinstance(body, str):
        return web.Response(status=status, headers=headers, text=body or "")
    return web.json_response(body, status=status, headers=headers)


async def _cut_off(request: web.Request, answer: web.StreamResponse, after: int) -> web.StreamResponse:
    """Send the head of an answer and the beginning of its body, then reset the connection."""
    body = answer.body if isinstance(answer, web.Response) else b""
    whole = body if isinstance(body, bytes) else b""
    head = web.StreamResponse(status=answer.status, headers=answer.headers)
    head.content_length = len(whole)
    with contextlib.suppress(ConnectionError):  # the peer may be gone already
        if after > 0:
            await head.prepare(request)
            await head.write(whole[: min(after, max(len(whole) - 1, 0))])
    _reset(request)
    return head


def _reset(request: web.Request) -> None:
    """Reset the connection at once: the peer sees a TCP RST, not an orderly end."""
    transport = request.transport
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
