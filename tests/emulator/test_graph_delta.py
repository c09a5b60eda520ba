from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.emulator.client import control_client
from tests.emulator.core import START, Emulator
from tests.emulator.mails import Mail, compose
from tests.emulator.microsoft.mailbox import OutlookMessage
from tests.emulator.microsoft.walks import Expiry
from tests.emulator.running import running

MIA = "mia@contoso.example"
DELTA = "/v1.0/me/mailFolders/inbox/messages/delta"
IMMUTABLE = 'IdType="ImmutableId"'


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.microsoft.add_account(MIA)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {emulator.microsoft.link(MIA).access_token}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers, trust_env=False) as http:
        yield http


def deliver(emulator: Emulator, number: int = 1) -> list[OutlookMessage]:
    mailbox = emulator.microsoft.mailbox(MIA)
    return [
        mailbox.deliver(Mail(raw=compose(subject=f"{count}"), received_at=START + timedelta(minutes=count)))
        for count in range(number)
    ]


async def walk(
    http: httpx2.AsyncClient, start: str = DELTA, *, prefer: str = IMMUTABLE, **query: str
) -> list[dict[str, Any]]:
    """Return the pages of a round, from the first to the one with the delta link."""
    params = {name if name == "changeType" else f"${name}": value for name, value in query.items()}
    pages: list[dict[str, Any]] = []
    while not pages or "@odata.nextLink" in pages[-1]:
        url = pages[-1]["@odata.nextLink"] if pages else start
        answer = await http.get(url, params=None if pages else params or None, headers={"Prefer": prefer})
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
    return pages


def items(pages: list[dict[str, Any]]) -> dict[str, str]:
    """Return what a round says, by id: a subject, or why it was removed."""
    told = [one for page in pages for one in page["value"]]
    return {one["id"]: one["@removed"]["reason"] if "@removed" in one else one["subject"] for one in told}


async def test_a_first_round_tells_everything_and_the_next_ones_what_is_new(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    first, second = deliver(emulator, 2)
    begun = await walk(http, select="subject")
    nothing = await walk(http, begun[-1]["@odata.deltaLink"])
    (third,) = deliver(emulator)
    emulator.microsoft.mailbox(MIA).mark(first.message_id, unread=False)

    changed = await walk(http, nothing[-1]["@odata.deltaLink"])

    assert items(begun) == {first.message_id: "0", second.message_id: "1"}
    assert items(nothing) == {}
    assert items(changed) == {third.message_id: "0", first.message_id: "0"}
    assert set(changed[0]["value"][0]) == {"@odata.type", "@odata.etag", "id", "subject"}


async def test_both_ways_to_write_the_function_are_served(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator, 3)

    pages = await walk(http, f"{DELTA}()", prefer=f"{IMMUTABLE}, odata.maxpagesize=2")

    assert [len(page["value"]) for page in pages] == [2, 1]
    assert "delta()?$skiptoken=" in pages[0]["@odata.nextLink"]


async def test_options_live_in_the_links_and_cannot_be_added(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator, 3)
    since = "receivedDateTime ge 2026-11-02T09:01:00Z"

    pages = await walk(http, filter=since, select="subject", top="1", changeType="created")
    link = pages[-1]["@odata.deltaLink"]
    deliver(emulator, 2)
    later = await walk(http, link)

    assert [len(page["value"]) for page in pages] == [1, 1]
    assert list(items(later).values()) == ["1"]
    for wrong in (f"{link}&$select=subject", link.replace("/inbox/", "/archive/"), f"{link}x"):
        assert (await http.get(wrong)).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"$filter": "receivedDateTime lt 2026-11-02T09:00:00Z"},
        {"$filter": "isRead eq false"},
        {"$filter": "receivedDateTime ge 2026-11-02T09:00:00Z and receivedDateTime gt 2026-11-02T09:00:00Z"},
        {"$orderby": "receivedDateTime"},
        {"$orderby": "isRead desc"},
        {"$search": '"x"'},
        {"$expand": "attachments"},
        {"changeType": "moved"},
        {"$deltatoken": "made-up"},
    ],
)
async def test_what_change_tracking_does_not_know_is_a_bad_request(
    http: httpx2.AsyncClient, query: dict[str, str]
) -> None:
    assert (await http.get(DELTA, params=query)).status_code == 400


async def test_only_an_order_that_is_asked_for_is_kept(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator, 12)

    unordered = await walk(http, top="50")
    ordered = await walk(http, top="50", orderby="receivedDateTime desc")

    newest_first = [str(count) for count in range(11, -1, -1)]
    assert [one["subject"] for one in ordered[0]["value"]] == newest_first
    assert [one["subject"] for one in unordered[0]["value"]] not in (newest_first, newest_first[::-1])


async def test_a_filtered_round_has_at_most_so_many_messages(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator, 8)
    emulator.microsoft.delta.filtered_at_most = 5

    filtered = await walk(http, filter="receivedDateTime ge 2026-11-02T09:00:00Z")

    assert sorted(items(filtered).values()) == ["3", "4", "5", "6", "7"]
    assert len(items(await walk(http))) == 8


async def test_what_left_the_folder_is_removed_with_its_reason(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    moved, deleted, kept = deliver(emulator, 3)
    begun = await walk(http)
    mailbox = emulator.microsoft.mailbox(MIA)
    mailbox.move(moved.message_id, "archive")
    mailbox.remove(deleted.message_id)
    (brief,) = deliver(emulator)
    mailbox.remove(brief.message_id)

    told = items(await walk(http, begun[-1]["@odata.deltaLink"]))
    archive = items(await walk(http, DELTA.replace("inbox", "archive")))

    assert told == {moved.message_id: "changed", deleted.message_id: "deleted", brief.message_id: "deleted"}
    assert archive == {moved.message_id: "0"}
    assert kept.folder.well_known == "inbox"


async def test_a_message_that_left_and_came_back_is_only_told_as_removed_by_its_immutable_id(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    (message,) = deliver(emulator)
    immutable, default = await walk(http), await walk(http, prefer="odata.maxpagesize=50")
    before = message.default_id
    emulator.microsoft.mailbox(MIA).move(message.message_id, "archive")
    emulator.microsoft.mailbox(MIA).move(message.message_id, "inbox")

    by_immutable = await walk(http, immutable[-1]["@odata.deltaLink"])
    by_default = await walk(http, default[-1]["@odata.deltaLink"], prefer="odata.maxpagesize=50")

    assert items(by_immutable) == {message.message_id: "changed"}
    assert items(by_default) == {before: "changed", message.default_id: "0"}


@pytest.mark.parametrize(("wanted", "told"), [("created", "new"), ("updated", "read"), ("deleted", "gone")])
async def test_one_kind_of_change_can_be_asked_for(
    emulator: Emulator, http: httpx2.AsyncClient, wanted: str, told: str
) -> None:
    read, gone = deliver(emulator, 2)
    begun = await walk(http, changeType=wanted)
    mailbox = emulator.microsoft.mailbox(MIA)
    (new,) = deliver(emulator)
    mailbox.mark(read.message_id, unread=False)
    mailbox.remove(gone.message_id)

    later = items(await walk(http, begun[-1]["@odata.deltaLink"]))

    ids = {"new": new.message_id, "read": read.message_id, "gone": gone.message_id}
    assert list(later) == [ids[told]]
    assert len(items(begun)) == (2 if wanted == "created" else 0)


async def test_empty_pages_duplicates_replays_and_strays_are_there_on_request(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    deliver(emulator, 3)
    async with control_client(emulator.base_url) as control:
        await control.microsoft.switch_delta(empty_pages=2, duplicates=True, replays=1, strays=1)

    pages = await walk(http, top="2")
    nothing_new = await walk(http, pages[-1]["@odata.deltaLink"])

    assert [len(page["value"]) for page in pages] == [0, 0, 2, 0, 0, 4]
    assert list(items(pages).values()).count("deleted") == 1
    assert len(items(pages)) == 4
    assert [len(page["value"]) for page in nothing_new] == [0, 0, 4]


@pytest.mark.parametrize(
    "expiry",
    [
        Expiry(),
        Expiry(status=400, code="resyncRequired"),
        Expiry(status=410, code="resyncRequired", location=True),
    ],
)
async def test_links_expire_and_a_location_begins_again_with_the_same_options(
    emulator: Emulator, http: httpx2.AsyncClient, expiry: Expiry
) -> None:
    deliver(emulator, 2)
    begun = await walk(http, select="subject", top="1")
    emulator.microsoft.expire_delta(MIA, expiry)

    refused = await http.get(begun[-1]["@odata.deltaLink"])
    anew = await walk(http, refused.headers.get("Location", DELTA))

    assert (refused.status_code, refused.json()["error"]["code"]) == (expiry.status, expiry.code)
    assert ("Location" in refused.headers) == expiry.location
    assert (len(items(anew)), len(anew)) == (2, 2 if expiry.location else 1)


async def test_a_walk_can_expire_in_the_middle(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator, 6)
    async with control_client(emulator.base_url) as control:
        await control.microsoft.switch_delta(expire_at_page=3)

    first = (await http.get(DELTA, params={"$top": "2"})).json()
    second = (await http.get(first["@odata.nextLink"])).json()
    third = await http.get(second["@odata.nextLink"])
    again = await http.get(first["@odata.nextLink"])

    assert (third.status_code, again.status_code) == (410, 410)
    assert third.json()["error"]["code"] == "SyncStateNotFound"
    assert len(items(await walk(http, top="2"))) == 6


async def test_the_control_client_expires_links(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    begun = await walk(http)
    async with control_client(emulator.base_url) as control:
        await control.microsoft.expire_delta(MIA, status=410, code="resyncRequired", location=True)

    refused = await http.get(begun[-1]["@odata.deltaLink"])

    assert (refused.status_code, refused.json()["error"]["code"]) == (410, "resyncRequired")
    assert "$deltatoken=" in refused.headers["Location"]


async def test_a_link_belongs_to_its_account(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    begun = await walk(http)
    emulator.microsoft.add_account("leo@contoso.example")
    leo = emulator.microsoft.link("leo@contoso.example")

    stolen = await http.get(begun[-1]["@odata.deltaLink"], headers={"Authorization": f"Bearer {leo.access_token}"})

    assert stolen.status_code == 400
