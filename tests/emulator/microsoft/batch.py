"""Graph's `$batch`: up to twenty requests in one, at most four at a time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.graph import Call, bad_request

MOST = 20
AT_ONCE = 4
_KEYS = {"id", "method", "url", "headers", "body", "dependsOn"}
_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


@dataclass(slots=True, eq=False, kw_only=True)
class _Step:
    step_id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    depends_on: tuple[str, ...]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0


async def batch(call: Call) -> web.StreamResponse:
    """Answer `POST /$batch`. Answers stand in the order in which they were ready."""
    call.options({})
    steps = _steps(await _json(call))
    answers: list[dict[str, Any]] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(step: _Step) -> None:
        try:
            answers.append(await _answer(call, step, steps, gate))
        finally:
            step.done.set()

    running = call.emulator.microsoft.graph.batches
    running[call.account.address] += 1
    try:
        async with asyncio.TaskGroup() as tasks:
            for step in steps.values():
                tasks.create_task(run(step))
    finally:
        running[call.account.address] -= 1
    return call.answer({"responses": answers})


async def _json(call: Call) -> Any:
    try:
        return json.loads(await call.request.text())
    except ValueError as error:
        raise bad_request("Unable to read JSON request payload.") from error


def _steps(payload: Any) -> dict[str, _Step]:
    requests = payload.get("requests") if isinstance(payload, dict) else None
    if not isinstance(requests, list) or not requests or set(payload) != {"requests"}:
        raise bad_request("Invalid batch payload format.")
    if len(requests) > MOST:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {MOST}.")
    steps: dict[str, _Step] = {}
    for request in requests:
        step = _step(request)
        if step.step_id in steps:
            raise bad_request(f"The batch request id '{step.step_id}' is not unique.")
        if any(needed not in steps for needed in step.depends_on):
            raise bad_request("dependsOn may name requests that stand before only.")
        steps[step.step_id] = step
    return steps


def _step(request: Any) -> _Step:
    if not isinstance(request, dict) or set(request) - _KEYS or not all(request.get(key) for key in ("id", "url")):
        raise bad_request("Invalid batch request: id, method and url are needed.")
    url, method = str(request["url"]), str(request.get("method", "")).upper()
    if method not in _METHODS:
        raise bad_request(f"Invalid batch request: method '{method}'.")
    if not url.startswith("/") or url.startswith(("//", "/$batch")):
        raise bad_request("Invalid batch request: the url is relative to the version, and no batch.")
    body = request.get("body")
    return _Step(
        step_id=str(request["id"]),
        method=method,
        url=url,
        headers={str(name): str(value) for name, value in (request.get("headers") or {}).items()},
        body=b"" if body is None else json.dumps(body).encode(),
        depends_on=tuple(str(one) for one in request.get("dependsOn") or ()),
    )


async def _answer(call: Call, step: _Step, steps: Mapping[str, _Step], gate: asyncio.Semaphore) -> dict[str, Any]:
    for needed in step.depends_on:
        await steps[needed].done.wait()
    if any(steps[needed].status >= 400 for needed in step.depends_on):
        step.status = 424
        error = {"code": "FailedDependency", "message": "A request that this one depends on has failed."}
        return {"id": step.step_id, "status": 424, "headers": {}, "body": {"error": error}}
    own = {"Authorization": call.request.headers["Authorization"], "Host": call.request.host}
    async with gate:
        answer = await call.emulator.inner(
            call.request,
            method=step.method,
            target=f"/v1.0{step.url}",
            headers={**own, **step.headers},
            body=step.body,
        )
    step.status = answer.status
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    return {"id": step.step_id, "status": answer.status, "headers": headers, "body": _body(answer)}


def _body(answer: web.StreamResponse) -> Any:
    raw = answer.body if isinstance(answer, web.Response) else b""
    if not isinstance(raw, bytes) or not raw:
        return None
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        return json.loads(raw)
    return base64.b64encode(raw).decode()
