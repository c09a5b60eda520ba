"""What the connectors need from their environment. Each field is the variable ADIUVA_<FIELD>."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.settings import Names, Secret, Settings
from connectors.providers.network import BaseUrl

_TENANT = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$"


class ConnectorsSettings(Settings):
    """Read once at the start; a fault names the variable.

    A provider is there when its client id is set. The numbers of quotas are the providers' own for new projects; each
    replica keeps within them by itself, so with several of them divide the ones for a whole project.
    """

    connectors_listen: ListenAddress = ListenAddress("127.0.0.1", 7004)
    """host:port for gRPC; port 0 lets the system choose. Beyond loopback only with TLS."""
    database_url: Secret
    """postgresql+asyncpg://…; the schema `connectors` is made and migrated at the start."""
    token_file: Path
    """The callers that may call, with the hashes of their tokens."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    key_file: Path
    """The keys that grants are encrypted under, of `adiuva connections keys create`; read again when it changes."""
    redirect_uris: Names = ()
    """Where consents may come back to, beside loopback, such as the app's own pages; compared to the letter."""

    google_client_id: str = ""
    google_client_secret: Secret | None = None
    google_accounts_url: str = "https://accounts.google.com"
    google_oauth2_url: str = "https://oauth2.googleapis.com"
    gmail_url: str = "https://gmail.googleapis.com"
    gmail_units_per_minute: int = Field(default=6_000, ge=1)
    """Of one user."""
    gmail_project_units_per_minute: int = Field(default=1_200_000, ge=1)
    gmail_get_units: int = Field(default=20, ge=1)
    """What reading one message costs."""
    gmail_list_units: int = Field(default=5, ge=1)
    gmail_history_units: int = Field(default=2, ge=1)
    gmail_concurrency: int = Field(default=20, ge=1, le=200)

    microsoft_client_id: str = ""
    microsoft_client_secret: Secret | None = None
    """Unset for a public client, such as one that only uses device codes and loopback redirects."""
    microsoft_tenant: str = Field(default="common", pattern=_TENANT)
    """Whose accounts may link Outlook: common, organizations, consumers, or a tenant's id."""
    microsoft_teams_tenant: str = Field(default="organizations", pattern=_TENANT)
    """Whose accounts may link Teams, which personal accounts do not have."""
    microsoft_login_url: str = "https://login.microsoftonline.com"
    graph_url: str = "https://graph.microsoft.com"
    outlook_requests_per_minute: int = Field(default=1_000, ge=1)
    """Of one mailbox."""
    outlook_concurrency: int = Field(default=4, ge=1, le=50)
    teams_requests_per_second: int = Field(default=10, ge=1)
    """Of the whole app."""
    teams_channel_requests_per_minute: int = Field(default=60, ge=1)
    """Of the whole app, for the messages of channels."""
    log_level: str = "INFO"

    @field_validator("google_accounts_url", "google_oauth2_url", "gmail_url", "microsoft_login_url", "graph_url")
    @classmethod
    def _is_of_the_provider(cls, url: str, info: ValidationInfo) -> str:
        """Refuse what is neither where the provider is nor, for tests, on this machine."""
        known = cls.model_fields[info.field_name or ""].default
        BaseUrl(url, urlsplit(known).netloc)
        return url

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("ADIUVA_TLS_CERT and ADIUVA_TLS_KEY go together")
        if bool(self.google_client_id) != (self.google_client_secret is not None):
            raise ValueError("ADIUVA_GOOGLE_CLIENT_ID and ADIUVA_GOOGLE_CLIENT_SECRET go together")
        if self.microsoft_client_secret is not None and not self.microsoft_client_id:
            raise ValueError("ADIUVA_MICROSOFT_CLIENT_SECRET needs ADIUVA_MICROSOFT_CLIENT_ID")
        return self
