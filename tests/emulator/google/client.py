"""The async client of the Google half's control routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from tests.emulator.client import ControlBase
from tests.emulator.google.quota import Tells
from tests.emulator.mails import Folder, Mail
from tests.emulator.oauth import RefreshMode


class GoogleControl(ControlBase):
    """Found as `ControlClient.google`."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        super().__init__(http, "/_emulator/google")

    async def add_account(self, email: str) -> None:
        """Make an account with an empty mailbox."""
        await self.post("/accounts", email=email)

    async def deliver(self, email: str, *mails: Mail) -> list[str]:
        """Let mails arrive, and return their message ids."""
        answer = await self.post("/mails", email=email, mails=[mail.to_json() for mail in mails])
        return [str(message_id) for message_id in answer["message_ids"]]

    async def messages(self, email: str) -> list[dict[str, Any]]:
        """Return `message_id`, `thread_id`, `label_ids` and `subject` of all messages, newest first."""
        found: list[dict[str, Any]] = (await self.get("/mails", email=email))["messages"]
        return found

    async def move(self, email: str, message_id: str, folder: Folder) -> None:
        """Move a message to another folder."""
        await self.post("/moves", email=email, message_id=message_id, folder=folder)

    async def relabel(
        self, email: str, message_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Add and remove labels, by their ids or a user's own names."""
        await self.post("/labels", email=email, message_id=message_id, add=list(add), remove=list(remove))

    async def delete_messages(self, email: str, *message_ids: str) -> None:
        """Delete messages for good."""
        await self.post("/deletions", email=email, message_ids=list(message_ids))

    async def expire_history(self, email: str) -> None:
        """Let every history id that was given out so far be too old."""
        await self.post("/expire-history", email=email)

    async def consent(
        self,
        *,
        approve: bool = True,
        account: str = "",
        without_scopes: Sequence[str] = (),
        signed_in: str | None = None,
    ) -> None:
        """Say what the person at the consent screen does from now on; see `oauth.Consent`."""
        await self.post(
            "/consent", approve=approve, account=account, without_scopes=list(without_scopes), signed_in=signed_in
        )

    async def register_client(self, client_id: str, secret: str, *redirect_uris: str) -> None:
        """Register an application, or change one: a new secret makes the old one invalid."""
        await self.post("/clients", client_id=client_id, secret=secret, redirect_uris=list(redirect_uris))

    async def set_tokens(
        self,
        *,
        mode: RefreshMode | None = None,
        access_lifetime_seconds: float | None = None,
        refresh_lifetime_seconds: float | None = None,
    ) -> None:
        """Say what a refresh does to the refresh token, and how long tokens live."""
        await self.post(
            "/tokens",
            mode=mode,
            access_lifetime_seconds=access_lifetime_seconds,
            refresh_lifetime_seconds=refresh_lifetime_seconds,
        )

    async def link(self, email: str, *scopes: str) -> tuple[str, str]:
        """Return an access and a refresh token as if the account had consented; without scopes to `gmail.readonly`."""
        answer = await self.post("/link", email=email, scopes=list(scopes) or None)
        return str(answer["access_token"]), str(answer["refresh_token"])

    async def expire_access(self, email: str = "") -> None:
        """Let the access tokens of an account, or all, expire now."""
        await self.post("/expire-access", email=email)

    async def revoke(self, email: str) -> None:
        """Kill all grants of an account, as its owner does."""
        await self.post("/revoke", email=email)

    async def grants(self, email: str = "") -> list[dict[str, Any]]:
        """Return `account`, `client_id`, `scopes`, `alive` and `refreshes` of the grants of an account, or of all."""
        found: list[dict[str, Any]] = (await self.get("/grants", email=email))["grants"]
        return found

    async def set_quota(
        self,
        *,
        units_per_minute: int | None = None,
        most_at_once: int | None = None,
        status: int | None = None,
        tells: Tells | None = None,
        units: Mapping[str, int] | None = None,
    ) -> int:
        """Change the quota (see `quota.Quota`), and return how many calls it refused so far."""
        answer = await self.post(
            "/quota",
            units_per_minute=units_per_minute,
            most_at_once=most_at_once,
            status=status,
            tells=tells,
            units=dict(units) if units else None,
        )
        return int(answer["refused"])

    async def switch(
        self,
        *,
        empty_history_pages: bool | None = None,
        after_compares: Literal["internalDate", "Date"] | None = None,
        bodies: Literal["utf-8", "as-sent"] | None = None,
        largest_inline_body: int | None = None,
        reject_clients: bool | None = None,
    ) -> None:
        """Change how the provider behaves; see `state.Switches`."""
        await self.post(
            "/switches",
            empty_history_pages=empty_history_pages,
            after_compares=after_compares,
            bodies=bodies,
            largest_inline_body=largest_inline_body,
            reject_clients=reject_clients,
        )
