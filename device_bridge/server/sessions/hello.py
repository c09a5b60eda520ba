"""What a Hello must be, and what follows from the calls it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import FrameMalformed, ProtocolUnsupported
from device_bridge.server.routing.domain import Parcel
from device_bridge.server.sessions.domain import PROTOCOL, CallInFlight, Hello, Limits

MAX_ID_CHARS = 128
MAX_NAME_CHARS = 256
MAX_NAMES = 64
MAX_TOOLS = 256
MAX_DESCRIPTION_CHARS = 16 * 1024
MAX_SCHEMA_CHARS = 64 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")
_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


def fault_of_hello(hello: Hello, limits: Limits) -> AdiuvaError | None:
    """Return what is wrong with a Hello, or None."""
    if not hello.protocol_min <= PROTOCOL <= hello.protocol_max:
        return ProtocolUnsupported(
            f"This bridge speaks protocol revision {PROTOCOL}. Update the agent.",
            metadata={"protocol_min": str(PROTOCOL), "protocol_max": str(PROTOCOL)},
        )
    for name, value in (("instance_id", hello.instance_id), ("installation_id", hello.installation_id)):
        if not 0 < len(value) <= MAX_ID_CHARS:
            return FrameMalformed(f"hello.{name} must have 1 to {MAX_ID_CHARS} characters")
    if max(len(hello.agent_version), len(hello.display_name)) > MAX_NAME_CHARS:
        return FrameMalformed(f"hello.agent_version and hello.display_name are at most {MAX_NAME_CHARS} characters")
    for name, values in (("root_names", hello.root_names), ("capabilities", hello.capabilities)):
        if len(values) > MAX_NAMES or any(not 0 < len(value) <= MAX_ID_CHARS for value in values):
            return FrameMalformed(f"hello.{name} holds at most {MAX_NAMES} names of 1 to {MAX_ID_CHARS} characters")
    told = (hello.instance_id, hello.installation_id, hello.agent_version, hello.display_name, *hello.root_names)
    if any("\0" in text for text in told):
        return FrameMalformed("the texts of hello hold no NUL")
    if len(hello.calls) > limits.max_hello_calls or any(len(call.key) > MAX_ID_CHARS for call in hello.calls):
        return FrameMalformed(f"hello.calls names at most {limits.max_hello_calls} calls, by keys of this bridge")
    return fault_of_manifest(hello.manifest)


def fault_of_manifest(manifest: Manifest) -> AdiuvaError | None:
    """Return what is wrong with a manifest, or None."""
    if not _HASH.fullmatch(manifest.hash):
        return FrameMalformed("tools.hash must be a SHA-256 in lower-case hexadecimal")
    if len(manifest.tools) > MAX_TOOLS:
        return FrameMalformed(f"a device offers at most {MAX_TOOLS} tools")
    names = [tool.name for tool in manifest.tools]
    if len(set(names)) < len(names):
        return FrameMalformed("a tool's name is unique on a device")
    for tool in manifest.tools:
        if not _TOOL_NAME.fullmatch(tool.name):
            return FrameMalformed("a tool's name is 1 to 128 characters of [A-Za-z0-9_.-], not beginning with a digit")
        if (
            len(tool.description) > MAX_DESCRIPTION_CHARS
            or len(tool.input_schema_json) > MAX_SCHEMA_CHARS
            or len(tool.toolset) > MAX_ID_CHARS
        ):
            return FrameMalformed(f"the descriptor of tool {tool.name} is too long")
        if any("\0" in text for text in (tool.description, tool.input_schema_json, tool.toolset)):
            return FrameMalformed(f"the descriptor of tool {tool.name} holds a NUL")
        if tool.max_result_bytes < 0 or tool.default_timeout < 0:
            return FrameMalformed(f"the limits of tool {tool.name} are negative")
    return None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What becomes of the calls when a device is back."""

    resend: tuple[str, ...]
    """The device has their answers: it sends them again."""
    forget: tuple[str, ...]
    """The device knows them and nobody waits any more."""
    under_way: tuple[Parcel, ...]
    """Both sides know them: their answers will come."""
    redeliver: tuple[Parcel, ...]
    """They were sent and the device does not know them: they are sent again."""


def reconcile(named: Iterable[CallInFlight], wanted: Mapping[str, Parcel]) -> Reconciliation:
    """Compare the calls that a device names with those that the bridge waits for.

    Args:
        named: From Hello. A key that is named twice counts once, as finished if it is so anywhere.
        wanted: The calls that were written in an earlier session and have no answer yet, by key.
    """
    finished: dict[str, bool] = {}
    for call in named:
        finished[call.key] = call.finished or finished.get(call.key, False)
    return Reconciliation(
        resend=tuple(key for key, done in finished.items() if done and key in wanted),
        forget=tuple(key for key in finished if key not in wanted),
        under_way=tuple(parcel for key, parcel in wanted.items() if key in finished),
        redeliver=tuple(parcel for key, parcel in wanted.items() if key not in finished),
    )
