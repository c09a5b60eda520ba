"""Microsoft Graph as Outlook and Teams need it: one call, one page, all pages, and its errors as ours.

    api = GraphApi(http)                                   # http: a ProviderHttp on `<graph>/v1.0`
    me = await api.get(session, "/me", params={"$select": "id"}, cost=cost)
    async for page in api.pages(session, "/me/chats", params={"$top": "50"}, cost=cost):
        for chat in page.values: ...

Nothing here knows mails or chats: headers such as Outlook's preferences are given by the caller with each call.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from connectors.errors import ConnectionBlocked, ProviderUnavailable
from connectors.messages.domain import JsonObject
from connectors.providers.http import Answer, ProviderHttp
from connectors.providers.microsoft.id_token import is_same_object
from connectors.providers.port import Account, Session
from connectors.providers.quotas import Cost
from connectors.providers.retry import Wait

MAX_PAGES: Final = 2_000
"""Of one walk: one that never ends would hold us for ever."""

_LATER: Final = frozenset({408, 425, 429})
_STATE_GONE: Final = re.compile(r"syncstate(notfound|invalid)|resync[a-z]*|errorinvalidsyncstatedata")
_NO_MAILBOX: Final = frozenset(
    {"mailboxnotenabledforrestapi", "mailboxnotsupportedforrestapi", "errornonexistentmailbox"}
)
_NO_MAILBOX_HERE: Final = (
    "The account has no mailbox that can be read. Link an account with one at Microsoft 365 or Outlook."
)
_NOT_IN_CODES = re.compile(r"[^a-z0-9_.-]")
_DEEPEST = 5


class GraphRefused(Exception):
    """Graph refuses a request for a reason that only the caller of this module can judge (a 4xx other than 401, 429).

    Attributes:
        status: Of HTTP.
        codes: Its error code and the inner ones, lower case, outermost first; made safe for logs.
    """

    def __init__(self, status: int, codes: tuple[str, ...]) -> None:
        super().__init__(f"Graph answered {status} {' '.join(codes)}")
        self.status = status
        self.codes = codes


class GraphNotFound(GraphRefused):
    """What was asked for is not there (any more)."""


class GraphStateGone(GraphRefused):
    """A next link or delta link is not known any more (410, or a code such as SyncStateNotFound): list anew."""


class GraphTooLarge(Exception):
    """An answer has more bytes than may be read, or than the caller allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPage:
    """A page of a collection."""

    values: tuple[JsonObject, ...] = field(repr=False)
    """May be empty though there is a next page."""
    next_link: str = field(default="", repr=False)
    """Empty at the end; to be followed as it is."""
    delta_link: str = field(default="", repr=False)
    """Ends a delta round; empty otherwise."""


class GraphApi:
    """Calls Graph for one provider.

    Every method waits for the quota and retries as `ProviderHttp` does. It may raise what that raises, and

    * ConnectionBlocked: Graph says that this may not be read (403), or that the account has nothing of the kind;
    * GraphNotFound, GraphStateGone, GraphRefused, GraphTooLarge: see there.

    A `path` is relative to the version of the API (`/me/chats`), or a next or delta link as it came from Graph.
    """

    def __init__(self, http: ProviderHttp) -> None:
        self._http = http

    async def get(
        self,
        session: Session,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
    ) -> JsonObject:
        """Return one thing.

        Args:
            session: Whose.
            path: See the class; no secret of a caller's belongs into it.
            params: The query; None for a link, which has its own.
            headers: Such as `Prefer`.
            cost: What the call takes from the quota; one unit if it is left out.
        """
        return await self._http.get_json(session, path, params=params, headers=headers, cost=cost, problem=problem_of)

    async def page(
        self,
        session: Session,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
    ) -> GraphPage:
        """Return one page of a collection; arguments as `get`.

        Raises:
            ProviderUnavailable: The answer is no page.
        """
        return _page(await self.get(session, path, params=params, headers=headers, cost=cost))

    async def pages(
        self,
        session: Session,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
    ) -> AsyncIterator[GraphPage]:
        """Yield all pages of a collection, one read ahead of none; arguments as `get`, `cost` is of each page.

        Raises:
            ProviderUnavailable: As `page`; or there is no end of pages.
        """
        for _ in range(MAX_PAGES):
            page = await self.page(session, path, params=params, headers=headers, cost=cost)
            yield page
            if not page.next_link:
                return
            path, params = page.next_link, None
        raise ProviderUnavailable("Microsoft Graph sends pages without end.")

    def stream(
        self,
        session: Session,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        cost: Cost | None = None,
        largest: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an answer in pieces, such as those of `…/$value`; close the generator (`aclosing`).

        Args:
            session: Whose.
            path: See the class.
            headers: As for `get`.
            cost: As for `get`.
            largest: Bytes after which it is too large.
        """
        return self._http.stream(session, path, headers=headers, cost=cost, problem=problem_of, largest=largest)

    async def account(self, session: Session, *, cost: Cost | None = None) -> Account:
        """Tell whose account it is, as the identity does.

        Raises:
            ProviderUnavailable: The answer does not say.
        """
        me = await self.get(session, "/me", params={"$select": "id,userPrincipalName,mail"}, cost=cost)
        graph_id, address = str(me.get("id") or ""), str(me.get("mail") or me.get("userPrincipalName") or "")
        if not graph_id:
            raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"})
        # Graph does not name the tenant, which is part of our id.
        is_same = is_same_object(session.account.account_id, graph_id)
        return Account(account_id=session.account.account_id if is_same else graph_id, address=address)


def problem_of(answer: Answer) -> Exception | Wait | None:
    """Say what an answer of Graph's means that is no success; a `Problem`. It never looks at the message."""
    if answer.too_large:
        return GraphTooLarge()
    codes = codes_of(answer.json())
    if answer.status < 400 or answer.status >= 500 or answer.status in _LATER:
        return None
    if answer.status == 410 or any(_STATE_GONE.fullmatch(code) for code in codes):
        return GraphStateGone(answer.status, codes)
    if _NO_MAILBOX & set(codes):
        return ConnectionBlocked(_NO_MAILBOX_HERE, metadata=_metadata(codes))
    if answer.status == 403:
        return ConnectionBlocked(metadata=_metadata(codes))
    return (GraphNotFound if answer.status == 404 else GraphRefused)(answer.status, codes)


def codes_of(body: JsonObject | None) -> tuple[str, ...]:
    """Return the codes of an error's body, outermost first, in small letters and safe for logs."""
    codes: list[str] = []
    error = (body or {}).get("error")
    while isinstance(error, dict) and len(codes) < _DEEPEST:
        codes.append(_NOT_IN_CODES.sub("", str(error.get("code", "")).lower())[:64])
        error = error.get("innerError") or error.get("innererror")
    return tuple(code for code in codes if code)


def _metadata(codes: tuple[str, ...]) -> dict[str, str]:
    return {"provider_code": codes[0]} if codes else {}


def _page(body: JsonObject) -> GraphPage:
    values, links = body.get("value"), (body.get("@odata.nextLink", ""), body.get("@odata.deltaLink", ""))
    if not isinstance(values, list) or not all(isinstance(link, str) for link in links):
        raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"})
    return GraphPage(
        values=tuple(value for value in values if isinstance(value, dict)), next_link=links[0], delta_link=links[1]
    )
