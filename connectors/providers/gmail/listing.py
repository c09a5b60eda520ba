"""What is new in a Gmail mailbox: by its history or, for a window, by a search.

    state = {"history_id": "123456", "again_from": "123400"}

A listing for a window takes the mailbox's present history id before it searches, so that what comes in meanwhile is in
the next one. Gmail's listings have no times, only an order; a ref's time is made from it.

A change is looked at by what the history says of it. Only where the filter holds words of Gmail's own, or where there
is much to look at, a search decides, and as a new message cannot be searched for at once, the next listing looks at
those changes again (`again_from`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors.errors import ProviderUnavailable, WindowTooLarge
from connectors.messages.domain import FetchMode, JsonObject, Listing, Query, Ref
from connectors.providers.gmail.config import LOOK_BACK, SEARCH_FROM, GmailConfig
from connectors.providers.gmail.search import Place, lies_in, names_labels, narrows, places, query as search_of
from connectors.providers.google.problems import GoogleNotFound, GoogleTooLarge, google_problem
from connectors.providers.http import ProviderHttp
from connectors.providers.port import Session
from connectors.providers.quotas import Cost

_USER = "/gmail/v1/users/me"
_HISTORY = f"{_USER}/history"


@dataclass(slots=True)
class _Changes:
    """What the history tells of since a listing."""

    history_id: str
    """Where to go on from."""
    candidates: dict[str, None] = field(default_factory=dict)
    """Ids, the oldest change first."""
    others: set[str] = field(default_factory=set)
    """Ids of messages that came in somewhere else."""


class Lister:
    """Lists for one provider."""

    def __init__(self, http: ProviderHttp, config: GmailConfig) -> None:
        self._http = http
        self._config = config

    async def profile(self, session: Session) -> JsonObject:
        """Return the mailbox's profile: `emailAddress` and the present `historyId`."""
        return await self._get(session, f"{_USER}/profile", [], self._config.profile_units)

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Return what is new; see the port."""
        state = query.state or {}
        history_id = state.get("history_id")
        if not isinstance(history_id, str):
            return await self._window(session, query, FetchMode.WINDOW)
        try:
            return await self._incremental(session, query, history_id, str(state.get("again_from") or history_id))
        except GoogleNotFound:
            # Gmail keeps a history for a week or so, rarely for hours only.
            return await self._window(session, query, FetchMode.RESYNC)

    async def _window(self, session: Session, query: Query, mode: FetchMode) -> Listing:
        baseline = str((await self.profile(session)).get("historyId") or "")
        if not baseline:
            raise ProviderUnavailable("Gmail did not tell where its history stands.")
        where = await self._places(session, query)
        newest_first = await self._search(session, query, where, query.since)
        return Listing(
            mode=mode, refs=_refs(reversed(list(newest_first)), query.now, query.since), state={"history_id": baseline}
        )

    async def _incremental(self, session: Session, query: Query, history_id: str, begin: str) -> Listing:
        where = await self._places(session, query)
        changes = await self._changes(session, query, begin, {place.label_id for place in where})
        # A subscriber that comes seldom gets what is older than that, too.
        since = min(query.since, query.now - LOOK_BACK)
        found, state = list(changes.candidates), {"history_id": changes.history_id}
        if found and _needs_search(query, len(found)):
            matching = set(await self._search(session, query, where, since))
            found = [one for one in found if one in matching]
            state["again_from"] = history_id
        return Listing(
            mode=FetchMode.INCREMENTAL,
            refs=_refs(found, query.now, since),
            state=state,
            left_out=len(changes.others - changes.candidates.keys()) + len(changes.candidates) - len(found),
        )

    async def _changes(self, session: Session, query: Query, begin: str, where: set[str]) -> _Changes:
        params = [
            ("startHistoryId", begin),
            ("historyTypes", "messageAdded"),
            ("historyTypes", "labelAdded"),
            ("maxResults", str(self._config.page_size)),
        ]
        changes: _Changes | None = None
        async for page in self._pages(session, _HISTORY, params, self._config.history_units):
            # The first page's: what comes in between two pages is told again rather than never.
            changes = changes or _Changes(str(page.get("historyId") or begin))
            for message_id, is_candidate in _told(page, where):
                if is_candidate:
                    changes.candidates[message_id] = None
                else:
                    changes.others.add(message_id)
            if len(changes.candidates) > query.max_refs:
                raise WindowTooLarge(retry_after=None)
        return changes or _Changes(begin)

    async def _places(self, session: Session, query: Query) -> tuple[Place, ...]:
        if not names_labels(query.filter):
            return places(query.filter)
        reply = await self._get(session, f"{_USER}/labels", [], self._config.labels_units)
        return places(query.filter, _objects(reply.get("labels")))

    async def _search(self, session: Session, query: Query, where: tuple[Place, ...], since: datetime) -> Iterable[str]:
        """Return the ids of the messages of a window, newest first, wherever they lie."""
        # One label is asked for by its id. Several are only told in one order when they are searched for together.
        only = where[0].label_id if len(where) == 1 else ""
        params = [
            ("q", search_of(query.filter, () if only else where, since)),
            ("maxResults", str(self._config.page_size)),
            *([("labelIds", only)] if only else []),
        ]
        found: dict[str, None] = {}
        async for page in self._pages(session, f"{_USER}/messages", params, self._config.list_units):
            # The field is left out of an empty page.
            found.update(dict.fromkeys(str(one.get("id") or "") for one in _objects(page.get("messages"))))
            if len(found) > query.max_refs:
                raise WindowTooLarge(retry_after=None)
        return found

    async def _pages(
        self, session: Session, path: str, params: list[tuple[str, str]], units: int
    ) -> AsyncIterator[JsonObject]:
        token = ""
        for _ in range(self._config.max_pages):
            page = await self._get(session, path, [*params, ("pageToken", token)] if token else params, units)
            yield page
            # A page may be empty and still not be the last one.
            token = str(page.get("nextPageToken") or "")
            if not token:
                return
        raise ProviderUnavailable("Gmail sends pages without end.")

    async def _get(self, session: Session, path: str, params: list[tuple[str, str]], units: int) -> JsonObject:
        try:
            return await self._http.get_json(
                session, path, params=params, cost=Cost(units=units), problem=google_problem
            )
        except GoogleTooLarge:
            raise ProviderUnavailable(metadata={"cause": "TOO_LARGE"}) from None
        except GoogleNotFound:
            if path == _HISTORY:
                raise
            raise ProviderUnavailable(metadata={"cause": "HTTP_404"}) from None


def begins_at(container: str) -> int:
    """Return when the window of a ref begins, in seconds of the epoch; 0 when it is of no window."""
    _, _, seconds = container.partition("since:")
    return int(seconds) if seconds.isdecimal() else 0


def _needs_search(query: Query, changes: int) -> bool:
    return bool(query.filter.provider_query) or (changes >= SEARCH_FROM and narrows(query.filter))


def _told(page: JsonObject, where: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the ids of the messages that a page of the history names, and whether each is a candidate."""
    for record in _objects(page.get("history")):
        for change in _objects(record.get("messagesAdded")):
            for message in _objects([change.get("message")]):
                yield str(message.get("id") or ""), lies_in(_strings(message.get("labelIds")), where)
        for change in _objects(record.get("labelsAdded")):
            # Any other label on an old message is no news. What else it has by now is seen when it is read.
            if not where.isdisjoint(_strings(change.get("labelIds"))):
                for message in _objects([change.get("message")]):
                    yield str(message.get("id") or ""), True


def _objects(values: object) -> list[JsonObject]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _strings(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _refs(oldest_first: Iterable[str], now: datetime, since: datetime) -> tuple[Ref, ...]:
    """Return the refs in this order, a microsecond apart: their order is all that Gmail's listing tells.

    Their container says when the window begins: whatever arrived before is found out when they are read.
    """
    ids = [one for one in oldest_first if one]
    begin = now - timedelta(microseconds=len(ids))
    container = f"since:{int(since.timestamp())}"
    return tuple(
        Ref(provider_id=one, received_at=begin + timedelta(microseconds=place), container=container)
        for place, one in enumerate(ids)
    )
