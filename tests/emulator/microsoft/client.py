"""The async client of the Microsoft half's control routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import httpx2

from tests.emulator.client import ControlBase
from tests.emulator.mails import Mail
from tests.emulator.microsoft.conversations import ChatType, SharedFile
from tests.emulator.microsoft.graph import RetryAfter
from tests.emulator.microsoft.login import Decision
from tests.emulator.microsoft.login_errors import Death
from tests.emulator.oauth import RefreshMode


class MicrosoftMailControl(ControlBase):
    """Accounts and what lies in their mailboxes. Messages are named by their immutable ids."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        super().__init__(http, "/_emulator/microsoft")

    async def add_account(self, address: str, *, name: str = "", tenant: str = "", personal: bool = False) -> str:
        """Make an account with an empty mailbox, and return its object id; without a tenant it is Contoso's."""
        answer = await self.post("/accounts", address=address, name=name, tenant=tenant or None, personal=personal)
        return str(answer["object_id"])

    async def add_folder(self, address: str, name: str) -> str:
        """Make a folder, and return its id."""
        return str((await self.post("/folders", address=address, name=name))["folder_id"])

    async def deliver(self, address: str, *mails: Mail) -> list[str]:
        """Let mails arrive, and return their immutable ids."""
        answer = await self.post("/mails", address=address, mails=[mail.to_json() for mail in mails])
        return [str(message_id) for message_id in answer["message_ids"]]

    async def messages(self, address: str) -> list[dict[str, Any]]:
        """Return `message_id`, `default_id`, `folder`, `unread` and `subject` of all messages, as they arrived."""
        found: list[dict[str, Any]] = (await self.get("/mails", address=address))["messages"]
        return found

    async def move(self, address: str, message_id: str, folder: str) -> None:
        """Move a message to a folder: by its well-known name, its own name, or its id."""
        await self.post("/moves", address=address, message_id=message_id, folder=folder)

    async def mark(self, address: str, message_id: str, *, unread: bool) -> None:
        """Mark a message as read or unread."""
        await self.post("/marks", address=address, message_id=message_id, unread=unread)

    async def delete_messages(self, address: str, *message_ids: str) -> None:
        """Delete messages for good."""
        await self.post("/deletions", address=address, message_ids=list(message_ids))


class MicrosoftLoginControl(ControlBase):
    """Who consents to what, and what becomes of it."""

    async def consent(
        self,
        *,
        approve: bool = True,
        account: str = "",
        without_scopes: Sequence[str] = (),
        signed_in: str | None = None,
        admin_needed: bool = False,
    ) -> None:
        """Say what the person at the consent screen does from now on; see `oauth.Consent` and `login.Login`."""
        await self.post(
            "/consent",
            approve=approve,
            account=account,
            without_scopes=list(without_scopes),
            signed_in=signed_in,
            admin_needed=admin_needed,
        )

    async def devices(self) -> list[dict[str, Any]]:
        """Return `user_code`, `client_id`, `scopes`, `decision` and `polls` of all device codes, oldest first."""
        found: list[dict[str, Any]] = (await self.get("/devices"))["devices"]
        return found

    async def decide_device(self, user_code: str, decision: Decision, address: str = "") -> None:
        """Do what the person with a user code does; to approve takes an address."""
        await self.post("/device-decisions", user_code=user_code, decision=decision, address=address)

    async def set_device_interval(self, seconds: int) -> None:
        """Say how long devices are told to wait between two polls."""
        await self.post("/device-interval", seconds=seconds)

    async def register_client(self, client_id: str, secret: str, *redirect_uris: str, expired: bool = False) -> None:
        """Register an application, or change one: a new secret makes the old one invalid, or it has expired."""
        await self.post(
            "/clients", client_id=client_id, secret=secret, redirect_uris=list(redirect_uris), expired=expired
        )

    async def change_id_tokens(self, claims: Mapping[str, Any] | None = None, *, forged: bool = False) -> None:
        """Replace claims of the next id tokens (null takes one away), or sign them with an unknown key."""
        await self.post("/id-tokens", claims=dict(claims or {}), forged=forged)

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

    async def link(self, address: str, *scopes: str) -> tuple[str, str]:
        """Return an access and a refresh token as if the account had consented; without scopes to reading mail."""
        answer = await self.post("/link", address=address, scopes=list(scopes) or None)
        return str(answer["access_token"]), str(answer["refresh_token"])

    async def expire_access(self, address: str = "") -> None:
        """Let the access tokens of an account, or all, expire now."""
        await self.post("/expire-access", address=address)

    async def revoke(self, address: str) -> None:
        """Kill all grants of an account, access tokens included."""
        await self.post("/revoke", address=address)

    async def refuse_refresh(self, address: str, death: Death | None) -> None:
        """Let the grants so far of an account die of something; access tokens live on. None heals them."""
        await self.post("/refuse-refresh", address=address, death=death)

    async def grants(self, address: str = "") -> list[dict[str, Any]]:
        """Return `account`, `client_id`, `scopes`, `alive`, `refreshes` and `death` of the grants."""
        found: list[dict[str, Any]] = (await self.get("/grants", address=address))["grants"]
        return found


class MicrosoftTeamsControl(ControlBase):
    """Chats, teams, channels, and what is said there. `where` is the id of a chat or a channel."""

    async def add_chat(self, *addresses: str, topic: str = "", chat_type: ChatType | None = None) -> str:
        """Make a chat, and return its id."""
        answer = await self.post("/chats", addresses=list(addresses), topic=topic, chat_type=chat_type)
        return str(answer["chat_id"])

    async def add_team(self, name: str, *addresses: str) -> tuple[str, str]:
        """Make a team, and return its id and the one of its first channel."""
        answer = await self.post("/teams", name=name, addresses=list(addresses))
        return str(answer["team_id"]), str(answer["channel_id"])

    async def add_channel(self, team_id: str, name: str) -> str:
        """Make a channel, and return its id."""
        return str((await self.post("/channels", team_id=team_id, name=name))["channel_id"])

    async def say(
        self,
        where: str,
        sender: str,
        content: str,
        *,
        content_type: Literal["html", "text"] = "html",
        at: datetime | None = None,
        reply_to: str = "",
        subject: str = "",
        mentions: Sequence[str] = (),
        files: Sequence[SharedFile] = (),
    ) -> str:
        """Post a message, and return its id; see `conversations.Conversations.post`."""
        answer = await self.post(
            "/posts",
            where=where,
            sender=sender,
            content=content,
            content_type=content_type,
            at=at.isoformat() if at else None,
            reply_to=reply_to,
            subject=subject,
            mentions=list(mentions),
            files=[{"file_id": one.file_id, "name": one.name, "url": one.url} for one in files],
        )
        return str(answer["message_id"])

    async def edit(self, where: str, message_id: str, content: str) -> None:
        """Change what a message says."""
        await self.post("/edits", where=where, message_id=message_id, content=content)

    async def delete_chat_message(self, where: str, message_id: str) -> None:
        """Delete a message: it stays, empty."""
        await self.post("/chat-deletions", where=where, message_id=message_id)

    async def react(self, where: str, message_id: str, address: str, kind: str = "like") -> None:
        """React to a message."""
        await self.post("/reactions", where=where, message_id=message_id, address=address, kind=kind)

    async def switch_teams(self, *, leaky_filter: bool | None = None, replies_expanded: int | None = None) -> None:
        """Change how Teams behaves; see `conversations.Conversations`."""
        await self.post("/teams-switches", leaky_filter=leaky_filter, replies_expanded=replies_expanded)


class MicrosoftControl(MicrosoftMailControl, MicrosoftLoginControl, MicrosoftTeamsControl):
    """Found as `ControlClient.microsoft`."""

    async def switch_delta(
        self,
        *,
        empty_pages: int | None = None,
        duplicates: bool | None = None,
        replays: int | None = None,
        strays: int | None = None,
        filtered_at_most: int | None = None,
        expire_at_page: int | None = None,
    ) -> None:
        """Change how delta queries behave; see `walks.DeltaSwitches`."""
        await self.post(
            "/delta",
            empty_pages=empty_pages,
            duplicates=duplicates,
            replays=replays,
            strays=strays,
            filtered_at_most=filtered_at_most,
            expire_at_page=expire_at_page,
        )

    async def expire_delta(
        self, address: str, *, status: int | None = None, code: str | None = None, location: bool | None = None
    ) -> None:
        """Let all delta links of an account so far be too old; see `walks.Expiry` for how that is told."""
        await self.post("/expire-delta", address=address, status=status, code=code, location=location)

    async def switch_graph(
        self,
        *,
        links_to: str | None = None,
        requests_at_once: int | None = None,
        over_limit: RetryAfter | None = None,
    ) -> None:
        """Change how Graph behaves; see `graph.GraphSwitches`."""
        await self.post("/graph", links_to=links_to, requests_at_once=requests_at_once, over_limit=over_limit)

    async def throttle(
        self,
        route: str,
        *,
        times: int = 1,
        skip: int = 0,
        status: int = 429,
        wait_seconds: float = 10,
        retry_after: RetryAfter = RetryAfter.SECONDS,
        account: str = "",
    ) -> None:
        """Refuse requests; see `graph.GraphSwitches.throttle`."""
        await self.post(
            "/throttles",
            route=route,
            times=times,
            skip=skip,
            status=status,
            wait_seconds=wait_seconds,
            retry_after=retry_after,
            account=account,
        )

    async def stop_throttling(self) -> None:
        """Forget all throttlings."""
        await self.delete("/throttles")
