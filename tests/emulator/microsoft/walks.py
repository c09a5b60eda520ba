"""Paging: links with opaque tokens that are followed verbatim, and the rounds of delta queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote

from tests.emulator.microsoft.graph import Call, GraphError, bad_request
from tests.emulator.parameters import Parameter

if TYPE_CHECKING:
    from tests.emulator.core import Core

Item = TypeVar("Item")
Token = Literal["$skiptoken", "$deltatoken"]
_TOKENS: tuple[Token, ...] = ("$skiptoken", "$deltatoken")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    path: str
    account: str
    serial: int
    what: Any


@dataclass(kw_only=True, eq=False)
class Links:
    """The links that were given out, and what each goes on from."""

    core: Core
    _issued: dict[str, _Issued] = field(default_factory=dict)

    def issue(self, call: Call, token: Token, what: Any, *, path: str = "") -> str:
        """Return a link that goes on from `what`: a path, by default the call's, with an opaque token and no more."""
        value = self.core.secret()
        path = path or call.request.rel_url.raw_path
        self._issued[value] = _Issued(path=path, account=call.account.address, serial=self.core.number(), what=what)
        return f"{call.base_url}{path}?{token}={value}"

    def follow(self, call: Call) -> tuple[Any, int] | None:
        """Return what the call's link goes on from and the number of the link, or None for a call without a token.

        Raises:
            GraphError: The link was not given out like this: other parameters beside the token, or another path.
        """
        given = dict(call.request.query)
        token = next((name for name in _TOKENS if name in given), None)
        if token is None:
            return None
        known = self._issued.get(given[token])
        if known is None or known.account != call.account.address:
            raise bad_request("Badly formed token.")
        if len(call.request.query) > 1 or unquote(known.path) != unquote(call.request.rel_url.raw_path):
            raise bad_request("A link has to be used as it was given: its token already holds all options.")
        return known.what, known.serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a next link of a list goes on from. Like the real ones it counts: what comes in meanwhile shifts it."""

    options: dict[str, str]
    size: int
    skip: int = 0

    def cut(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items of this page."""
        return items[self.skip : self.skip + self.size]

    def next_link(self, call: Call, links: Links, total: int) -> dict[str, str]:
        """Return the link to the page after this one, if there is one."""
        skip = self.skip + self.size
        if skip >= total:
            return {}
        onward = Rest(options=self.options, size=self.size, skip=skip)
        return {"@odata.nextLink": links.issue(call, "$skiptoken", onward)}


def listed(
    call: Call, links: Links, allowed: Mapping[str, Parameter], size: Callable[[Mapping[str, str]], int]
) -> Rest:
    """Return which page of a list a call wants: the first one, with its options, or the one of its link.

    Raises:
        GraphError: The options are not allowed, or the link was not given out like this.
    """
    followed = links.follow(call)
    if followed is None:
        options = call.options(allowed)
        return Rest(options=options, size=size(options))
    if not isinstance(followed[0], Rest):
        raise bad_request("Badly formed token.")
    return followed[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """How a delta token that is too old is refused."""

    status: int = 410
    code: str = "SyncStateNotFound"
    """Or `resyncRequired`; letters of any case."""
    location: bool = False
    """Name the link to begin again with in the `Location` header."""


@dataclass(kw_only=True, eq=False)
class DeltaSwitches:
    """How delta queries behave, where the real ones are known to behave in more than one way."""

    empty_pages: int = 0
    """Put so many empty pages with a next link before every page."""
    duplicates: bool = False
    """Let every page begin with the items of the page before it; an only page says everything twice."""
    replays: int = 0
    """Let every round begin with so many items of the end of the one before it."""
    strays: int = 0
    """Let every round begin with so many `@removed` of ids that were never seen."""
    filtered_at_most: int = 5_000
    """How many messages a mail round with a `$filter` has at most."""
    expire_at_page: int = 0
    """Refuse this page (from 1) of the next walk that comes so far, once; it and all links before it are dead then."""
    expiry: Expiry = field(default_factory=Expiry)
    _floors: dict[str, int] = field(default_factory=dict)

    def expire(self, core: Core, address: str, expiry: Expiry | None = None) -> None:
        """Let every next and delta link of an account's delta queries be too old from now on."""
        self._floors[address.lower()] = core.number()
        self.expiry = expiry or self.expiry

    def is_gone(self, address: str, serial: int) -> bool:
        """Return whether a link is too old."""
        return serial < self._floors.get(address, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of a round."""

    item: Any
    """What the route renders: a message."""
    removed: str = ""
    """The reason of an `@removed`: `changed` or `deleted`; empty for an item."""
    removed_id: str = ""
    """The id that was removed; empty is the item's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a delta link goes on from."""

    options: dict[str, str]
    since: int | None
    """Number of the last change that was told; None before the first round."""
    told_last: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round that has begun."""

    point: Point
    until: int
    pages: tuple[tuple[Entry, ...], ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a delta call answers."""

    entries: tuple[Entry, ...]
    options: dict[str, str]
    link: dict[str, str]
    """`@odata.nextLink` or `@odata.deltaLink`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a route has to say for its rounds."""

    options: Callable[[], dict[str, str]]
    """Returns the checked options of a call without a token."""
    entries: Callable[[Point], list[Entry]]
    """Returns what has changed since a point, in order."""
    until: int
    """Number of the last change so far."""
    still_there: Callable[[Entry], bool]
    """Whether an item may be told once more."""
    page_size: Callable[[Mapping[str, str]], int]


def next_page(call: Call, links: Links, switches: DeltaSwitches, source: Source) -> Page:
    """Answer a delta call: begin a round, or go on with one.

    Raises:
        GraphError: The link is too old, or was not given out like this.
    """
    followed = links.follow(call)
    if followed is None:
        point: Point | Round = Point(options=source.options(), since=None)
    else:
        point = followed[0]
        if not isinstance(point, Point | Round):
            raise bad_request("Badly formed token.")
        if switches.is_gone(call.account.address, followed[1]):
            raise _expired(call, links, switches, point)
    this = point if isinstance(point, Round) else _begun(point, switches, source)
    if switches.expire_at_page and this.index + 1 == switches.expire_at_page:
        switches.expire_at_page = 0
        switches.expire(call.emulator, call.account.address)
        raise _expired(call, links, switches, this)
    entries = this.pages[this.index]
    if this.index + 1 < len(this.pages):
        rest = Round(point=this.point, until=this.until, pages=this.pages, index=this.index + 1)
        link = {"@odata.nextLink": links.issue(call, "$skiptoken", rest)}
    else:
        told = tuple(entry for page in this.pages for entry in page if not entry.removed)
        end = Point(options=this.point.options, since=this.until, told_last=told)
        link = {"@odata.deltaLink": links.issue(call, "$deltatoken", end)}
    return Page(entries=entries, options=this.point.options, link=link)


def _begun(point: Point, switches: DeltaSwitches, source: Source) -> Round:
    strays = [Entry(item=None, removed="deleted", removed_id=f"AAkALgAAstray{n}=") for n in range(switches.strays)]
    last = point.told_last[-switches.replays :] if switches.replays else ()
    replayed = [entry for entry in last if source.still_there(entry)]
    entries = [*strays, *replayed, *source.entries(point)]
    return Round(point=point, until=source.until, pages=_pages(entries, source.page_size(point.options), switches))


def _pages(entries: Sequence[Entry], size: int, switches: DeltaSwitches) -> tuple[tuple[Entry, ...], ...]:
    chunks = [tuple(entries[at : at + size]) for at in range(0, len(entries), size)] or [()]
    pages: list[tuple[Entry, ...]] = []
    for number, chunk in enumerate(chunks):
        pages.extend([()] * switches.empty_pages)
        again = chunks[number - 1] if number else chunk * (len(chunks) == 1)
        pages.append((*again, *chunk) if switches.duplicates else chunk)
    return tuple(pages)


def _expired(call: Call, links: Links, switches: DeltaSwitches, point: Point | Round) -> GraphError:
    start = Point(options=(point.point if isinstance(point, Round) else point).options, since=None)
    expiry = switches.expiry
    headers = {"Location": links.issue(call, "$deltatoken", start)} if expiry.location else {}
    return GraphError(expiry.status, expiry.code, "The sync state generation is not found; resync.", headers=headers)
