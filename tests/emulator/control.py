"""The control routes of the core, and what the halves write theirs with.

Each half has a `control.py` with `control_routes(emulator) -> list[web.RouteDef]`, all below `/_emulator/<half>/`. A
handler reads its JSON object with `Body.of(request)`, takes the fields out, calls `done()`, and answers `ok(...)`;
`controlled(handler)` makes a 400 of what is not there or not valid.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.emulator.door import Handler
from tests.emulator.faults import Fault

if TYPE_CHECKING:
    from tests.emulator.core import Core, Emulator


class Body:
    """The JSON object of a control request. A field that is missing, of another type, or left over is a 400."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    @classmethod
    async def of(cls, request: web.Request) -> Self:
        """Read the body; an empty one is an empty object."""
        fields = json.loads(await request.text() or "{}")
        if not isinstance(fields, dict):
            raise web.HTTPBadRequest(text="the body is a JSON object")
        return cls(fields)

    def has(self, name: str) -> bool:
        """Return whether a field is there and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Take a string; without a default it must be there."""
        return str(self._take(name, str, default))

    def integer(self, name: str, default: int | None = None) -> int:
        """Take a whole number; without a default it must be there."""
        return int(self._take(name, int, default))

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """Take a boolean; without a default it must be there."""
        return bool(self._take(name, bool, default))

    def texts(self, name: str, default: list[str] | None = None) -> list[str]:
        """Take a list of strings; without a default it must be there."""
        return [str(one) for one in self._take(name, list, default)]

    def number(self, name: str, default: float | None = None) -> float:
        """Take a number; without a default it must be there."""
        return float(self._take(name, (int, float), default))

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Take a list of objects; it must be there."""
        return [dict(one) for one in self._take(name, list, None)]

    def moment(self, name: str) -> datetime:
        """Take an ISO 8601 time with its zone; it must be there."""
        return datetime.fromisoformat(self.text(name))

    def anything(self, name: str) -> Any:
        """Take any value, or None."""
        return self._fields.pop(name, None)

    def done(self) -> None:
        """Refuse what was not taken."""
        if self._fields:
            raise web.HTTPBadRequest(text=f"unknown fields: {', '.join(sorted(self._fields))}")

    def _take(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self._fields.pop(name, None)
        value = default if value is None else value
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise web.HTTPBadRequest(text=f"{name}: {value!r} is of a wrong type, or missing")
        return value


def ok(**fields: Any) -> web.Response:
    """Return a JSON answer."""
    return web.json_response(fields)


def controlled(handler: Handler) -> Handler:
    """Return the handler with a 400 for whatever is not there (`KeyError`) or not valid (`ValueError`)."""

    async def checked(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (KeyError, ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=f"{type(error).__name__}: {error}") from error

    return checked


def control_routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return all control routes: the core's and both halves'."""
    from tests.emulator.google.control import control_routes as google_routes
    from tests.emulator.microsoft.control import control_routes as microsoft_routes

    return [*_core_routes(emulator), *google_routes(emulator), *microsoft_routes(emulator)]


def _core_routes(core: Core) -> list[web.RouteDef]:
    return [*_clock_routes(core), *_fault_routes(core), *_counter_routes(core)]


def _clock_routes(core: Core) -> list[web.RouteDef]:
    async def read(_: web.Request) -> web.StreamResponse:
        return ok(now=core.now().isoformat())

    async def move(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        if body.has("set"):
            core.clock.set(body.moment("set"))
        core.clock.advance(timedelta(seconds=body.number("advance_seconds", 0)))
        if body.has("ticking"):
            core.clock.tick(body.boolean("ticking"))
        body.done()
        return await read(request)

    return [web.get("/_emulator/clock", read), web.post("/_emulator/clock", controlled(move))]


def _shown(fault: Fault) -> dict[str, Any]:
    return {
        "fault_id": fault.fault_id,
        "route": fault.route,
        "seen": fault.seen,
        "fired": fault.fired,
        "waiting": fault.waiting,
    }


def _planned(body: Body) -> Fault:
    fault = Fault(
        route=body.text("route"),
        method=body.text("method", ""),
        account=body.text("account", ""),
        skip=body.integer("skip", 0),
        times=body.integer("times", 1),
        status=body.integer("status") if body.has("status") else None,
        headers={str(name): str(value) for name, value in (body.anything("headers") or {}).items()},
        body=body.anything("body"),
        reset_after_bytes=body.integer("reset_after_bytes") if body.has("reset_after_bytes") else None,
        drop=body.boolean("drop", False),
        delay_ms=body.integer("delay_ms") if body.has("delay_ms") else None,
        hold=body.boolean("hold", False),
    )
    body.done()
    return fault


def _fault_routes(core: Core) -> list[web.RouteDef]:
    def named(request: web.Request) -> Fault:
        return core.faults.get(int(request.match_info["id"]))

    async def add(request: web.Request) -> web.StreamResponse:
        return ok(**_shown(core.faults.add(_planned(await Body.of(request)))))

    async def show(request: web.Request) -> web.StreamResponse:
        return ok(**_shown(named(request)))

    async def release(request: web.Request) -> web.StreamResponse:
        await core.faults.release(named(request))
        return ok(**_shown(named(request)))

    async def until_held(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        requests, seconds = body.integer("requests", 1), body.number("timeout_seconds")
        body.done()
        async with asyncio.timeout(seconds):
            await core.faults.until_held(named(request), requests)
        return ok(**_shown(named(request)))

    async def clear(_: web.Request) -> web.StreamResponse:
        await core.faults.clear()
        return ok()

    async def latency(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        core.latencies[body.text("route")] = body.integer("ms")
        body.done()
        return ok()

    async def throttle(request: web.Request) -> web.StreamResponse:
        core.throttles.extend_on_early_calls = (await Body.of(request)).boolean("extend_on_early_calls")
        return ok()

    return [
        web.post("/_emulator/faults", controlled(add)),
        web.get("/_emulator/faults/{id}", controlled(show)),
        web.post("/_emulator/faults/{id}/release", controlled(release)),
        web.post("/_emulator/faults/{id}/until-held", controlled(until_held)),
        web.delete("/_emulator/faults", clear),
        web.post("/_emulator/latencies", controlled(latency)),
        web.post("/_emulator/throttles", controlled(throttle)),
    ]


def _counter_routes(core: Core) -> list[web.RouteDef]:
    async def calls(request: web.Request) -> web.StreamResponse:
        query = request.query
        found = core.counters.matching(
            query.get("route", ""),
            method=query.get("method", ""),
            account=query.get("account", ""),
            status=int(query["status"]) if "status" in query else None,
        )
        return ok(
            calls=[
                {
                    "method": call.method,
                    "path": call.path,
                    "query": call.query,
                    "account": call.account,
                    "at": call.at.isoformat(),
                    "early": call.early,
                    "status": call.status,
                }
                for call in found
            ]
        )

    async def counters(_: web.Request) -> web.StreamResponse:
        return ok(
            calls=len(core.counters.calls),
            early=core.counters.early,
            most_in_flight=dict(core.counters.most_in_flight),
            crashes=core.crashes,
        )

    async def reset(_: web.Request) -> web.StreamResponse:
        core.counters.reset()
        return ok()

    async def secrets(_: web.Request) -> web.StreamResponse:
        return ok(secrets=sorted(core.secrets))

    return [
        web.get("/_emulator/calls", controlled(calls)),
        web.get("/_emulator/counters", counters),
        web.delete("/_emulator/counters", reset),
        web.get("/_emulator/secrets", secrets),
    ]
