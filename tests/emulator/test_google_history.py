from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from tests.emulator.client import control_client
from tests.emulator.core import START, Emulator
from tests.emulator.google.mailbox import Mailbox
from tests.emulator.mails import Folder, Mail, compose
from tests.emulator.running import running

EMAIL = "me@example.com"
HISTORY = "/gmail/v1/users/me/history"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.google.add_account(EMAIL)
        yield emulator


@pytest.fixture
def mailbox(emulator: Emulator) -> Mailbox:
    return emulator.google.mailbox(EMAIL)


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {emulator.google.link(EMAIL).access_token}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers, trust_env=False) as http:
        yield http


async def present(http: httpx2.AsyncClient) -> str:
    return str((await http.get("/gmail/v1/users/me/profile")).json()["historyId"])


async def since(http: httpx2.AsyncClient, start: str, **query: Any) -> dict[str, Any]:
    answer = await http.get(HISTORY, params={"startHistoryId": start, **query})
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def walked(http: httpx2.AsyncClient, start: str, **query: Any) -> list[dict[str, Any]]:
    pages = [await since(http, start, **query)]
    while "nextPageToken" in pages[-1]:
        pages.append(await since(http, start, pageToken=pages[-1]["nextPageToken"], **query))
    return pages


def mail(folder: Folder = "inbox") -> Mail:
    return Mail(raw=compose(), received_at=START, folder=folder)


async def test_nothing_new_is_a_page_without_history(http: httpx2.AsyncClient) -> None:
    start = await present(http)

    assert await since(http, start) == {"historyId": start}


async def test_changes_come_in_their_order_with_gaps_between_their_ids(
    mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    start = await present(http)
    message = mailbox.deliver(mail())
    mailbox.relabel(message.message_id, add=["STARRED"])
    mailbox.relabel(message.message_id, remove=["UNREAD"])
    mailbox.remove(message.message_id)

    reply = await since(http, start)

    kinds = [next(key for key in record if key not in {"id", "messages"}) for record in reply["history"]]
    ids = [int(start), *(int(record["id"]) for record in reply["history"])]
    assert kinds == ["messagesAdded", "labelsAdded", "labelsRemoved", "messagesDeleted"]
    assert reply["history"][1]["labelsAdded"] == [
        {
            "message": {
                "id": message.message_id,
                "threadId": message.message_id,
                "labelIds": ["INBOX", "UNREAD", "STARRED"],
            },
            "labelIds": ["STARRED"],
        }
    ]
    assert all(isinstance(record["id"], str) for record in reply["history"])
    assert max(later - earlier for earlier, later in pairwise(ids)) > 1


async def test_kinds_and_a_label_narrow_the_history(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    start = await present(http)
    inbox = mailbox.deliver(mail()).message_id
    spam = mailbox.deliver(mail("junk")).message_id
    mailbox.move(spam, "inbox")

    added = await since(http, start, historyTypes="messageAdded")
    rescued = await since(http, start, historyTypes=["messageAdded", "labelAdded"], labelId="INBOX")

    assert [record["messages"][0]["id"] for record in added["history"]] == [inbox, spam]
    assert [record["messages"][0]["id"] for record in rescued["history"]] == [inbox, spam]
    assert "labelsAdded" in rescued["history"][1]


@pytest.mark.parametrize("empty_pages", [False, True])
async def test_pages_hold_every_record_once(
    emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient, empty_pages: bool
) -> None:
    emulator.google.switches.empty_history_pages = empty_pages
    start = await present(http)
    ids = [mailbox.deliver(mail()).message_id for _ in range(5)]

    pages = await walked(http, start, maxResults=2)

    found = [record["messages"][0]["id"] for page in pages for record in page.get("history", [])]
    assert found == ids
    assert [("history" in page) for page in pages] == ([False, True] * 3 if empty_pages else [True] * 3)
    assert pages[-1]["historyId"] == await present(http)


async def test_an_expired_history_is_not_found(emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    mailbox.deliver(mail())
    start = await present(http)

    async with control_client(emulator.base_url) as control:
        await control.google.expire_history(EMAIL)

    assert (await http.get(HISTORY, params={"startHistoryId": start})).status_code == 404
    assert (await since(http, await present(http))).keys() == {"historyId"}


async def test_in_a_quiet_mailbox_the_last_messages_id_grows_too_old_and_the_profiles_does_not(
    emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    message = mailbox.deliver(mail())
    emulator.clock.advance(timedelta(days=30))
    http.headers["Authorization"] = f"Bearer {emulator.google.link(EMAIL).access_token}"

    of_profile = await present(http)

    assert (await http.get(HISTORY, params={"startHistoryId": str(message.history_id)})).status_code == 404
    assert (await since(http, of_profile))["historyId"] == of_profile


async def test_a_start_of_the_future_is_not_found(http: httpx2.AsyncClient) -> None:
    start = str(int(await present(http)) + 1)

    assert (await http.get(HISTORY, params={"startHistoryId": start})).status_code == 404


async def test_a_page_token_of_another_history_is_refused(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    start = await present(http)
    for _ in range(2):
        mailbox.deliver(mail())
    page = await since(http, start, maxResults=1)

    answer = await http.get(HISTORY, params={"startHistoryId": await present(http), "pageToken": page["nextPageToken"]})

    assert answer.status_code == 400
