"""How a client finds the services and proves who it is: `client.json`, as `adiuva up` writes it.

    {"orchestrator": {"target": "127.0.0.1:7001"},
     "device_bridge": {"target": "127.0.0.1:7002", "device_target": "127.0.0.1:7003"},
     "connectors": {"target": "127.0.0.1:7004"},
     "ca_file": "/path/tls/ca.pem", "server_name": "localhost", "token": "…"}

The file is the user's own (0600): it holds a token.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import grpc.aio
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import InsecureTargetError, bearer, connect
from adiuva_rpc.tls import TlsFileError, channel_credentials

CLIENT_VARIABLE = "ADIUVA_CLIENT"
DATA_VARIABLE = "ADIUVA_DATA"
FILE_NAME = "client.json"


class ClientConfigError(ValueError):
    """There is no usable client.json. The text names the file and says what to do.

    Attributes:
        reason: UPPER_SNAKE, as the services' errors have it.
    """

    reason: ClassVar[str] = "CLIENT_CONFIG"


class Endpoint(BaseModel):
    """Where a service listens."""

    model_config = ConfigDict(frozen=True)

    target: str
    """host:port."""
    device_target: str = ""
    """The bridge's public port for devices."""

    @field_validator("target")
    @classmethod
    def _is_an_address(cls, target: str) -> str:
        ListenAddress.parse(target)
        return target


class ClientConfig(BaseModel):
    """What `client.json` holds."""

    model_config = ConfigDict(frozen=True)

    orchestrator: Endpoint
    device_bridge: Endpoint
    connectors: Endpoint | None = None
    """None in a file of a stack without them."""
    ca_file: Path | None = None
    server_name: str | None = None
    token: SecretStr

    @field_validator("token")
    @classmethod
    def _can_travel(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        # What else there is cannot stand in a header; grpc would end the call with an error of its own.
        if not (text.isascii() and text.isprintable()):
            raise ValueError
        return token

    def channel(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """Return a channel to one of the services, with the client's token.

        Raises:
            ClientConfigError: the authority's certificate cannot be read, or is not named and the service is on
                another machine.
        """
        try:
            return connect(
                endpoint.target,
                tls=channel_credentials(self.ca_file) if self.ca_file else None,
                authorization=bearer(self.token.get_secret_value()),
                server_name=self.server_name,
            )
        except (TlsFileError, InsecureTargetError) as error:
            raise ClientConfigError(f"the client configuration cannot be used: {error}") from None


def default_data_directory() -> Path:
    """Return where `adiuva up` keeps its data: $ADIUVA_DATA, else below the user's own data directory."""
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "adiuva"


def client_file(named: Path | None = None) -> Path:
    """Return the client.json to use: the named one, else $ADIUVA_CLIENT, else the one in the data directory."""
    if named is not None:
        return named
    if variable := os.environ.get(CLIENT_VARIABLE):
        return Path(variable)
    return default_data_directory() / FILE_NAME


def load_client_config(named: Path | None = None) -> ClientConfig:
    """Read the client's configuration.

    Raises:
        ClientConfigError: it is absent or not as described.
    """
    file = client_file(named)
    try:
        return ClientConfig.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        msg = f"{file} is not there: start `adiuva up` first, or name another file with --client or ${CLIENT_VARIABLE}"
        raise ClientConfigError(msg) from None
    except OSError as error:
        raise ClientConfigError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        where = ", ".join(".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors())
        raise ClientConfigError(f"{file} is not a client configuration ({where}); start `adiuva up` again") from None
    except ValueError:
        raise ClientConfigError(f"{file} holds no JSON; start `adiuva up` again") from None
