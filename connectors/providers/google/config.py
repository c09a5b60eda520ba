"""What has to be known to let users consent at Google."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.providers.network import BaseUrl

GMAIL_READONLY = "https://www.googleapis.com/auth/gmail.readonly"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleConfig:
    """The client that is registered with Google, and where Google is.

    Raises:
        ValueError: An address is not one of Google's or of this machine, or the client has no id or secret.
    """

    client_id: str
    client_secret: str = field(repr=False)
    """A client of the type "Web application" or "Desktop app"; Google gives both a secret."""
    accounts_url: str = "https://accounts.google.com"
    """Where users consent."""
    oauth2_url: str = "https://oauth2.googleapis.com"
    """Where codes and refresh tokens are traded, and grants ended."""
    api_url: str = "https://gmail.googleapis.com"
    """Where it is looked up whose account it is."""
    issuer: str = "https://accounts.google.com"
    """Whom an answer to a consent must come from, if it says so (RFC 9207)."""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("a Google client needs an id and a secret")
        _ = self.accounts, self.oauth2, self.api

    @property
    def accounts(self) -> BaseUrl:
        """`accounts_url`, checked."""
        return BaseUrl(self.accounts_url, "accounts.google.com")

    @property
    def oauth2(self) -> BaseUrl:
        """`oauth2_url`, checked."""
        return BaseUrl(self.oauth2_url, "oauth2.googleapis.com")

    @property
    def api(self) -> BaseUrl:
        """`api_url`, checked."""
        return BaseUrl(self.api_url, "gmail.googleapis.com")
