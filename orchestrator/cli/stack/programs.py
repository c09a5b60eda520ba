"""What a local stack runs: each program with its command, its variables and its log."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adiuva.device_bridge.v1 import device_service_pb2, device_service_pb2_grpc
from adiuva_rpc.client_config import ClientConfig
from orchestrator.cli.stack.credentials import Credentials
from orchestrator.cli.stack.errors import DataUnusable
from orchestrator.cli.stack.process import Program, Ready

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the services listen on loopback; 0 lets the system choose."""

    orchestrator: int = 7001
    bridge: int = 7002
    bridge_devices: int = 7003
    connectors: int = 7004


def bridge_program(data: Path, url: str, credentials: Credentials, ports: Ports) -> Program:
    """Return the device bridge."""

    def environment(ready: Ready) -> Mapping[str, str]:
        return {
            "ADIUVA_DATABASE_URL": url,
            "ADIUVA_BRIDGE_DEVICE_LISTEN": f"{HOST}:{ready.get('device_port', ports.bridge_devices)}",
            "ADIUVA_BRIDGE_INTERNAL_LISTEN": f"{HOST}:{ready.get('internal_port', ports.bridge)}",
            "ADIUVA_TOKEN_FILE": str(credentials.token_file),
            "ADIUVA_TLS_CERT": str(credentials.server.cert),
            "ADIUVA_TLS_KEY": str(credentials.server.key),
        }

    return Program(
        "device bridge", [sys.executable, "-m", "device_bridge.server"], environment, data / "logs" / "bridge.log"
    )


def connectors_program(data: Path, url: str, credentials: Credentials, ports: Ports, keys: Path) -> Program:
    """Return the connectors. The providers' settings are those of this process's own environment."""

    def environment(ready: Ready) -> Mapping[str, str]:
        return {
            "ADIUVA_DATABASE_URL": url,
            "ADIUVA_CONNECTORS_LISTEN": f"{HOST}:{ready.get('port', ports.connectors)}",
            "ADIUVA_TOKEN_FILE": str(credentials.token_file),
            "ADIUVA_TLS_CERT": str(credentials.server.cert),
            "ADIUVA_TLS_KEY": str(credentials.server.key),
            "ADIUVA_KEY_FILE": str(keys),
        }

    return Program("connectors", [sys.executable, "-m", "connectors"], environment, data / "logs" / "connectors.log")


async def key_file(data: Path) -> Path:
    """Have the connectors' own command make the keys of the users' grants, unless they are there."""
    file = data / "keys.json"
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors.cli", "keys", "create", "--if-missing", str(file)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, said = await made.communicate()
    if made.returncode != 0:
        raise DataUnusable(said.decode("utf-8", "replace").strip().removeprefix("error "))
    return file


def orchestrator_program(
    data: Path, url: str, credentials: Credentials, ports: Ports, bridge: Program, connectors: Program
) -> Program:
    """Return the orchestrator, which knows the other two."""

    def environment(ready: Ready) -> Mapping[str, str]:
        variables = {
            "ADIUVA_DATABASE_URL": url,
            "ADIUVA_ORCHESTRATOR_LISTEN": f"{HOST}:{ready.get('port', ports.orchestrator)}",
            "ADIUVA_TOKEN_FILE": str(credentials.token_file),
            "ADIUVA_TLS_CERT": str(credentials.server.cert),
            "ADIUVA_TLS_KEY": str(credentials.server.key),
            "ADIUVA_BRIDGE_TARGET": f"{HOST}:{bridge.ready['internal_port']}",
            "ADIUVA_BRIDGE_TOKEN": credentials.service_token,
            "ADIUVA_BRIDGE_CA": str(credentials.ca_file),
            "ADIUVA_BRIDGE_SERVER_NAME": "localhost",
            "ADIUVA_CONNECTORS_TARGET": f"{HOST}:{connectors.ready['port']}",
            "ADIUVA_CONNECTORS_TOKEN": credentials.service_token,
            "ADIUVA_CONNECTORS_CA": str(credentials.ca_file),
            "ADIUVA_CONNECTORS_SERVER_NAME": "localhost",
        }
        # The names that every OpenAI-compatible tool uses.
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            if value := os.environ.get(name):
                variables[f"ADIUVA_{name}"] = value
        return variables

    return Program(
        "orchestrator", [sys.executable, "-m", "orchestrator"], environment, data / "logs" / "orchestrator.log"
    )


async def device_program(data: Path, roots: Sequence[Path], config: ClientConfig) -> Program:
    """Return a device agent that opens the folders; it joins with a one-time code if it has not joined before."""
    code = "" if (data / "device" / "identity.json").exists() else await _enrolment_code(config)
    command = [sys.executable, "-m", "device_bridge.agent", "--data", str(data), "--json"]
    for root in roots:
        command += ["--root", str(root)]
    return Program(
        "device agent", command, lambda _ready: {"ADIUVA_ENROLMENT_CODE": code}, data / "logs" / "device.log"
    )


async def _enrolment_code(config: ClientConfig) -> str:
    async with config.channel(config.device_bridge) as channel:
        request = device_service_pb2.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        answer = await device_service_pb2_grpc.DeviceServiceStub(channel).CreateEnrolmentCode(request)
        return answer.code
