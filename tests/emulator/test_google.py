from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import httpx2
import pytest

from tests.emulator.client import ControlClient, control_client
from tests.emulator.core import START, Emulator
from tests.emulator.google.mailbox import Mailbox
from tests.emulator.google.quota import Tells
from tests.emulator.google.tables import LABELS, METADATA
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.running import running

EMAIL = "me@example.com"
USER = "/gmail/v1/users/me"


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


async def ask(http: httpx2.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await http.get(USER + path, params=query)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def mail(minutes: float = 0, **headers: Any) -> Mail:
    folder = headers.pop("folder", "inbox")
    labels, unread = headers.pop("labels", ()), headers.pop("unread", True)
    return Mail(
        raw=compose(**headers),
        received_at=START + timedelta(minutes=minutes),
        folder=folder,
        labels=labels,
        unread=unread,
    )


def refused(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["errors"][0]["reason"]


async def test_an_empty_mailbox_has_no_messages_field(http: httpx2.AsyncClient) -> None:
    assert await ask(http, "/messages") == {"resultSizeEstimate": 0}


async def test_messages_come_newest_first_over_pages(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    ids = [mailbox.deliver(mail(minutes)).message_id for minutes in (3, 1, 2, 2, 0)]
    newest_first = [ids[0], ids[3], ids[2], ids[1], ids[4]]

    first = await ask(http, "/messages", maxResults=2)
    mailbox.deliver(mail(9))
    second = await ask(http, "/messages", maxResults=2, pageToken=first["nextPageToken"])
    third = await ask(http, "/messages", maxResults=2, pageToken=second["nextPageToken"])

    pages = [first, second, third]
    assert [message["id"] for page in pages for message in page["messages"]] == newest_first
    assert "nextPageToken" not in third


async def test_a_page_token_of_another_query_is_refused(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    for _ in range(2):
        mailbox.deliver(mail())
    page = await ask(http, "/messages", maxResults=1)

    answer = await http.get(USER + "/messages", params={"pageToken": page["nextPageToken"], "q": "is:unread"})

    assert refused(answer) == (400, "invalidArgument")


async def test_label_ids_all_hold_and_spam_and_trash_are_left_out(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    both = mailbox.deliver(mail(labels=("STARRED",))).message_id
    inbox = mailbox.deliver(mail(1, unread=False)).message_id
    spam = mailbox.deliver(mail(2, folder="junk")).message_id
    trash = mailbox.deliver(mail(3, folder="deleted")).message_id

    async def listed(**query: Any) -> list[str]:
        return [message["id"] for message in (await ask(http, "/messages", **query)).get("messages", [])]

    assert await listed() == [inbox, both]
    assert await listed(labelIds=["INBOX", "STARRED"]) == [both]
    assert await listed(includeSpamTrash="true") == [trash, spam, inbox, both]
    assert await listed(q="in:spam") == [spam]
    assert await listed(q="in:anywhere -in:inbox") == [trash, spam]


@pytest.fixture
def searched(mailbox: Mailbox) -> dict[str, str]:
    mails = {
        "invoice": mail(
            0,
            sender="Billing <billing@acme.test>",
            subject="Invoice 7",
            attachments=[Attachment("invoice.pdf", b"%PDF")],
            message_id="<inv7@acme.test>",
        ),
        "lunch": mail(10, sender="Bob <bob@example.org>", subject="Lunch?", text="See you at noon", unread=False),
        "project": mail(20, to="team@example.com", cc=EMAIL, subject="Plan", labels=("Clients/Acme Ltd",)),
        "sent": mail(30, sender=EMAIL, to="bob@example.org", folder="sent", unread=False, subject="Re: Lunch?"),
    }
    return {mailbox.deliver(one).message_id: name for name, one in mails.items()}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from:acme.test", "invoice"),
        ("to:bob@example.org", "sent"),
        ("to:me@example.com -in:sent", "project lunch invoice"),
        ("cc:me@example.com", "project"),
        ("subject:lunch", "sent lunch"),
        ('subject:"invoice 7"', "invoice"),
        ("label:clients-acme-ltd", "project"),
        ("label:Label_1", "project"),
        ("in:sent", "sent"),
        ("is:unread", "project invoice"),
        ("is:read", "sent lunch"),
        ("has:attachment", "invoice"),
        ("-has:attachment is:unread", "project"),
        ("rfc822msgid:inv7@acme.test", "invoice"),
        ('"you at noon"', "lunch"),
        ("{from:bob from:billing}", "lunch invoice"),
        ("from:(bob OR billing) is:read", "lunch"),
        ("subject:lunch OR subject:plan", "sent project lunch"),
        ("-{from:bob from:billing}", "sent project"),
        (f"after:{int(START.timestamp()) + 600}", "sent project"),
        (f"before:{int(START.timestamp()) + 600}", "invoice"),
        ("after:2026/11/02", "sent project lunch invoice"),
        ("before:2026/11/2", ""),
    ],
)
async def test_queries_find_what_they_name(
    searched: dict[str, str], http: httpx2.AsyncClient, query: str, found: str
) -> None:
    reply = await ask(http, "/messages", q=query)

    assert " ".join(searched[message["id"]] for message in reply.get("messages", [])) == found


@pytest.mark.parametrize("query", ["form:bob", "has:cheese", "is:great", "after:monday", "(from:bob", "from:bob)"])
async def test_a_query_that_is_not_understood_is_refused(http: httpx2.AsyncClient, query: str) -> None:
    assert refused(await http.get(USER + "/messages", params={"q": query})) == (400, "badRequest")


async def test_time_queries_can_be_made_to_compare_the_date_header(
    emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    emulator.google.switches.after_compares = "Date"
    mailbox.deliver(mail(60, sent_at=START))

    assert await ask(http, "/messages", q=f"after:{int(START.timestamp()) + 600}") == {"resultSizeEstimate": 0}


async def test_a_message_is_shown_as_its_parts(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    pdf = b"%PDF-1.7 not really"
    delivered = mailbox.deliver(
        mail(subject="Grüße & Küsse", text="Hällo\n", html="<p>Hällo</p>", attachments=[Attachment("é.pdf", pdf)])
    )

    reply = await ask(http, f"/messages/{delivered.message_id}")

    payload = reply["payload"]
    text, html = payload["parts"][0]["parts"]
    assert {name: reply[name] for name in ("labelIds", "internalDate", "snippet")} == {
        "labelIds": ["INBOX", "UNREAD"],
        "internalDate": str(int(START.timestamp() * 1000)),
        "snippet": "Hällo",
    }
    assert {"name": "Subject", "value": "Grüße & Küsse"} in payload["headers"]
    assert (payload["partId"], payload["mimeType"], payload["body"]) == ("", "multipart/mixed", {"size": 0})
    assert (text["partId"], text["mimeType"], text["filename"]) == ("0.0", "text/plain", "")
    assert base64.urlsafe_b64decode(text["body"]["data"] + "==").decode().strip() == "Hällo"
    assert "=" not in html["body"]["data"]
    assert payload["parts"][1]["filename"] == "é.pdf"
    attachment = payload["parts"][1]["body"]
    assert (attachment["size"], "data" in attachment) == (len(pdf), False)
    found = await ask(http, f"/messages/{delivered.message_id}/attachments/{attachment['attachmentId']}")
    assert base64.urlsafe_b64decode(found["data"] + "==") == pdf


async def test_attachment_ids_are_new_each_time_and_belong_to_their_message(
    mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    mails = [mail(attachments=[Attachment("a.bin", b"\0\1")]) for _ in range(2)]
    mine, other = (mailbox.deliver(one).message_id for one in mails)

    ids = {(await ask(http, f"/messages/{mine}"))["payload"]["parts"][1]["body"]["attachmentId"] for _ in range(2)}
    answer = await http.get(f"{USER}/messages/{other}/attachments/{ids.pop()}")

    assert len(ids) == 1
    assert refused(answer) == (400, "invalidArgument")


async def test_bodies_are_brought_to_utf8_unless_they_are_asked_for_as_sent(
    emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    raw = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nz\xfcrich"
    unknown = raw.replace(b"iso-8859-1", b"unknown-8bit")
    ids = [mailbox.deliver(Mail(raw=one, received_at=START)).message_id for one in (raw, unknown)]

    async def bodies() -> list[bytes]:
        replies = [await ask(http, f"/messages/{message_id}") for message_id in ids]
        return [base64.urlsafe_b64decode(reply["payload"]["body"]["data"] + "==") for reply in replies]

    assert await bodies() == ["zürich".encode(), b"z\xfcrich"]
    emulator.google.switches.bodies = "as-sent"
    assert await bodies() == [b"z\xfcrich", b"z\xfcrich"]


async def test_a_large_body_is_an_attachment_without_a_name(
    emulator: Emulator, mailbox: Mailbox, http: httpx2.AsyncClient
) -> None:
    emulator.google.switches.largest_inline_body = 10
    delivered = mailbox.deliver(mail(text="more than ten bytes\n"))

    part = (await ask(http, f"/messages/{delivered.message_id}"))["payload"]

    assert part["filename"] == ""
    assert set(part["body"]) == {"attachmentId", "size"}


async def test_a_forwarded_mail_is_a_part_with_parts(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    outer = EmailMessage()
    outer["Subject"] = "Fwd"
    outer.set_content("see below")
    inner = EmailMessage()
    inner["Subject"] = "Original"
    inner.set_content("the words")
    outer.add_attachment(inner)
    delivered = mailbox.deliver(Mail(raw=outer.as_bytes(), received_at=START))

    part = (await ask(http, f"/messages/{delivered.message_id}"))["payload"]["parts"][1]

    assert part["mimeType"] == "message/rfc822"
    assert part["parts"][0]["partId"] == "1.0"
    assert {"name": "Subject", "value": "Original"} in part["parts"][0]["headers"]
    found = await ask(http, f"/messages/{delivered.message_id}/attachments/{part['body']['attachmentId']}")
    assert b"the words" in base64.urlsafe_b64decode(found["data"] + "==")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no header at all",
        b"Message-ID: <[abc@x.test]>\r\nFrom: \xff\xfe <\r\nDate: never\r\n\r\nbody",
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nbody",
        b"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!not base64",
        b"Content-Type: ;;;\r\nContent-Disposition: attachment; filename*=x'y'%ff\r\n\r\n\x00\xff",
    ],
)
async def test_no_mail_is_too_broken_to_be_shown(mailbox: Mailbox, http: httpx2.AsyncClient, raw: bytes) -> None:
    message_id = mailbox.deliver(Mail(raw=raw, received_at=START)).message_id

    for form in ("full", "metadata", "minimal"):
        assert (await ask(http, f"/messages/{message_id}", format=form))["id"] == message_id
    shown = (await ask(http, f"/messages/{message_id}", format="raw"))["raw"]

    assert base64.urlsafe_b64decode(shown + "==") == raw
    assert (await ask(http, "/messages", q="from:nobody subject:nothing words"))["resultSizeEstimate"] == 0


async def test_formats_and_fields_leave_out_what_is_not_asked_for(mailbox: Mailbox, http: httpx2.AsyncClient) -> None:
    path = f"/messages/{mailbox.deliver(mail(folder='archive', unread=False)).message_id}"

    minimal = await ask(http, path, format="minimal")
    metadata = await ask(http, path, format="metadata", metadataHeaders=["subject", "Cc"])
    masked = await ask(http, path, fields="id,payload(headers/name,mimeType)")

    assert set(minimal) == {"id", "threadId", "snippet", "historyId", "internalDate", "sizeEstimate"}
    assert metadata["payload"]["headers"] == [{"name": "Subject", "value": "Hello"}]
    assert set(masked) == {"id", "payload"}
    assert {tuple(header) for header in masked["payload"]["headers"]} == {("name",)}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/messages", {"maxresults": "5"}),
        ("/messages", {"maxResults": "501"}),
        ("/messages", {"maxResults": "0"}),
        ("/messages", {"pageToken": "x"}),
        ("/messages", {"includeSpamTrash": "yes"}),
        ("/messages/abc", {"format": "FULL"}),
        ("/profile", {"access_token": "in-the-address"}),
        ("/profile", {"fields": "a(b"}),
        ("/history", {}),
        ("/history", {"startHistoryId": "abc"}),
        ("/history", {"startHistoryId": "1", "historyTypes": "messagesAdded"}),
        ("/history", {"startHistoryId": "1", "labelId": ["INBOX", "SENT"]}),
    ],
)
async def test_parameters_that_the_api_does_not_have_are_refused(
    http: httpx2.AsyncClient, path: str, query: dict[str, Any]
) -> None:
    answer = await http.get(USER + path, params=query)

    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


async def test_what_is_not_there_is_not_found(http: httpx2.AsyncClient) -> None:
    for path in ("/messages/0123456789abcdef", "/labels/Label_9"):
        assert refused(await http.get(USER + path)) == (404, "notFound")


async def test_tokens_scopes_and_users_are_checked(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    labels = {"Authorization": f"Bearer {emulator.google.link(EMAIL, scopes=(LABELS,)).access_token}"}
    metadata = {"Authorization": f"Bearer {emulator.google.link(EMAIL, scopes=(METADATA,)).access_token}"}
    message_id = emulator.google.mailbox(EMAIL).deliver(mail()).message_id

    assert refused(await http.get(USER + "/profile", headers={"Authorization": "Bearer x"})) == (401, "authError")
    assert refused(await http.get(USER + "/messages", headers=labels)) == (403, "insufficientPermissions")
    assert refused(await http.get(USER + "/messages", headers=metadata, params={"q": "a"})) == (403, "forbidden")
    assert refused(await http.get(f"{USER}/messages/{message_id}", headers=metadata)) == (403, "forbidden")
    assert refused(await http.get("/gmail/v1/users/other@example.com/profile")) == (403, "forbidden")
    assert (await http.get(f"/gmail/v1/users/{EMAIL}/profile")).status_code == 200


async def test_the_quota_refuses_what_is_too_much_for_a_minute(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    quota = emulator.google.quota
    quota.units_per_minute = 2
    await http.get(USER + "/profile")
    emulator.clock.advance(timedelta(seconds=20))
    await http.get(USER + "/profile")

    by_header = await http.get(USER + "/profile")
    quota.tells, quota.status = Tells.TEXT, 403
    by_text = await http.get(USER + "/profile")
    quota.tells = Tells.NOWHERE
    by_nothing = await http.get(USER + "/profile")
    emulator.clock.advance(timedelta(seconds=40))

    assert (refused(by_header), by_header.headers["Retry-After"]) == ((429, "rateLimitExceeded"), "40")
    assert "Retry-After" not in by_text.headers
    assert refused(by_text) == (403, "rateLimitExceeded")
    assert by_text.json()["error"]["message"].endswith("Retry after 2026-11-02T09:01:00.000Z")
    assert "Retry" not in by_nothing.text
    assert (await http.get(USER + "/profile")).status_code == 200
    assert quota.refused == 3


async def test_the_control_client_seeds_and_changes_a_mailbox(emulator: Emulator, mailbox: Mailbox) -> None:
    control: ControlClient
    async with control_client(emulator.base_url) as control:
        kept, deleted = await control.google.deliver(EMAIL, mail(subject="a"), mail(1, subject="b"))
        await control.google.move(EMAIL, kept, "junk")
        await control.google.relabel(EMAIL, kept, add=["Acme"], remove=["UNREAD"])
        await control.google.delete_messages(EMAIL, deleted)
        await control.google.set_quota(units_per_minute=9, tells=Tells.TEXT, units={"gmail.users.getProfile": 3})
        await control.google.switch(bodies="as-sent", empty_history_pages=True)

        messages = await control.google.messages(EMAIL)

    assert messages == [
        {"message_id": kept, "thread_id": kept, "label_ids": ["SPAM", "Label_1"], "subject": "a"},
    ]
    assert json.loads(json.dumps(mailbox.user_labels)) == {"Label_1": "Acme"}
    assert (emulator.google.quota.units_per_minute, emulator.google.quota.tells) == (9, Tells.TEXT)
    assert emulator.google.switches.empty_history_pages
