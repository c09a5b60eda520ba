"""Who there is at Microsoft: accounts with their tenants, the applications, and the permissions that exist."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from tests.emulator.oauth import Client

CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant in which all personal accounts live."""
CONTOSO = "2432b57b-0abd-43db-aa7b-16eadd115d34"
"""The tenant of a work account that is added without one."""

CLIENT = Client(client_id="5d1f9f44-6c3b-4c5e-9d6c-0a7b8c9d0e1f", secret="emu8Q~emulated-microsoft-secret")
"""A confidential application that is registered from the start, with loopback redirects."""
PUBLIC_CLIENT = Client(client_id="b7a3c2d1-9e8f-4a6b-8c7d-1f2e3d4c5b6a")
"""A public one, for device codes and PKCE without a secret."""

_NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")

SIGN_IN_SCOPES = ("openid", "profile", "email", "offline_access")
"""What OpenID Connect knows; the rest are permissions of Graph."""
WORK_ONLY_SCOPES = (
    "Chat.Read",
    "Chat.ReadBasic",
    "Chat.ReadWrite",
    "ChannelMessage.Read.All",
    "Team.ReadBasic.All",
    "Channel.ReadBasic.All",
)
"""Permissions that a personal account cannot give."""
ADMIN_SCOPES = ("ChannelMessage.Read.All",)
"""Permissions that only an administrator can give."""
GRAPH_SCOPES = ("User.Read", "Mail.Read", "Mail.ReadBasic", "Mail.ReadWrite", *WORK_ONLY_SCOPES)
GRAPH_RESOURCE = "https://graph.microsoft.com/"
"""What the permissions of Graph may be prefixed with."""

MAIL_SCOPES = ("offline_access", "openid", "profile", "User.Read", "Mail.Read")
TEAMS_SCOPES = ("offline_access", "openid", "profile", "User.Read", *WORK_ONLY_SCOPES)


def guid(what: str) -> str:
    """Return a GUID that depends on `what` only."""
    return str(uuid.uuid5(_NAMESPACE, what))


@dataclass(frozen=True, kw_only=True)
class Account:
    """A work or a personal account. Its ids depend on the address only."""

    address: str
    """Sign-in name and mail address; lower case."""
    name: str
    tenant: str

    @property
    def personal(self) -> bool:
        """Whether it is a personal account."""
        return self.tenant == CONSUMERS

    @property
    def cid(self) -> str:
        """The 16 hexadecimal digits that Graph calls a personal account."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]

    @property
    def object_id(self) -> str:
        """What id tokens call it (`oid`); for a personal account it is not its id in Graph."""
        if self.personal:
            return f"00000000-0000-0000-{self.cid[:4]}-{self.cid[4:]}"
        return guid(f"account:{self.address}")

    @property
    def graph_id(self) -> str:
        """What Graph calls it."""
        return self.cid if self.personal else self.object_id


def known_scopes(asked: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the scopes of a request in their own spelling, and those that do not exist as they were written.

    Args:
        asked: Separated by spaces; case does not matter, and permissions may carry Graph's address.
    """
    spelling = {scope.lower(): scope for scope in (*SIGN_IN_SCOPES, *GRAPH_SCOPES)}
    known: dict[str, None] = {}
    unknown = []
    for one in asked.split():
        scope = spelling.get(one.lower().removeprefix(GRAPH_RESOURCE))
        if scope is None:
            unknown.append(one)
        else:
            known[scope] = None
    return tuple(known), tuple(unknown)
