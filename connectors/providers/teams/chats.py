"""What is new in a user's chats.

    state = {"since": "2026-11-02T…", "floor": "2026-11-02T…", "walked": "2026-11-22T…", "chats": {"19:…": "2026-…"}}

The chats come in the order of their last messages, so the walk ends at the first one where nothing was said since the
walk before (`walked`: the last message of all when that one began). Each chat on the way is read newest first down to
where it was read before (`chats`), all of it, and only then is its place moved. A chat without a place of its own is
read down to `floor`, where the last walk but one began: one that moved to the front during a walk was perhaps not met
on it.

That a message was edited is noticed when something is said in its chat after that, or when the filter names the chat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import structlog

from connectors.errors import ConnectionBlocked
from connectors.messages.domain import JsonObject, Query
from connectors.providers.microsoft.graph import GraphApi, GraphNotFound
from connectors.providers.port import Session
from connectors.providers.teams.config import CHATS, MAX_CHATS, OVERLAP, TeamsConfig
from connectors.providers.teams.harvest import Harvest, Span, latest, written
from connectors.providers.teams.items import time_of
from connectors.providers.teams.places import Places, chat_path

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Reached:
    """How far the chats have been read."""

    since: datetime
    """Where the window began."""
    floor: datetime | None
    walked: datetime | None
    chats: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, state: JsonObject, query: Query) -> Self:
        """Return what a state says; one that says nothing begins where the query's window does."""
        chats = state.get("chats")
        known = {str(chat): time_of(at) for chat, at in chats.items()} if isinstance(chats, dict) else {}
        return cls(
            since=time_of(state.get("since")) or query.since,
            floor=time_of(state.get("floor")),
            walked=time_of(state.get("walked")),
            chats={chat: at for chat, at in known.items() if at is not None},
        )

    def of_chat(self, chat: str) -> Span:
        """Return what of a chat is to be listed."""
        return Span(self.since, self.chats.get(chat, self.floor), OVERLAP)

    def to_json(self) -> JsonObject:
        """Return it as a state."""
        newest = sorted(self.chats.items(), key=lambda one: one[1], reverse=True)[:MAX_CHATS]
        return {
            "since": self.since.isoformat(),
            "floor": self.floor.isoformat() if self.floor else None,
            "walked": self.walked.isoformat() if self.walked else None,
            "chats": {chat: at.isoformat() for chat, at in newest},
        }


class ChatLister:
    """Lists the chats for one provider."""

    def __init__(self, api: GraphApi, config: TeamsConfig) -> None:
        self._api = api
        self._config = config

    async def list_new(self, harvest: Harvest, wanted: Places, state: JsonObject) -> JsonObject:
        """Take in what is new; returns the new state.

        Raises:
            ConnectionBlocked: Chats may not be read at all.
        """
        reached = Reached.of(state, harvest.query)
        if wanted.all_chats:
            await self._walk(harvest, reached)
        else:
            for chat in wanted.chats:
                if not await self._drain(harvest, reached, chat):
                    await self.check_access(harvest.session)
        return reached.to_json()

    async def check_access(self, session: Session) -> None:
        """Find out whether the user may read chats at all: one that may not be read is then only theirs no more.

        Raises:
            ConnectionBlocked: No.
        """
        await self._api.get(session, "/me/chats", params={"$top": "1"}, cost=CHATS)

    async def _walk(self, harvest: Harvest, reached: Reached) -> None:
        active = await self._active(harvest.session, Span(reached.since, reached.walked, OVERLAP).after)
        read = refused = 0
        for chat, last in active:
            if last <= reached.of_chat(chat).after:
                continue
            if await self._drain(harvest, reached, chat):
                read += 1
            else:
                refused += 1
        if refused and not read:
            raise ConnectionBlocked
        reached.floor = reached.walked
        if active:
            reached.walked = latest(reached.walked, active[0][1])

    async def _active(self, session: Session, since: datetime) -> list[tuple[str, datetime]]:
        """Return the chats where something was said since a time, and when that was, the last one first."""
        params = {
            "$expand": "lastMessagePreview",
            "$orderby": "lastMessagePreview/createdDateTime desc",
            "$top": str(self._config.page_size),
        }
        found: dict[str, datetime] = {}
        async for page in self._api.pages(session, "/me/chats", params=params, cost=CHATS):
            for chat in page.values:
                preview = chat.get("lastMessagePreview")
                last = time_of(preview.get("createdDateTime")) if isinstance(preview, dict) else None
                if last is not None and last < since:
                    return list(found.items())
                if last is not None and chat.get("id"):
                    found.setdefault(str(chat["id"]), last)
        return list(found.items())

    async def _drain(self, harvest: Harvest, reached: Reached, chat: str) -> bool:
        """Take in all messages of a chat that changed since it was read; returns whether it may be read."""
        span = reached.of_chat(chat)
        # A filter is silently ignored unless the order names the same property.
        params = {
            "$orderby": "lastModifiedDateTime desc",
            "$filter": f"lastModifiedDateTime gt {written(span.after)}",
            "$top": str(self._config.page_size),
        }
        newest = reached.chats.get(chat)
        try:
            async for page in self._api.pages(harvest.session, chat_path(chat), params=params, cost=CHATS):
                times = [at for item in page.values if (at := harvest.take(item, f"chat:{chat}", span)) is not None]
                if times:
                    newest = latest(newest, *times)
                if times and min(times) <= span.after:
                    break
        except GraphNotFound:
            return True
        except ConnectionBlocked:
            # The user has left it, or been taken out.
            _log.warning("a chat may not be read", connection_id=harvest.session.connection_id)
            return False
        if newest is not None:
            reached.chats[chat] = newest
        return True
