"""The async client of the control routes, for tests and demos that run the emulator as a process of its own.

async with control_client("http://127.0.0.1:8080") as emulator:
    await emulator.google.add_account("me@example.com")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:  # both import this module
    from tests.emulator.google.client import GoogleControl
    from tests.emulator.microsoft.client import MicrosoftControl

_TIMEOUT = httpx2.Timeout(30)


class ControlError(Exception):
    """The emulator refused a control call: its text says why."""


class ControlBase:
    """What a client of control routes is made of."""

    def __init__(self, http: httpx2.AsyncClient, prefix: str = "/_emulator") -> None:
        self._http = http
        self._prefix = prefix

    async def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Send a JSON object and return the one that comes back. Fields that are None are left out.

        Raises:
            ControlError: It was refused.
        """
        return await self._call("POST", path, json={name: value for name, value in fields.items() if value is not None})

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return what a route shows; empty values of the query are left out.

        Raises:
            ControlError: It was refused.
        """
        return await self._call("GET", path, params={name: value for name, value in query.items() if value})

    async def delete(self, path: str) -> dict[str, Any]:
        """Reset what a route holds.

        Raises:
            ControlError: It was refused.
        """
        return await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await self._http.request(method, self._prefix + path, **options)
        if answer.status_code != 200:
            raise ControlError(f"{method} {path}: {answer.status_code} {answer.text}")
        result: dict[str, Any] = answer.json()
        return result


class ControlClient(ControlBase):
    """The control routes of the core; those of the halves are `google` and `microsoft`."""

    google: GoogleControl
    microsoft: MicrosoftControl

    def __init__(self, http: httpx2.AsyncClient) -> None:
        from tests.emulator.google.client import GoogleControl
        from tests.emulator.microsoft.client import MicrosoftControl

        super().__init__(http)
        self.google = GoogleControl(http)
        self.microsoft = MicrosoftControl(http)

    async def now(self) -> datetime:
        """Return the virtual time."""
        return datetime.fromisoformat((await self.get("/clock"))["now"])

    async def set_clock(self, moment: datetime) -> None:
        """Go to a moment."""
        await self.post("/clock", set=moment.isoformat())

    async def advance(self, seconds: float) -> None:
        """Let this much time pass at once."""
        await self.post("/clock", advance_seconds=seconds)

    async def tick(self, ticking: bool = True) -> None:
        """Let the virtual time run at the speed of the real one, or stand still."""
        await self.post("/clock", ticking=ticking)

    async def add_fault(
        self,
        route: str,
        *,
        method: str = "",
        account: str = "",
        skip: int = 0,
        times: int = 1,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        reset_after_bytes: int | None = None,
        drop: bool = False,
        delay_ms: int | None = None,
        hold: bool = False,
    ) -> int:
        """Plan a fault, as `faults.Fault` describes it, and return its id."""
        answer = await self.post(
            "/faults",
            route=route,
            method=method,
            account=account,
            skip=skip,
            times=times,
            status=status,
            headers=dict(headers or {}),
            body=body,
            reset_after_bytes=reset_after_bytes,
            drop=drop,
            delay_ms=delay_ms,
            hold=hold,
        )
        return int(answer["fault_id"])

    async def fault(self, fault_id: int) -> dict[str, Any]:
        """Return how often a fault was `seen` and `fired`, and how many requests it holds (`waiting`)."""
        return await self.get(f"/faults/{fault_id}")

    async def until_held(self, fault_id: int, requests: int = 1, *, timeout_seconds: float = 20) -> None:
        """Wait until a fault holds this many requests.

        Raises:
            ControlError: It took too long.
        """
        await self.post(f"/faults/{fault_id}/until-held", requests=requests, timeout_seconds=timeout_seconds)

    async def release(self, fault_id: int) -> None:
        """Let go of what a fault holds."""
        await self.post(f"/faults/{fault_id}/release")

    async def clear_faults(self) -> None:
        """Forget the plan, and let go of whatever is held."""
        await self.delete("/faults")

    async def set_latency(self, route: str, ms: int) -> None:
        """Let every request whose path matches `route` take this many real milliseconds; 0 takes that back."""
        await self.post("/latencies", route=route, ms=ms)

    async def extend_throttles_on_early_calls(self, extend: bool = True) -> None:
        """Let every call that comes before its time begin the wait anew."""
        await self.post("/throttles", extend_on_early_calls=extend)

    async def calls(
        self, route: str = "", *, method: str = "", account: str = "", status: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the requests that match, oldest first, with the fields of `counters.Call`."""
        query = {"route": route, "method": method, "account": account, "status": "" if status is None else str(status)}
        found: list[dict[str, Any]] = (await self.get("/calls", **query))["calls"]
        return found

    async def counters(self) -> dict[str, Any]:
        """Return `calls`, `early`, `most_in_flight` (keys as in `counters.Counters`), and `crashes`."""
        return await self.get("/counters")

    async def reset_counters(self) -> None:
        """Forget which requests came."""
        await self.delete("/counters")

    async def secrets(self) -> list[str]:
        """Return every token and code that was ever given out."""
        found: list[str] = (await self.get("/secrets"))["secrets"]
        return found


@asynccontextmanager
async def control_client(base_url: str) -> AsyncIterator[ControlClient]:
    """Connect to an emulator that is served at `base_url` (`http://127.0.0.1:8080`)."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=_TIMEOUT, trust_env=False) as http:
        yield ControlClient(http)
