"""What the orchestrator needs from its environment. Each field is the variable ADIUVA_<FIELD>."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.settings import Secret, Settings


class OrchestratorSettings(Settings):
    """Read once at the start; a fault names the variable."""

    orchestrator_listen: ListenAddress = ListenAddress("127.0.0.1", 7001)
    """host:port for gRPC; port 0 lets the system choose. Beyond loopback only with TLS."""
    database_url: Secret
    """postgresql+asyncpg://…; the schema `orchestrator` is made and migrated at the start."""
    token_file: Path
    """The callers that may call, with the hashes of their tokens."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    bridge_target: str
    """host:port of the device bridge's internal listener."""
    bridge_token: Secret
    """The orchestrator's SERVICE token at the bridge."""
    bridge_ca: Path | None = None
    """The authority that the bridge's certificate comes from; unset only on loopback without TLS."""
    bridge_server_name: str | None = None
    """The name in the bridge's certificate, when it is not the target's host."""
    connectors_target: str | None = None
    """host:port of the connectors service; unset where there is none, and then runs over messages fail."""
    connectors_token: Secret | None = Field(default=None, validate_default=True)
    """The orchestrator's SERVICE token at the connectors; required with a target."""
    connectors_ca: Path | None = None
    """The authority that the connectors' certificate comes from; unset only on loopback without TLS."""
    connectors_server_name: str | None = None
    """The name in the connectors' certificate, when it is not the target's host."""
    openai_api_key: Secret | None = None
    """With it, the runs use an OpenAI-compatible endpoint; without it, the built-in offline model."""
    openai_base_url: str = "https://api.openai.com/v1"
    model: str = "gpt-5-mini"
    """The models to ask, the first one first, separated by commas: the others are asked when it does not answer."""
    concurrent_runs: int = Field(default=16, ge=1, le=1000)
    """Runs of this process at a time; runs of one user never overlap."""
    metrics_listen: ListenAddress | None = None
    """host:port, on loopback only, where Prometheus finds figures at /metrics; unset for nowhere."""
    log_level: str = "INFO"

    @field_validator("connectors_token")
    @classmethod
    def _token_for_target(cls, token: Secret | None, info: ValidationInfo) -> Secret | None:
        if token is None and info.data.get("connectors_target"):
            raise ValueError("is required with ADIUVA_CONNECTORS_TARGET")
        return token

    @field_validator("metrics_listen")
    @classmethod
    def _only_here(cls, address: ListenAddress | None) -> ListenAddress | None:
        if address is not None and not address.is_loopback:
            raise ValueError("must be a loopback address: the figures are served without credentials")
        return address
