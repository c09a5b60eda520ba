"""What is new in a user's chats and channels: see `chats` and `channels`.

state = {"floor": …, "walked": …, "chats": …, "channels": …}
"""

from __future__ import annotations

from connectors.messages.domain import FetchMode, Listing, Query
from connectors.providers.microsoft.graph import GraphApi
from connectors.providers.port import Session
from connectors.providers.teams.channels import ChannelLister
from connectors.providers.teams.chats import ChatLister
from connectors.providers.teams.config import TeamsConfig
from connectors.providers.teams.harvest import Harvest
from connectors.providers.teams.places import places


class Lister:
    """Lists for one provider."""

    def __init__(self, api: GraphApi, config: TeamsConfig) -> None:
        self._config = config
        self.chats = ChatLister(api, config)
        self._channels = ChannelLister(api, config)

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Return what is new; see the port."""
        wanted = places(query.filter)
        state = query.state or {}
        harvest = Harvest(session, query, self._config.carried_bytes)
        after = await self.chats.list_new(harvest, wanted, state)
        before = state.get("channels")
        channels, is_anew = await self._channels.list_new(
            harvest, wanted.channels, before if isinstance(before, dict) else {}
        )
        mode = FetchMode.RESYNC if is_anew else FetchMode.INCREMENTAL
        return Listing(
            mode=FetchMode.WINDOW if query.state is None else mode,
            refs=tuple(harvest.refs.values()),
            state={**after, "channels": channels},
            left_out=len(harvest.left_out),
        )
