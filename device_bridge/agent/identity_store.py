"""Who this device is, on the disk: `DIR/device/identity.json`, readable by the user alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from device_bridge.agent.private_files import damaged, read_json, write_json

FILE_NAME = "identity.json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeAddress:
    """Where the bridge is and how its certificate is checked."""

    target: str
    """host:port."""
    ca_pem: str = field(default="", repr=False)
    """The authority of its certificate; empty: the system's, or no TLS at all on this machine."""
    server_name: str = ""
    """The name in its certificate, when it is not the target's host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIdentity:
    """What the file holds."""

    installation_id: str
    """Made once: repeating an enrolment with it is safe."""
    bridge: BridgeAddress | None = None
    """Of the last session; None before the first."""
    device_id: str = ""
    user_id: str = ""
    credential: str = field(default="", repr=False)
    """Empty until the bridge has issued one."""


class IdentityStore:
    """Keeps one identity in a directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def load(self) -> StoredIdentity | None:
        """Return the identity, or None when this device never had one.

        Raises:
            DamagedFile: The file is not an identity.
        """
        content = read_json(self.path)
        if content is None:
            return None
        bridge = content.get("bridge")
        texts = [content.get(name) for name in ("installation_id", "device_id", "user_id", "credential")]
        if content.get("version") != _VERSION or not all(isinstance(text, str) for text in texts) or not texts[0]:
            raise damaged(self.path)
        installation_id, device_id, user_id, credential = map(str, texts)
        return StoredIdentity(
            installation_id=installation_id,
            bridge=None if bridge is None else self._bridge(bridge),
            device_id=device_id,
            user_id=user_id,
            credential=credential,
        )

    def load_or_create(self) -> StoredIdentity:
        """Return the identity; a new one is on the disk before it is used, so that an enrolment can be repeated.

        Raises:
            DamagedFile: The file is not an identity.
            OSError: A new one could not be stored.
        """
        identity = self.load()
        if identity is None:
            identity = StoredIdentity(installation_id=str(uuid.uuid4()))
            self.save(identity)
        return identity

    def save(self, identity: StoredIdentity) -> None:
        """Store an identity; it is on the disk when this returns.

        Raises:
            OSError: It is not; the one before still is.
        """
        bridge = identity.bridge
        write_json(
            self.path,
            {
                "version": _VERSION,
                "installation_id": identity.installation_id,
                "bridge": bridge
                and {"target": bridge.target, "ca_pem": bridge.ca_pem, "server_name": bridge.server_name},
                "device_id": identity.device_id,
                "user_id": identity.user_id,
                "credential": identity.credential,
            },
        )

    def _bridge(self, content: object) -> BridgeAddress:
        names = ("target", "ca_pem", "server_name")
        if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in names):
            raise damaged(self.path)
        return BridgeAddress(**{name: content[name] for name in names})
