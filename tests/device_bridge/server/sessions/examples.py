"""Frames, items and calls for tests of the session."""

from __future__ import annotations

import hashlib
from typing import Any

from device_bridge.server.devices.domain import Manifest, Tool
from device_bridge.server.routing.domain import Call, Parcel
from device_bridge.server.sessions.domain import CallDone, DeviceItem, Frame, Hello, OutcomeKind, Terms

HASH = hashlib.sha256(b"tools").hexdigest()
TERMS = Terms(session_id="session-1", epoch=7, user_id="anna", device_id="laptop", need_tools=False)


def hello(**changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "protocol_min": 1,
        "protocol_max": 1,
        "instance_id": "instance-1",
        "installation_id": "installation-1",
        "agent_version": "0.1.0",
        "display_name": "laptop",
        "manifest": Manifest(hash=HASH),
        **changes,
    }
    return Hello(**fields)


def tools(**limits: int) -> Manifest:
    return Manifest(hash=HASH, tools=tuple(Tool(name=name, max_result_bytes=limit) for name, limit in limits.items()))


def frame(seq: int, *items: DeviceItem) -> Frame:
    return Frame(seq, items)


def parcel(key: str, *, tool: str = "echo", written: bool = False) -> Parcel:
    call = Call(user_id="anna", call_id=f"call-{key}", device_id="laptop", tool=tool, arguments_json="{}")
    return Parcel(key, call, deadline=1000.0, written=written)


def done(key: str, size: int = 2) -> CallDone:
    return CallDone(key, OutcomeKind.RESULT, size, b"encoded")


def failed(key: str) -> CallDone:
    return CallDone(key, OutcomeKind.FAILURE, 0, b"failure")


def chunked(key: str, size: int) -> CallDone:
    return CallDone(key, OutcomeKind.CHUNKED, size, b"chunked")
