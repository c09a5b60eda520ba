"""Settings: one frozen object per process, read once from ADIUVA_* variables, all faults reported at once.

    class OrchestratorSettings(Settings):
        listen: ListenAddress = ListenAddress("127.0.0.1", 7001)   # ADIUVA_LISTEN
        openai_api_key: Secret | None = None                       # ADIUVA_OPENAI_API_KEY
        peers: Names = ()                                          # ADIUVA_PEERS=one,two

    settings = load_or_exit(OrchestratorSettings)                  # in __main__

An empty variable counts as absent, as docker compose passes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from adiuva_rpc.addresses import ListenAddress

__all__ = ["EXIT_CODE", "ListenAddress", "Names", "Secret", "Settings", "SettingsError", "load", "load_or_exit"]

PREFIX = "ADIUVA_"
EXIT_CODE = 2
"""Of a process whose settings are wrong: as for a wrong command line."""

Secret = SecretStr
"""A value that shows as ********** wherever it is printed; `get_secret_value()` where it is used."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A list in one variable, separated by commas."""


class Settings(BaseSettings):
    """Base of a process's settings. A field `listen` is read from ADIUVA_LISTEN by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", enable_decoding=False, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back: only `load` looks at the environment."""
        return (init_settings,)


class SettingsError(ValueError):
    """Some settings are wrong.

    Attributes:
        faults: Variable name to what is wrong with it; never its value.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        count = "1 setting is" if len(self.faults) == 1 else f"{len(self.faults)} settings are"
        super().__init__("\n".join([f"{count} wrong:", *(f"  {name}: {fault}" for name, fault in self.faults.items())]))


SettingsT = TypeVar("SettingsT", bound=Settings)


def load(cls: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Read the settings of a process.

    Args:
        cls: What to read.
        environ: Instead of the process's own environment.

    Raises:
        SettingsError: With every fault, not only the first.
    """
    source = EnvSettingsSource(cls)
    variables = os.environ if environ is None else environ
    source.env_vars = {name.lower(): value for name, value in variables.items() if value.strip()}
    try:
        return cls(**source())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        faults = {_variable(fault["loc"]): _sentence(fault["type"], fault["msg"]) for fault in found}
        raise SettingsError(faults) from None


def load_or_exit(cls: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Read the settings; on a fault print all of them to stderr and end the process with EXIT_CODE."""
    try:
        return load(cls, environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(EXIT_CODE) from None


def _variable(loc: tuple[int | str, ...]) -> str:
    return PREFIX + str(loc[0]).upper() if loc else PREFIX + "*"


def _sentence(kind: str, message: str) -> str:
    if kind == "missing":
        return "is required"
    return message.removeprefix("Value error, ").removeprefix("Input ")
