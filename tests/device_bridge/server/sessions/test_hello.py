"""What a Hello must be."""

from __future__ import annotations

from typing import Any

import pytest

from device_bridge.server.devices.domain import Manifest, Tool
from device_bridge.server.errors import FrameMalformed
from device_bridge.server.sessions.domain import CallInFlight, Limits
from device_bridge.server.sessions.hello import fault_of_hello, reconcile
from tests.device_bridge.server.sessions.examples import HASH, hello, parcel


def tools(*each: Tool) -> Manifest:
    return Manifest(hash=HASH, tools=each)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol_max": 9},
        {"manifest": tools(Tool(name="read"), Tool(name="write_2"))},
        {"root_names": ("a",) * 64},
        {"display_name": "ü" * 256},
    ],
)
def test_a_proper_hello_has_no_fault(changes: dict[str, Any]) -> None:
    assert fault_of_hello(hello(**changes), Limits()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_id": ""},
        {"instance_id": "x" * 129},
        {"installation_id": ""},
        {"installation_id": "a\0"},
        {"display_name": "x" * 257},
        {"display_name": "a\0"},
        {"agent_version": "x" * 257},
        {"root_names": ("a",) * 65},
        {"root_names": ("",)},
        {"root_names": ("a\0",)},
        {"capabilities": ("x" * 129,)},
        {"calls": (CallInFlight("k", True),) * 4097},
        {"calls": (CallInFlight("x" * 129, True),)},
        {"manifest": Manifest(hash="")},
        {"manifest": Manifest(hash=HASH.upper())},
        {"manifest": tools(Tool(name="a"), Tool(name="a"))},
        {"manifest": tools(Tool(name=""))},
        {"manifest": tools(Tool(name="a b"))},
        {"manifest": tools(Tool(name="1a"))},
        {"manifest": tools(Tool(name="a", description="x" * 20_000))},
        {"manifest": tools(Tool(name="a", description="\0"))},
        {"manifest": tools(Tool(name="a", input_schema_json="x" * 70_000))},
        {"manifest": tools(Tool(name="a", max_result_bytes=-1))},
        {"manifest": tools(Tool(name="a", default_timeout=-1.0))},
        {"manifest": tools(*(Tool(name=f"t{number}") for number in range(257)))},
    ],
)
def test_a_hello_out_of_bounds_is_malformed(changes: dict[str, Any]) -> None:
    assert isinstance(fault_of_hello(hello(**changes), Limits()), FrameMalformed)


def test_a_call_that_is_named_twice_counts_once_and_as_finished() -> None:
    wanted = {"a": parcel("a", written=True)}

    plan = reconcile([CallInFlight("a", True), CallInFlight("a", False)], wanted)

    assert plan.resend == ("a",)
    assert plan.under_way == (wanted["a"],)
    assert plan.forget == ()
    assert plan.redeliver == ()
