"""Settings from the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from adiuva_rpc.settings import ListenAddress, Names, Secret, Settings, SettingsError, load, load_or_exit


class BridgeSettings(Settings):
    """A process's settings."""

    listen: ListenAddress = ListenAddress("127.0.0.1", 7002)
    data: Path
    openai_api_key: Secret | None = None
    max_calls: int = Field(default=64, ge=1, le=1000)
    peers: Names = ()
    verbose: bool = False


def test_every_variable_is_read() -> None:
    settings = load(
        BridgeSettings,
        {
            "ADIUVA_LISTEN": "[::1]:0",
            "ADIUVA_DATA": "/var/lib/adiuva",
            "ADIUVA_OPENAI_API_KEY": "sk-canary-1234567890",
            "ADIUVA_MAX_CALLS": "7",
            "ADIUVA_PEERS": "one, two,",
            "ADIUVA_VERBOSE": "true",
            "ADIUVA_OTHER_SERVICES_SETTING": "not ours",
        },
    )

    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-canary-1234567890"
    assert settings.model_dump(exclude={"openai_api_key"}) == {
        "listen": ListenAddress("::1", 0),
        "data": Path("/var/lib/adiuva"),
        "max_calls": 7,
        "peers": ("one", "two"),
        "verbose": True,
    }


def test_an_empty_variable_counts_as_absent() -> None:
    settings = load(BridgeSettings, {"ADIUVA_DATA": "/d", "ADIUVA_MAX_CALLS": "", "ADIUVA_OPENAI_API_KEY": " "})

    assert (settings.max_calls, settings.openai_api_key) == (64, None)


def test_all_faults_are_reported_at_once_without_values() -> None:
    with pytest.raises(SettingsError) as caught:
        load(
            BridgeSettings,
            {"ADIUVA_LISTEN": "sk-canary-1234567890", "ADIUVA_MAX_CALLS": "5000", "ADIUVA_VERBOSE": "sk-canary"},
        )

    assert list(caught.value.faults) == ["ADIUVA_LISTEN", "ADIUVA_DATA", "ADIUVA_MAX_CALLS", "ADIUVA_VERBOSE"]
    text = str(caught.value)
    assert text.startswith("4 settings are wrong:\n  ADIUVA_LISTEN: must be host:port, e.g. 127.0.0.1:7001\n")
    assert "ADIUVA_DATA: is required" in text
    assert "ADIUVA_MAX_CALLS: should be less than or equal to 1000" in text
    assert "sk-canary" not in text


def test_one_fault_is_one() -> None:
    with pytest.raises(SettingsError, match=r"^1 setting is wrong:"):
        load(BridgeSettings, {})


def test_settings_are_frozen_and_do_not_show_secrets() -> None:
    settings = load(BridgeSettings, {"ADIUVA_DATA": "/d", "ADIUVA_OPENAI_API_KEY": "sk-canary-1234567890"})

    assert "canary" not in repr(settings)
    assert "canary" not in settings.model_dump_json()
    with pytest.raises(ValidationError, match="frozen"):
        settings.max_calls = 3


def test_settings_made_in_code_do_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADIUVA_MAX_CALLS", "7")

    assert BridgeSettings(data=Path("/d")).max_calls == 64
    assert load(BridgeSettings, {"ADIUVA_DATA": "/d"}).max_calls == 64


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADIUVA_DATA", "/from/environment")

    assert load(BridgeSettings).data == Path("/from/environment")


def test_a_process_with_wrong_settings_ends_with_2_and_a_list_on_stderr() -> None:
    script = (
        "from adiuva_rpc.settings import Settings, load_or_exit\n"
        "class S(Settings):\n"
        "    first: int\n"
        "    second: int\n"
        "load_or_exit(S, {})\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "2 settings are wrong:\n  ADIUVA_FIRST: is required\n  ADIUVA_SECOND: is required\n"


def test_right_settings_do_not_end_the_process() -> None:
    assert load_or_exit(BridgeSettings, {"ADIUVA_DATA": "/d"}).data == Path("/d")
