"""The container files name commands, ports, variables and files that the code has. Checked without an engine."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adiuva_rpc.settings import PREFIX, Settings
from connectors.settings import ConnectorsSettings
from device_bridge.server.settings import BridgeSettings
from orchestrator.settings import OrchestratorSettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, type[Settings]] = {
    "orchestrator": OrchestratorSettings,
    "device_bridge": BridgeSettings,
    "connectors": ConnectorsSettings,
}
CREDENTIAL_FILES = {
    "tokens/callers.json",
    "tokens/service",
    "tokens/client",
    "tls/ca.pem",
    "tls/server.pem",
    "tls/server-key.pem",
}


def variables(settings: type[Settings]) -> dict[str, bool]:
    """Return the variables of a service, and whether each is required."""
    return {PREFIX + name.upper(): field.is_required() for name, field in settings.model_fields.items()}


def command(service: str) -> str:
    given = COMPOSE["services"][service].get("command")
    if given:
        return " ".join(given)
    dockerfile = (ROOT / COMPOSE["services"][service]["build"]["dockerfile"]).read_text(encoding="utf-8")
    found = re.search(r"^CMD \[(.*)\]$", dockerfile, flags=re.MULTILINE)
    assert found
    return found.group(1).replace('"', "").replace(",", "")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_only_variables_that_it_reads_and_all_that_it_needs(service: str) -> None:
    known = variables(SERVICES[service])
    given = set(COMPOSE["services"][service]["environment"])
    given |= set(re.findall(r"ADIUVA_[A-Z_]+(?==)", command(service)))

    assert given <= set(known)
    assert {name for name, required in known.items() if required} <= given


@pytest.mark.parametrize("service", [*SERVICES, "credentials", "keys"])
def test_a_command_starts_a_module_that_exists(service: str) -> None:
    module = re.search(r"-m ([a-z_.]+)", command(service))

    assert module
    assert importlib.util.find_spec(module.group(1)) is not None


@pytest.mark.parametrize("service", SERVICES)
def test_published_ports_are_the_ones_that_the_service_listens_on(service: str) -> None:
    environment = COMPOSE["services"][service]["environment"]
    listening = {value.rsplit(":", 1)[1] for name, value in environment.items() if name.endswith("_LISTEN")}
    published = {port.rsplit(":", 1)[1] for port in COMPOSE["services"][service]["ports"]}
    dockerfile = (ROOT / COMPOSE["services"][service]["build"]["dockerfile"]).read_text(encoding="utf-8")
    exposed = set(" ".join(re.findall(r"^EXPOSE (.*)$", dockerfile, flags=re.MULTILINE)).split())

    assert listening == published == exposed


@pytest.mark.parametrize(
    ("target", "listen"),
    [
        ("ADIUVA_BRIDGE_TARGET", "ADIUVA_BRIDGE_INTERNAL_LISTEN"),
        ("ADIUVA_CONNECTORS_TARGET", "ADIUVA_CONNECTORS_LISTEN"),
    ],
)
def test_the_orchestrator_finds_the_other_services_where_they_listen(target: str, listen: str) -> None:
    host, port = COMPOSE["services"]["orchestrator"]["environment"][target].split(":")

    assert host in COMPOSE["services"]
    assert COMPOSE["services"][host]["environment"][listen].endswith(f":{port}")
    assert host in COMPOSE["services"]["credentials"]["command"]


def test_every_credential_file_that_is_named_is_one_that_is_made(tmp_path: Path) -> None:
    from orchestrator.cli.stack.credentials import ensure_credentials

    ensure_credentials(tmp_path, ["orchestrator", "device_bridge", "connectors"])
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    named = set(re.findall(r"/credentials/([a-z/.-]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))

    assert named <= made
    assert made >= CREDENTIAL_FILES


@pytest.mark.parametrize("service", SERVICES)
def test_a_dockerfile_copies_files_that_exist(service: str) -> None:
    dockerfile = (ROOT / COMPOSE["services"][service]["build"]["dockerfile"]).read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", dockerfile, flags=re.MULTILINE) for name in line.split()]

    assert copied
    assert not [name for name in copied if not (ROOT / name).exists()]


def test_every_service_waits_for_services_that_exist() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
