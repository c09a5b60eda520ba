"""Teams with one linked account, a chat and a channel, and the emulator behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from connectors.messages.domain import MessageFilter
from connectors.providers.microsoft.config import GRAPH_HOST, graph_base
from connectors.providers.microsoft.graph import GraphApi
from connectors.providers.port import Account
from connectors.providers.quotas import Rate
from connectors.providers.teams.config import TeamsConfig
from connectors.providers.teams.provider import Teams
from tests.conformance.connectors.provider_lab import Said
from tests.connectors.providers.emulated import http_of
from tests.emulator.core import Emulator, Fault
from tests.emulator.microsoft.conversations import Channel, Chat, ChatMessage, Conversations
from tests.emulator.microsoft.people import TEAMS_SCOPES
from tests.emulator.running import running
from tests.fakes.identity import FakeIdentity

MIA: Final = "mia@contoso.example"
LEO: Final = "leo@contoso.example"
ZOE: Final = "zoe@contoso.example"
_CHAT_ID = "19:abc_def@unq.gbl.spaces"
_REFUSED: Mapping[str, Sequence[MessageFilter]] = {
    "filter.senders": [MessageFilter(senders=(LEO,))],
    "filter.recipients": [MessageFilter(recipients=(LEO,))],
    "filter.subject_contains": [MessageFilter(subject_contains=("budget",))],
    "filter.unread_only": [MessageFilter(unread_only=True)],
    "filter.has_attachment": [MessageFilter(has_attachment=True)],
    "filter.provider_query": [MessageFilter(provider_query="budget")],
    "filter.containers": [
        MessageFilter(containers=(one,))
        for one in ("inbox", _CHAT_ID, "chat:", "chat:a/b", "chat:..", "channel:t", "channel:t/c/m", "channel:../c")
    ]
    + [MessageFilter(containers=tuple(f"chat:{number}" for number in range(51)))],
}


class TeamsLab:
    """Keeps `ProviderLab`, for what is said in one chat or channel."""

    has_attachments = False
    api = r"^/v1\.0/"
    refused = _REFUSED

    def __init__(self, core: Emulator, provider: Teams, where: Chat | Channel) -> None:
        self.core = core
        self.provider = provider
        self._where = where
        mia = core.microsoft.login.accounts[MIA]
        self.account = Account(account_id=f"{mia.object_id}.{mia.tenant}", address=MIA)
        # The list of chats, and the chat where something was said last.
        self.calls_when_idle = 2 if isinstance(where, Chat) else 1
        self.wanted = MessageFilter(containers=() if isinstance(where, Chat) else (self.container,))

    @property
    def teams(self) -> Conversations:
        return self.core.microsoft.teams

    @property
    def where(self) -> str:
        """The id of the chat or channel."""
        return self._where.chat_id if isinstance(self._where, Chat) else self._where.channel_id

    @property
    def container(self) -> str:
        """What filters call it."""
        if isinstance(self._where, Chat):
            return f"chat:{self._where.chat_id}"
        return f"channel:{self._where.team_id}/{self._where.channel_id}"

    def token(self, *without: str) -> str:
        scopes = tuple(scope for scope in TEAMS_SCOPES if scope not in without)
        return self.core.microsoft.link(MIA, scopes=scopes).access_token

    def message(self, provider_id: str) -> ChatMessage:
        return self.teams.message(self.where, provider_id.rpartition("/")[2])

    def post(self, content: str, *, where: str = "", sender: str = LEO, **more: Any) -> ChatMessage:
        """Post a message, into the chat or channel of the lab if it is not said where."""
        return self.teams.post(where or self.where, sender, content, **more)

    async def deliver(self, said: Said) -> str:
        posted = self.post(f"<p>{said.text}</p>", at=said.at)
        return f"{self.container}/{posted.message_id}"

    async def remove(self, provider_id: str) -> None:
        self.teams.delete(self.message(provider_id))

    async def spoil(self, provider_id: str) -> None:
        message_id = provider_id.rpartition("/")[2]
        body = {"id": message_id, "messageType": "message", "from": {}, "createdDateTime": "some day"}
        self.core.faults.add(Fault(route=f"/messages/{message_id}$", times=0, status=200, body=body))

    async def forget(self) -> bool:
        self.core.microsoft.expire_delta(MIA)
        return isinstance(self._where, Channel)


@asynccontextmanager
async def teams_lab(*, in_channel: bool = False, config: TeamsConfig | None = None) -> AsyncIterator[TeamsLab]:
    """Serve the emulator with three accounts, and give a Teams that works against it."""
    config = config or TeamsConfig()
    async with running() as emulator:
        microsoft = emulator.microsoft
        for address in (MIA, LEO, ZOE):
            microsoft.add_account(address)
        microsoft.login.grants.access_lifetime = timedelta(days=365)
        chat = microsoft.teams.add_chat(MIA, LEO)
        team = microsoft.teams.add_team("Sales", MIA, LEO)
        (channel,) = team.channels.values()
        http = http_of(
            emulator,
            graph_base(emulator.base_url).text,
            GRAPH_HOST,
            concurrency=config.concurrency,
            per_connection=[Rate.per_second(10)],
            per_scope=[Rate.per_minute(60)],
        )
        async with http:
            teams = Teams(GraphApi(http), FakeIdentity(emulator.clock.now), config)
            yield TeamsLab(emulator, teams, channel if in_channel else chat)
