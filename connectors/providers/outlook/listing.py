"""What is new in a mailbox: a delta query for each folder, and now and then a look through the last days.

Graph tells what came into a folder since a delta link was given out, or since a time when there is none. Three things
it does not tell: more than 5,000 mails of such a window; which mails those were once it has forgotten the link; and a
mail that left a folder and came back between two listings. The first is completed by an ordinary list, the second
begins the window anew, the third is found by a list of the last days after every so many listings.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from connectors.errors import FilterInvalid, ProviderUnavailable
from connectors.messages.domain import FetchMode, Listing, Query
from connectors.providers.microsoft.graph import (
    MAX_PAGES,
    GraphApi,
    GraphPage,
    GraphRefused,
    GraphStateGone,
    GraphTooLarge,
)
from connectors.providers.outlook.config import OutlookConfig
from connectors.providers.outlook.fields import SLIM, WHOLE, preferences
from connectors.providers.outlook.filters import folders_of
from connectors.providers.outlook.harvest import Harvest
from connectors.providers.outlook.state import OutlookState
from connectors.providers.port import Session

_FOREIGN: Final = "FOREIGN_LINK"
_NO_FOLDER: Final = frozenset(
    {"erroritemnotfound", "errorfoldernotfound", "errorinvalididmalformed", "resourcenotfound"}
)


class _Forgotten(Exception):
    """A link of Graph's does not work any more."""


class Lister:
    """Lists for one provider."""

    def __init__(self, api: GraphApi, config: OutlookConfig) -> None:
        self._api = api
        self._config = config

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Return what is new; see the port."""
        state = OutlookState.from_json(query.state)
        walk = _Walk(self._api, self._config, session, query)
        links: dict[str, str] = {}
        for folder in folders_of(query.filter):
            link = state.links.get(folder, "") if state else ""
            links[folder] = await walk.folder(folder, link=link, since=state.since if state and link else query.since)
        if query.state is None:
            mode = FetchMode.WINDOW
        else:
            mode = FetchMode.RESYNC if walk.has_begun_anew else FetchMode.INCREMENTAL
        since, listings = query.since, 0
        if state and mode is FetchMode.INCREMENTAL:
            since, listings = state.since, state.listings + 1
        if listings >= self._config.sweep_every:
            listings = 0
            for folder in links:
                await walk.plain(folder, since=max(since, query.now - self._config.sweep_window), is_whole=False)
        after = OutlookState(since=since, links=links, listings=listings)
        return Listing(mode=mode, refs=walk.harvest.refs, state=after.to_json(), left_out=walk.harvest.left_out)


class _Walk:
    """One listing under way."""

    def __init__(self, api: GraphApi, config: OutlookConfig, session: Session, query: Query) -> None:
        self.harvest = Harvest(query, carried_bytes=config.carried_bytes)
        self.has_begun_anew = False
        """Some folder was listed for a window, though there was a state."""
        self._api = api
        self._config = config
        self._session = session
        self._query = query

    async def folder(self, folder: str, *, link: str, since: datetime) -> str:
        """Walk through what is new in a folder.

        Args:
            folder: Its name or id.
            link: The delta link to go on from; empty for a window.
            since: Where the window begins that the link is of, or the new one.

        Returns:
            The link to go on from the next time.

        Raises:
            ProviderUnavailable: Graph has forgotten the place again, after a new beginning.
        """
        is_whole, times_forgotten = True, 0
        while True:
            self.has_begun_anew |= not link
            try:
                return await self._rounds(folder, link=link, since=since, is_whole=is_whole)
            except _Forgotten:
                times_forgotten += 1
                if times_forgotten > 1:
                    raise ProviderUnavailable(
                        "Microsoft forgets the place in the mailbox while it is listed.",
                        metadata={"cause": "STATE_GONE"},
                    ) from None
            except GraphTooLarge:
                if not is_whole:
                    raise ProviderUnavailable(metadata={"cause": "TOO_LARGE"}) from None
                # One page with bodies is more than may be read: the mails are then read one by one.
                is_whole = False
            link, since = "", self._query.since

    async def plain(self, folder: str, *, since: datetime, is_whole: bool) -> None:
        """Walk through all of a folder since a time, oldest first, as an ordinary list."""
        size = self._config.page_size if is_whole else self._config.slim_page_size
        path: str = f"{_path(folder)}/messages"
        params: dict[str, str] | None = {
            "$select": ",".join(WHOLE if is_whole else SLIM),
            "$filter": f"receivedDateTime ge {_instant(since)}",
            # What comes in meanwhile is at the end, and shifts nothing.
            "$orderby": "receivedDateTime asc",
            "$top": str(size),
        }
        headers = preferences()
        for _ in range(MAX_PAGES):
            try:
                page = await self._api.page(self._session, path, params=params, headers=headers)
            except GraphRefused as refused:
                raise _refused(refused, is_path=params is not None) from None
            self._take(page, folder, since)
            if not page.next_link:
                return
            path, params = page.next_link, None
        raise _endless()

    async def _rounds(self, folder: str, *, link: str, since: datetime, is_whole: bool) -> str:
        """Follow a delta round to its end, and complete it if Graph ends it early."""
        page_size = self._config.page_size if is_whole else self._config.slim_page_size
        headers = preferences(page_size=page_size)
        path: str = link or f"{_path(folder)}/messages/delta"
        params: dict[str, str] | None = None
        if not link:
            params = {
                "$select": ",".join(WHOLE if is_whole else SLIM),
                "$filter": f"receivedDateTime ge {_instant(since)}",
                "changeType": "created",
            }
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            page = await self._delta_page(path, params, headers, is_first=path == link)
            self._take(page, folder, since)
            seen.update(str(mail.get("id")) for mail in page.values)
            if page.delta_link:
                if len(seen) >= self._config.filtered_at_most:
                    await self.plain(folder, since=self._query.since, is_whole=is_whole)
                return page.delta_link
            if not page.next_link:
                raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"})
            path, params = page.next_link, None
        raise _endless()

    async def _delta_page(
        self, path: str, params: dict[str, str] | None, headers: dict[str, str], *, is_first: bool
    ) -> GraphPage:
        try:
            return await self._api.page(self._session, path, params=params, headers=headers)
        except GraphRefused as refused:
            # A link is Graph's own: if Graph does not take it any more, in whatever words, it is of no use.
            if params is None or isinstance(refused, GraphStateGone):
                raise _Forgotten from None
            raise _refused(refused, is_path=True) from None
        except ProviderUnavailable as error:
            # A stored link of before the base address was changed. It was not followed.
            if is_first and error.metadata.get("cause") == _FOREIGN:
                raise _Forgotten from None
            raise

    def _take(self, page: GraphPage, folder: str, since: datetime) -> None:
        for mail in page.values:
            self.harvest.take(mail, folder=folder, since=since)


def _path(folder: str) -> str:
    return f"/me/mailFolders/{quote(folder, safe='')}"


def _instant(moment: datetime) -> str:
    """Return a time as Graph's filters take it, rounded down."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refused(refused: GraphRefused, *, is_path: bool) -> Exception:
    if is_path and _NO_FOLDER & set(refused.codes):
        return FilterInvalid("filter.containers", "the mailbox has no such folder")
    return ProviderUnavailable(metadata={"cause": f"HTTP_{refused.status}"})


def _endless() -> ProviderUnavailable:
    return ProviderUnavailable("Microsoft Graph sends pages without end.")
