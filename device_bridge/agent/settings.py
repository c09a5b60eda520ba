"""What the device agent needs from its environment and its command line. Each field is the variable ADIUVA_<FIELD>."""

from __future__ import annotations

import json
from pathlib import Path

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.settings import Secret, Settings
from device_bridge.agent.identity_store import BridgeAddress, StoredIdentity

CLIENT_FILE = "client.json"


class BridgeUnknown(Exception):
    """Nothing says where the bridge is, or what says so cannot be read. The message says what to do."""


class AgentSettings(Settings):
    """Read once at the start; a fault names the variable."""

    data: Path
    """Where everything is kept; the device's own part is in its folder `device`."""
    device_bridge: ListenAddress | None = None
    """host:port of the bridge's port for devices."""
    device_ca: Path | None = None
    """PEM: the authority of the bridge's certificate."""
    device_server_name: str = ""
    """The name in the bridge's certificate, when it is not the target's host."""
    device_name: str = ""
    """What the user calls the device."""
    enrolment_code: Secret | None = None
    """The one-time code, for the first start."""
    log_level: str = ""
    """INFO for a supervised agent, WARNING for one in a terminal, when empty."""

    @property
    def device_directory(self) -> Path:
        """Where the device keeps its identity, its configuration and its workspace."""
        return self.data / "device"


def find_bridge(settings: AgentSettings, stored: StoredIdentity | None) -> BridgeAddress:
    """Return where the bridge is: as told, else as the local stack's client.json says, else as at the last session.

    Raises:
        BridgeUnknown: None of them says it, or a file that is named cannot be read.
    """
    known = _of_the_local_stack(settings.data) or (stored.bridge if stored else None)
    told = settings.device_bridge
    if told is None and known is None:
        message = "Nothing says where the bridge is. Name it with --bridge HOST:PORT, and its authority with --ca FILE."
        raise BridgeUnknown(message)
    server_name = settings.device_server_name or (known.server_name if known else "")
    ca_pem = known.ca_pem if known else ""
    if settings.device_ca is not None:
        ca_pem = _pem(settings.device_ca)
    target = str(told) if told else (known.target if known else "")
    return BridgeAddress(target=target, ca_pem=ca_pem, server_name=server_name)


def _of_the_local_stack(data: Path) -> BridgeAddress | None:
    file = data / CLIENT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        target, ca_file = content["device_bridge"]["device_target"], content.get("ca_file")
        server_name = content.get("server_name") or ""
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise BridgeUnknown(message) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{file} is not what `adiuva up` writes. Start `adiuva up` again, or remove the file."
        raise BridgeUnknown(message) from None
    if not target:
        return None
    return BridgeAddress(
        target=str(target), ca_pem=_pem(Path(ca_file)) if ca_file else "", server_name=str(server_name)
    )


def _pem(file: Path) -> str:
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        message = f"The authority's certificate {file} cannot be read: {error.strerror}."
        raise BridgeUnknown(message) from error
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        message = f"{file} holds no certificate in PEM form."
        raise BridgeUnknown(message)
    return text
