"""What the bridge needs from its environment. Each field is the variable ADIUVA_<FIELD>."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.settings import Secret, Settings


class BridgeSettings(Settings):
    """Read once at the start; a fault names the variable."""

    bridge_device_listen: ListenAddress = ListenAddress("127.0.0.1", 7003)
    """host:port for devices; port 0 lets the system choose. Beyond loopback only with TLS."""
    bridge_internal_listen: ListenAddress = ListenAddress("127.0.0.1", 7002)
    """host:port for services, clients and engineers; likewise."""
    database_url: Secret
    """postgresql+asyncpg://…; the schema `device_bridge` is made and migrated at the start."""
    token_file: Path
    """The services and users that may call, with the hashes of their tokens."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    bridge_replica_address: str = ""
    """What other replicas know this one by; host and internal port of this machine when empty."""
    bridge_heartbeat_seconds: float = Field(default=20.0, ge=0.05, le=300.0)
    """A device is given up after 2.5 of them without a frame; a lease lives for three."""
    bridge_hello_seconds: float = Field(default=5.0, ge=0.05, le=60.0)
    """Until the first frame of a session."""
    bridge_write_blocked_seconds: float = Field(default=10.0, ge=0.05, le=300.0)
    """A peer that does not read for so long is given up."""
    bridge_max_sessions: int = Field(default=20_000, ge=1)
    """Sessions of this replica."""
    bridge_calls_per_device: int = Field(default=64, ge=1, le=1024)
    """Calls under way on one device; as many more as four times that wait."""
    bridge_max_result_bytes: int = Field(default=64 << 20, ge=1 << 10)
    """The largest result of one call."""
    bridge_result_budget_bytes: int = Field(default=256 << 20, ge=1 << 20)
    """Long results that this replica holds at a time."""
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("ADIUVA_TLS_CERT and ADIUVA_TLS_KEY go together")
        return self

    @property
    def lease_seconds(self) -> float:
        """How long a lease lives without renewal."""
        return 3 * self.bridge_heartbeat_seconds

    @property
    def replica(self) -> str:
        """The address of this replica, for leases. It is the same after a restart, unless the port is chosen anew."""
        if self.bridge_replica_address:
            return self.bridge_replica_address
        return f"{socket.gethostname()}:{self.bridge_internal_listen.port}"
