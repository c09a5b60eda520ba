from __future__ import annotations

import pytest

from adiuva_rpc.settings import SettingsError, load
from orchestrator.settings import OrchestratorSettings

NEEDED = {
    "ADIUVA_DATABASE_URL": "postgresql+asyncpg:///adiuva",
    "ADIUVA_TOKEN_FILE": "tokens.json",
    "ADIUVA_BRIDGE_TARGET": "127.0.0.1:7002",
    "ADIUVA_BRIDGE_TOKEN": "token",
}


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "[::1]:0", "localhost:9464"])
def test_figures_are_served_on_this_machine_when_asked_for(address: str) -> None:
    assert load(OrchestratorSettings, NEEDED).metrics_listen is None
    assert load(OrchestratorSettings, NEEDED | {"ADIUVA_METRICS_LISTEN": address}).metrics_listen is not None


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "10.0.0.1:9464", "9464"])
def test_figures_are_not_served_to_the_world(address: str) -> None:
    with pytest.raises(SettingsError, match="ADIUVA_METRICS_LISTEN"):
        load(OrchestratorSettings, NEEDED | {"ADIUVA_METRICS_LISTEN": address})


def test_there_need_be_no_connectors_service() -> None:
    settings = load(OrchestratorSettings, NEEDED)

    assert settings.connectors_target is None
    assert settings.connectors_token is None


def test_a_connectors_service_is_called_with_a_token() -> None:
    target = {"ADIUVA_CONNECTORS_TARGET": "127.0.0.1:7004"}

    settings = load(OrchestratorSettings, NEEDED | target | {"ADIUVA_CONNECTORS_TOKEN": "t"})

    assert settings.connectors_target == "127.0.0.1:7004"
    assert str(settings.connectors_token) == "**********"
    with pytest.raises(SettingsError, match="ADIUVA_CONNECTORS_TOKEN: is required with ADIUVA_CONNECTORS_TARGET"):
        load(OrchestratorSettings, NEEDED | target)
