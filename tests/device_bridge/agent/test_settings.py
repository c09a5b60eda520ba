"""Where the bridge is, and what else the environment says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adiuva_rpc.settings import SettingsError, load
from device_bridge.agent.identity_store import BridgeAddress, StoredIdentity
from device_bridge.agent.settings import AgentSettings, BridgeUnknown, find_bridge

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
STORED = StoredIdentity(
    installation_id="i", bridge=BridgeAddress(target="stored.example:7003", ca_pem="stored", server_name="stored")
)


def settings(tmp_path: Path, **variables: str) -> AgentSettings:
    return load(AgentSettings, {"ADIUVA_DATA": str(tmp_path), **variables})


def client_file(tmp_path: Path, **changes: Any) -> None:
    (tmp_path / "ca.pem").write_text(PEM)
    content = {
        "orchestrator": {"target": "127.0.0.1:7001"},
        "device_bridge": {"target": "127.0.0.1:7002", "device_target": "127.0.0.1:7003"},
        "ca_file": str(tmp_path / "ca.pem"),
        "server_name": "localhost",
        "token": "t",
        **changes,
    }
    (tmp_path / "client.json").write_text(json.dumps(content))


def test_the_bridge_is_the_one_that_was_named(tmp_path: Path) -> None:
    client_file(tmp_path)
    (tmp_path / "mine.pem").write_text(PEM + "# mine\n")

    bridge = find_bridge(
        settings(
            tmp_path,
            ADIUVA_DEVICE_BRIDGE="named.example:1",
            ADIUVA_DEVICE_CA=str(tmp_path / "mine.pem"),
            ADIUVA_DEVICE_SERVER_NAME="named",
        ),
        STORED,
    )

    assert bridge == BridgeAddress(target="named.example:1", ca_pem=PEM + "# mine\n", server_name="named")


def test_else_the_one_of_the_local_stack(tmp_path: Path) -> None:
    client_file(tmp_path)

    bridge = find_bridge(settings(tmp_path), STORED)

    assert bridge == BridgeAddress(target="127.0.0.1:7003", ca_pem=PEM, server_name="localhost")


def test_else_the_one_of_the_last_session(tmp_path: Path) -> None:
    assert find_bridge(settings(tmp_path), STORED) == STORED.bridge


def test_a_bridge_that_moved_keeps_its_authority(tmp_path: Path) -> None:
    bridge = find_bridge(settings(tmp_path, ADIUVA_DEVICE_BRIDGE="moved.example:1"), STORED)

    assert bridge == BridgeAddress(target="moved.example:1", ca_pem="stored", server_name="stored")


@pytest.mark.parametrize(
    "stored", [None, StoredIdentity(installation_id="i")], ids=["nothing stored", "no session yet"]
)
def test_a_bridge_that_nothing_names_is_asked_for(tmp_path: Path, stored: StoredIdentity | None) -> None:
    with pytest.raises(BridgeUnknown, match="--bridge HOST:PORT"):
        find_bridge(settings(tmp_path), stored)


def test_a_stack_without_a_port_for_devices_names_no_bridge(tmp_path: Path) -> None:
    client_file(tmp_path, device_bridge={"target": "127.0.0.1:7002", "device_target": ""})

    with pytest.raises(BridgeUnknown, match="--bridge"):
        find_bridge(settings(tmp_path), None)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"device_bridge": 3}'])
def test_a_client_file_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "client.json").write_text(content)

    with pytest.raises(BridgeUnknown, match=r"client\.json is not what `adiuva up` writes"):
        find_bridge(settings(tmp_path), None)


@pytest.mark.parametrize("content", [None, "no certificate", "é"])
def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)

    with pytest.raises(BridgeUnknown, match=r"ca\.pem"):
        find_bridge(settings(tmp_path, ADIUVA_DEVICE_BRIDGE="a:1", ADIUVA_DEVICE_CA=str(tmp_path / "ca.pem")), None)


def test_every_fault_is_reported_at_once_and_no_value_of_it() -> None:
    with pytest.raises(SettingsError) as error:
        load(AgentSettings, {"ADIUVA_DEVICE_BRIDGE": "nowhere"})

    assert set(error.value.faults) == {"ADIUVA_DATA", "ADIUVA_DEVICE_BRIDGE"}
    assert "nowhere" not in str(error.value)


def test_the_code_is_not_shown_when_settings_are_printed(tmp_path: Path) -> None:
    assert "one-time" not in repr(settings(tmp_path, ADIUVA_ENROLMENT_CODE="one-time"))
