"""What is new in channels: by delta queries, each of which tells whole threads in which something has changed.

state = {"channel:t/c": {"link": "https://graph.microsoft.com/…", "through": "2026-11-22T…"}}
"""

from __future__ import annotations

from datetime import datetime

import structlog

from connectors.errors import ConnectionBlocked, ProviderUnavailable
from connectors.messages.domain import JsonObject
from connectors.providers.microsoft.graph import GraphApi, GraphNotFound, GraphRefused
from connectors.providers.teams.config import CHANNELS, LATE, TeamsConfig
from connectors.providers.teams.harvest import Harvest, Span, latest, written
from connectors.providers.teams.items import time_of
from connectors.providers.teams.places import Channel

_NOT_ALLOWED = (
    "Microsoft does not let the channels of the filter be read. An administrator of the organization has to allow "
    "ChannelMessage.Read.All, and the user has to be in the team."
)

_log = structlog.get_logger(__name__)


class ChannelLister:
    """Lists channels for one provider."""

    def __init__(self, api: GraphApi, config: TeamsConfig) -> None:
        self._api = api
        self._config = config

    async def list_new(
        self, harvest: Harvest, channels: tuple[Channel, ...], state: JsonObject
    ) -> tuple[JsonObject, bool]:
        """Take in what is new; returns the new state, and whether a delta query had to begin anew.

        Raises:
            ConnectionBlocked: None of them may be read.
        """
        after: JsonObject = {}
        refused: ConnectionBlocked | None = None
        read = anew = 0
        for channel in channels:
            before = state.get(channel.name)
            known = before if isinstance(before, dict) else {}
            try:
                try:
                    after[channel.name] = await self._channel(harvest, channel, known)
                except (GraphRefused, ProviderUnavailable) as error:
                    if not _is_forgotten(error, known):
                        raise
                    anew += 1
                    after[channel.name] = await self._channel(harvest, channel, {})
                read += 1
            except (GraphNotFound, ConnectionBlocked) as error:
                # It is deleted, or the user is not in its team any more.
                _log.warning("a channel may not be read", connection_id=harvest.session.connection_id)
                refused = error if isinstance(error, ConnectionBlocked) else refused
                after[channel.name] = known
        if refused and not read:
            raise ConnectionBlocked(_NOT_ALLOWED, metadata=refused.metadata)
        return after, bool(anew)

    async def _channel(self, harvest: Harvest, channel: Channel, known: JsonObject) -> JsonObject:
        """Take in what is new in a channel, answers included; returns its new state."""
        link, since = str(known.get("link") or ""), time_of(known.get("since"))
        span = Span(since or harvest.query.since, time_of(known.get("through")) if link else None, LATE)
        first = {
            "$filter": f"lastModifiedDateTime gt {written(span.after)}",
            "$expand": "replies",
            "$top": str(self._config.page_size),
        }
        newest, delta_link = span.reached or span.since, ""
        pages = self._api.pages(
            harvest.session, link or f"{channel.path}/delta", params=None if link else first, cost=CHANNELS
        )
        async for page in pages:
            for item in page.values:
                newest = latest(newest, await self._thread(harvest, channel, item, span))
            delta_link = page.delta_link or delta_link
        if not delta_link:
            raise ProviderUnavailable("Teams ended a listing without a link to go on from.")
        return {"link": delta_link, "since": span.since.isoformat(), "through": newest.isoformat()}

    async def _thread(self, harvest: Harvest, channel: Channel, item: JsonObject, span: Span) -> datetime:
        """Take in a message and its answers; returns when the last of them changed, or where the span begins."""
        answers = f"{channel.name}/{item.get('id')}"
        newest = latest(span.after, harvest.take(item, channel.name, span))
        told = item.get("replies")
        for answer in told if isinstance(told, list) else []:
            if isinstance(answer, dict):
                newest = latest(newest, harvest.take(answer, answers, span))
        more = str(item.get("replies@odata.nextLink") or "")
        if more:
            async for page in self._api.pages(harvest.session, more, cost=CHANNELS):
                newest = latest(newest, *(harvest.take(answer, answers, span) for answer in page.values))
        return newest


def _is_forgotten(error: Exception, known: JsonObject) -> bool:
    """Return whether a stored link is of no use any more. It is Graph's own: if it is refused, that is why."""
    if not known.get("link") or isinstance(error, GraphNotFound):
        return False
    # Or it is of before the base address was changed. Then it was not followed.
    return isinstance(error, GraphRefused) or (
        isinstance(error, ProviderUnavailable) and error.metadata.get("cause") == "FOREIGN_LINK"
    )
