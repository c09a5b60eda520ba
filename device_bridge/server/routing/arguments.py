"""What a call must be before a device sees it."""

from __future__ import annotations

import json
import re
from typing import Any

from adiuva_rpc.errors import InvalidArgument
from device_bridge.server.routing.domain import MAX_ARGUMENT_BYTES, MAX_TIMEOUT, Call

MAX_DEPTH = 16
MAX_CONTEXT_BYTES = 8 * 1024

_CALL_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_DEVICE = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_USER = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_BRACKETS = re.compile(r"[\[{]")


def check_call(call: Call) -> None:
    """Check the fields of a call; whether it makes sense to the tool is the device's business.

    Raises:
        InvalidArgument: A field is wrong; it is named, its value is not.
    """
    check_call_id(call.call_id)
    if not _USER.fullmatch(call.user_id):
        raise InvalidArgument("call.user_id", "must be the id of a user")
    if not _TOOL.fullmatch(call.tool):
        raise InvalidArgument("call.tool", "must be the name of a tool, e.g. list_projects")
    if not _DEVICE.fullmatch(call.device_id):
        raise InvalidArgument("call.device_id", "must be the id of a device, or empty")
    if not 0 < call.timeout <= MAX_TIMEOUT:
        raise InvalidArgument("call.timeout", f"must be more than 0 and at most {MAX_TIMEOUT:.0f} s")
    if len(call.run_context) > MAX_CONTEXT_BYTES:
        raise InvalidArgument("call.run_context", f"must be at most {MAX_CONTEXT_BYTES} bytes")
    check_arguments(call.arguments_json)


def check_call_id(call_id: str) -> None:
    """Check the id that a caller gave to a call.

    Raises:
        InvalidArgument: It is none.
    """
    if not _CALL_ID.fullmatch(call_id):
        raise InvalidArgument("call_id", "must be 1 to 128 characters of [A-Za-z0-9._:-]")


def check_arguments(text: str) -> None:
    """Check that the arguments are one JSON object that every parser reads alike.

    Raises:
        InvalidArgument: They are too long or too deep, no JSON object, or hold a key twice, NaN or an infinity.
    """
    if len(text) > MAX_ARGUMENT_BYTES or (not text.isascii() and len(text.encode()) > MAX_ARGUMENT_BYTES):
        raise InvalidArgument("call.arguments_json", f"must be at most {MAX_ARGUMENT_BYTES} bytes")
    try:
        value = _DECODER.decode(text)
    except InvalidArgument:
        raise
    except (ValueError, RecursionError):
        # Also integers too long to read, and nesting deeper than the parser goes.
        raise InvalidArgument("call.arguments_json", "must be a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidArgument("call.arguments_json", "must be a JSON object")
    # Few brackets cannot be nested deeply, and most calls have few.
    if len(_BRACKETS.findall(text)) > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise InvalidArgument("call.arguments_json", f"must not be nested deeper than {MAX_DEPTH}")


def _deeper_than(value: object, depth: int) -> bool:
    level: list[object] = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise InvalidArgument("call.arguments_json", "a key stands twice in one object")
    return result


def _constant(_name: str) -> object:
    raise InvalidArgument("call.arguments_json", "NaN and infinities are no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
