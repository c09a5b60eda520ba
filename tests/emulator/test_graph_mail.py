from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given, strategies as st

from tests.emulator.client import control_client
from tests.emulator.core import START, Emulator, Fault
from tests.emulator.mails import Attachment, Folder, Mail, compose
from tests.emulator.microsoft.graph import RetryAfter
from tests.emulator.microsoft.mailbox import OutlookMessage
from tests.emulator.microsoft.mime import TEXT_MARKER, contents_of
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
ME = "/v1.0/me"
INBOX = f"{ME}/mailFolders/inbox/messages"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
AS_TEXT = {"Prefer": 'outlook.body-content-type="text"'}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.microsoft.add_account(MIA, name="Mia Meier")
        emulator.microsoft.add_account(LEO)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {emulator.microsoft.link(MIA).access_token}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers, trust_env=False) as http:
        yield http


def deliver(
    emulator: Emulator, raw: bytes | None = None, *, minutes: float = 0, folder: Folder = "inbox", unread: bool = True
) -> OutlookMessage:
    received_at = START + timedelta(minutes=minutes)
    mail = Mail(raw=raw or compose(), received_at=received_at, folder=folder, unread=unread)
    return emulator.microsoft.mailbox(MIA).deliver(mail)


async def read(http: httpx2.AsyncClient, path: str, headers: dict[str, str] | None = None, /, **query: str) -> Any:
    params = {f"${name}": value for name, value in query.items()}
    answer = await http.get(path, params=params or None, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refusal(http: httpx2.AsyncClient, path: str, **query: str) -> tuple[int, str]:
    answer = await http.get(path, params={f"${name}": value for name, value in query.items()})
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_user_is_told_with_the_id_that_graph_knows(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    ann = emulator.microsoft.add_account("ann@outlook.example", personal=True)
    hers = {"Authorization": f"Bearer {emulator.microsoft.link(ann.address).access_token}"}

    mine = await read(http, ME, select="id,mail")

    assert (mine["mail"], set(mine)) == (MIA, {"@odata.context", "id", "mail"})
    assert (await read(http, ME, hers))["id"] == ann.cid
    assert ann.object_id.replace("-", "").endswith(ann.cid)


async def test_calls_without_a_good_token_or_permission_are_refused(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    basic = {"Authorization": f"Bearer {emulator.microsoft.link(MIA, scopes=('Mail.ReadBasic',)).access_token}"}
    wrong = await http.get(ME, headers={"Authorization": "Bearer made-up"})
    emulator.microsoft.login.grants.expire_access(MIA)
    expired = await http.get(ME)
    basic["Authorization"] = f"Bearer {emulator.microsoft.link(MIA, scopes=('Mail.ReadBasic',)).access_token}"

    assert wrong.status_code == expired.status_code == 401
    assert expired.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert expired.headers["WWW-Authenticate"].startswith("Bearer ")
    assert set(expired.json()["error"]["innerError"]) == {"date", "request-id", "client-request-id"}
    assert (await http.get(f"{ME}/mailFolders", headers=basic)).status_code == 200
    assert (await http.get(f"{ME}/messages", headers=basic)).json()["error"]["code"] == "ErrorAccessDenied"
    assert (await http.get(ME, headers=basic)).status_code == 403


async def test_folders_have_ids_and_well_known_names(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator)
    deliver(emulator, folder="sent", unread=False)
    emulator.microsoft.mailbox(MIA).add_folder("Customers")

    first = await read(http, f"{ME}/mailFolders", top="5")
    rest = (await http.get(first["@odata.nextLink"])).json()
    inbox = await read(http, f"{ME}/mailFolders/inbox")

    assert [one["displayName"] for one in [*first["value"], *rest["value"]]][-1] == "Customers"
    assert (inbox["totalItemCount"], inbox["unreadItemCount"]) == (1, 1)
    assert (await read(http, f"{ME}/mailFolders/{inbox['id']}"))["displayName"] == "Inbox"
    for name in ("sentitems", "archive", "deleteditems", "junkemail"):
        assert (await read(http, f"{ME}/mailFolders/{name}", select="id"))["id"]
    assert await refusal(http, f"{ME}/mailFolders/nowhere-at-all") == (404, "ErrorItemNotFound")


async def test_a_list_is_newest_first_ten_a_page_and_its_links_are_followed_verbatim(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    for minute in range(25):
        deliver(emulator, compose(subject=str(minute)), minutes=minute)

    pages = [await read(http, f"{ME}/messages", select="subject")]
    while "@odata.nextLink" in pages[-1]:
        pages.append((await http.get(pages[-1]["@odata.nextLink"])).json())
    link = pages[0]["@odata.nextLink"]
    with_more = await http.get(f"{link}&$top=5")
    elsewhere = await http.get(link.replace("/me/messages", "/me/mailFolders/inbox/messages"))

    assert [len(page["value"]) for page in pages] == [10, 10, 5]
    assert [one["subject"] for page in pages for one in page["value"]] == [str(one) for one in range(24, -1, -1)]
    assert link.startswith(f"{emulator.base_url}/v1.0/me/messages?$skiptoken=")
    assert with_more.status_code == elsewhere.status_code == 400


async def test_links_can_point_to_another_host(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    deliver(emulator)
    deliver(emulator)
    emulator.microsoft.graph.links_to = "https://graph.evil.example"

    assert (await read(http, INBOX, top="1"))["@odata.nextLink"].startswith("https://graph.evil.example/v1.0/me/")


@pytest.mark.parametrize(
    ("clause", "found"),
    [
        ("receivedDateTime ge 2026-11-02T09:01:00Z", ["2", "1"]),
        ("receivedDateTime gt 2026-11-02T09:01:00Z", ["2"]),
        ("receivedDateTime lt 2026-11-02T10:01:00+01:00", ["0"]),
        ("receivedDateTime ge 2026-11-02T09:00:00Z and receivedDateTime le 2026-11-02T09:01:00.5Z", ["1", "0"]),
        ("from/emailAddress/address eq 'BOB@example.com'", ["1"]),
        ("isRead eq false", ["2", "1"]),
        ("hasAttachments eq true", ["2"]),
        ("receivedDateTime ge 2026-11-02T09:00:00Z and isRead ne false", ["0"]),
    ],
)
async def test_filters_choose_messages(
    emulator: Emulator, http: httpx2.AsyncClient, clause: str, found: list[str]
) -> None:
    deliver(emulator, compose(subject="0"), unread=False)
    deliver(emulator, compose(subject="1", sender="Bob <bob@example.com>"), minutes=1)
    deliver(emulator, compose(subject="2", attachments=[Attachment("a.txt", b"a", "text/plain")]), minutes=2)

    assert [one["subject"] for one in (await read(http, INBOX, filter=clause))["value"]] == found


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "receivedDateTime ge '2026-11-02T09:00:00Z'"},
        {"filter": "receivedDateTime ge 2026-11-02"},
        {"filter": "receivedDateTime ge 2026-11-02T09:00:00Z and"},
        {"filter": "subject eq 'Hello'"},
        {"filter": "isRead gt true"},
        {"orderby": "subject"},
        {"orderby": "receivedDateTime downwards"},
        {"select": "subject,colour"},
        {"top": "0"},
        {"top": "1001"},
        {"search": '"hello"'},
        {"skip": "10"},
        {"surprise": "1"},
    ],
)
async def test_what_is_not_known_is_a_bad_request(http: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert await refusal(http, INBOX, **query) == (400, "BadRequest")


async def test_an_order_that_the_filter_does_not_begin_with_is_inefficient(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    for minute in range(3):
        deliver(emulator, compose(subject=str(minute)), minutes=minute)
    since = "receivedDateTime ge 2026-11-02T09:00:00Z"

    good = await read(http, INBOX, filter=f"{since} and isRead eq false", orderby="receivedDateTime")

    assert [one["subject"] for one in good["value"]] == ["0", "1", "2"]
    for clause in ("isRead eq false", f"isRead eq false and {since}"):
        assert await refusal(http, INBOX, filter=clause, orderby="receivedDateTime") == (400, "InefficientFilter")


async def test_a_message_is_html_unless_text_is_preferred_and_its_new_part_only_if_selected(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    source = '<html><body><p>Yes &amp; no</p><div id="divRplyFwdMsg"><p>From: Bob</p></div></body></html>'
    message = deliver(emulator, compose(text="Yes", html=source, subject="Grüße"))
    path = f"{ME}/messages/{message.default_id}"

    html = await read(http, path)
    text = await http.get(path, params={"$select": "body,uniqueBody"}, headers=AS_TEXT)

    assert html["body"] == {"contentType": "html", "content": f"{source}\r\n"}
    assert (html["subject"], html["bodyPreview"]) == ("Grüße", "Yes & no")
    assert "uniqueBody" not in html
    assert text.json()["uniqueBody"] == {"contentType": "text", "content": "Yes & no"}
    assert text.json()["body"]["content"] == "Yes & no\r\n\r\nFrom: Bob"
    assert 'outlook.body-content-type="text"' in text.headers["Preference-Applied"]


async def test_a_mail_in_plain_text_becomes_html(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    message = deliver(emulator, compose(text=f"1 < 2\n\n{TEXT_MARKER}\nolder\n"))

    told = await read(http, f"{INBOX}/{message.default_id}", select="body,uniqueBody,internetMessageHeaders")

    assert "1 &lt; 2<br>" in told["body"]["content"]
    assert "older" in told["body"]["content"]
    assert "older" not in told["uniqueBody"]["content"]
    assert {"name": "Subject", "value": "Hello"} in told["internetMessageHeaders"]


async def test_default_ids_change_on_a_move_and_immutable_ones_do_not(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    message = deliver(emulator)
    before = message.default_id
    immutable = (await read(http, INBOX, IMMUTABLE))["value"][0]["id"]

    emulator.microsoft.mailbox(MIA).move(message.message_id, "archive")

    after = (await read(http, f"{ME}/mailFolders/archive/messages"))["value"][0]["id"]
    assert (immutable, after) == (message.message_id, message.default_id)
    assert (await http.get(f"{ME}/messages/{immutable}", headers=IMMUTABLE)).json()["id"] == immutable
    assert await refusal(http, f"{ME}/messages/{before}") == (404, "ErrorItemNotFound")
    assert await refusal(http, f"{ME}/messages/{immutable.swapcase()}") == (404, "ErrorItemNotFound")
    assert await refusal(http, f"{ME}/messages/no!id") == (400, "ErrorInvalidIdMalformed")


async def test_attachments_are_listed_and_their_bytes_are_fetched(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    files = [Attachment("Angebot ä.pdf", b"%PDF", "application/pdf"), Attachment("b.txt", b"b" * 9, "text/plain")]
    message = deliver(emulator, compose(attachments=files))
    path = f"{ME}/messages/{message.default_id}/attachments"

    listed = (await read(http, path, select="id,name,contentType,size,isInline"))["value"]
    first = await read(http, path, top="1")
    whole = await read(http, f"{path}/{listed[1]['id']}")
    raw = await http.get(f"{path}/{listed[0]['id']}/$value")

    assert [(one["name"], one["size"]) for one in listed] == [("Angebot ä.pdf", 4), ("b.txt", 9)]
    assert "contentBytes" not in listed[0]
    assert (await read(http, first["@odata.nextLink"]))["value"][0]["id"] == listed[1]["id"]
    assert base64.b64decode(whole["contentBytes"]) == b"b" * 9
    assert (raw.content, raw.headers["Content-Type"]) == (b"%PDF", "application/pdf")
    assert await refusal(http, f"{path}/AAMkADunknown=") == (404, "ErrorItemNotFound")


async def test_a_batch_has_a_status_for_each_of_its_parts(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    message = deliver(emulator)
    get = [f"/me/messages/{message.default_id}?$select=subject", "/me/messages/AAMkADunknown=", "/me"]
    parts: list[dict[str, Any]] = [{"id": str(number), "method": "GET", "url": url} for number, url in enumerate(get)]
    parts.append({"id": "after", "method": "GET", "url": "/me", "dependsOn": ["1"]})

    answer = await http.post("/v1.0/$batch", json={"requests": parts})
    too_many = [{"id": str(number), "method": "GET", "url": "/me"} for number in range(21)]

    told = {one["id"]: one for one in answer.json()["responses"]}
    assert {name: one["status"] for name, one in told.items()} == {"0": 200, "1": 404, "2": 200, "after": 424}
    assert told["0"]["body"]["subject"] == "Hello"
    assert emulator.counters.count("/me/messages/", account=MIA) == 2
    bad: list[Any] = [{"requests": too_many}, {"requests": []}, {"requests": [{"id": "1", "url": "/me"}]}, []]
    for wrong in bad:
        assert (await http.post("/v1.0/$batch", json=wrong)).status_code == 400


async def test_a_batch_works_on_four_parts_at_a_time(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.microsoft.graph.requests_at_once = 4
    fault = emulator.faults.add(Fault(route="/v1.0/me$", hold=True, times=0))
    parts = [{"id": str(number), "method": "GET", "url": "/me"} for number in range(6)]

    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as tasks:
            batch = tasks.create_task(http.post("/v1.0/$batch", json={"requests": parts}))
            await emulator.faults.until_held(fault, 4)
            held = fault.waiting
            await emulator.faults.release(fault)

    assert held == 4
    assert {one["status"] for one in batch.result().json()["responses"]} == {200}


async def test_more_than_four_requests_at_once_are_too_many(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.microsoft.graph.requests_at_once = 4
    fault = emulator.faults.add(Fault(route="/v1.0/me$", hold=True, times=4))

    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as tasks:
            four = [tasks.create_task(http.get(ME)) for _ in range(4)]
            await emulator.faults.until_held(fault, 4)
            fifth = await http.get(ME)
            await emulator.faults.release(fault)

    assert (fifth.status_code, fifth.json()["error"]["code"]) == (429, "ApplicationThrottled")
    assert fifth.headers["Retry-After"] == "1"
    assert [one.result().status_code for one in four] == [200] * 4


async def test_throttling_names_the_time_to_wait_in_every_way_there_is(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    for way in RetryAfter:
        emulator.microsoft.graph.throttle("/me$", retry_after=way, wait=timedelta(seconds=30))
    emulator.microsoft.graph.throttle("/me$", status=503, skip=1, account=MIA)

    answers = [await http.get(ME) for _ in range(7)]

    named = [answer.headers.get("Retry-After", "") for answer in answers]
    assert [answer.status_code for answer in answers] == [429, 429, 429, 429, 200, 503, 200]
    assert (named[0], named[2], named[3]) == ("30", "", "1")
    assert parsedate_to_datetime(named[1]) == START + timedelta(seconds=30)
    assert answers[0].json()["error"]["code"] == "TooManyRequests"
    assert emulator.counters.early > 0


async def test_other_paths_and_methods_are_not_there(http: httpx2.AsyncClient) -> None:
    assert await refusal(http, f"{ME}/calendar") == (400, "BadRequest")
    assert (await http.post(f"{ME}/messages", json={})).status_code in {400, 405}
    assert await refusal(http, f"{ME}/messages/delta") == (400, "BadRequest")


@given(
    st.binary(max_size=400), st.sampled_from(["", "Content-Type: text/html\r\n", "Content-Type: multipart/mixed\r\n"])
)
def test_no_mail_is_too_broken_to_be_told(rest: bytes, header: str) -> None:
    contents = contents_of(Mail(raw=header.encode() + rest, received_at=START))

    assert isinstance(contents.body(as_text=True, unique=True) + contents.body(as_text=False), str)


@pytest.mark.parametrize("charset", ["unknown-8bit", "iso-8859-8-i", "nonsense", "rot13", "us-ascii"])
async def test_a_charset_that_lies_and_a_message_id_that_is_none_do_not_stop_the_others(
    emulator: Emulator, http: httpx2.AsyncClient, charset: str
) -> None:
    raw = (
        b"From: =?utf-8?Q?Doe=2C_J?= <j@example.com>\r\nMessage-ID: <[abc@x.test]>\r\nDate: yesterday\r\n"
        b"Subject: caf\xe9\r\nContent-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\ncaf\xe9\r\n"
    )
    deliver(emulator, raw)

    told = (await read(http, INBOX))["value"][0]

    assert told["internetMessageId"] == "<[abc@x.test]>"
    assert told["from"]["emailAddress"] == {"name": "Doe, J", "address": "j@example.com"}
    assert told["sentDateTime"] == told["receivedDateTime"] == "2026-11-02T09:00:00Z"
    assert "caf" in told["body"]["content"]


async def test_the_control_client_moves_a_mailbox(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    async with control_client(emulator.base_url) as control:
        microsoft = control.microsoft
        await microsoft.add_account("new@contoso.example", name="New")
        await microsoft.add_folder(MIA, "Customers")
        first, second = await microsoft.deliver(MIA, *(Mail(raw=compose(), received_at=START) for _ in range(2)))
        await microsoft.move(MIA, first, "Customers")
        await microsoft.mark(MIA, first, unread=False)
        await microsoft.delete_messages(MIA, second)
        await microsoft.switch_graph(links_to="https://graph.evil.example", requests_at_once=4)
        await microsoft.throttle("/me$", status=503, retry_after=RetryAfter.ABSENT)
        there = await microsoft.messages(MIA)

    assert [(one["message_id"], one["folder"], one["unread"]) for one in there] == [(first, "Customers", False)]
    assert (await http.get(ME)).status_code == 503
    assert (await read(http, ME))["id"]
