"""How this service is known to Microsoft, and where its users sign in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from connectors.providers.network import BaseUrl

LOGIN_HOST: Final = "login.microsoftonline.com"
GRAPH_HOST: Final = "graph.microsoft.com"
GRAPH_VERSION: Final = "v1.0"

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrosoftConfig:
    """An application that is registered with Microsoft, for the accounts of one tenant or kind."""

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    """None for a public client."""
    tenant: str = "common"
    """Whose accounts may sign in: `common`, `organizations`, `consumers`, or a tenant's id."""
    login_base_url: str = f"https://{LOGIN_HOST}"
    keep_metadata: timedelta = timedelta(hours=12)
    """How long the addresses and keys that Microsoft publishes for sign-ins are taken to be true."""
    login: BaseUrl = field(init=False, repr=False, compare=False)
    """`login_base_url`, checked."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: The tenant or the address is not what it may be.
        """
        if not _TENANT.fullmatch(self.tenant):
            raise ValueError(f"{self.tenant!r} cannot be a tenant of Microsoft's")
        object.__setattr__(self, "login", BaseUrl(self.login_base_url, host=LOGIN_HOST))


def graph_base(base_url: str = f"https://{GRAPH_HOST}") -> BaseUrl:
    """Return where Graph is called: a base address of the settings, with the version.

    Raises:
        ValueError: It is not what it may be.
    """
    return BaseUrl(f"{base_url.rstrip('/')}/{GRAPH_VERSION}", host=GRAPH_HOST)
