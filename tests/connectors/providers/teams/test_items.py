"""What a chat message of Graph's becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.messages.domain import JsonObject, LeftOut, Message, Participant, Ref, SourceFormat, Unreadable
from connectors.providers.teams.items import message_of, time_of
from connectors.providers.teams.places import label_of, message_path, thread_of

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
CHAT = "chat:19:abc@thread.v2"


def item(**fields: Any) -> JsonObject:
    return {
        "id": "1793620800000",
        "messageType": "message",
        "createdDateTime": "2026-11-02T12:00:00Z",
        "lastModifiedDateTime": "2026-11-02T12:00:00Z",
        "lastEditedDateTime": None,
        "deletedDateTime": None,
        "from": {"user": {"id": "u-1", "displayName": "Leo Lang"}, "application": None},
        "body": {"contentType": "html", "content": "<p>Hello</p>"},
        "attachments": [],
        **fields,
    }


def message(**fields: Any) -> Message:
    ref = Ref(provider_id=f"{CHAT}/1793620800000", received_at=NOON, container=CHAT)
    return message_of(item(**fields), ref, max_body_chars=1_000)


def html(content: str, **fields: Any) -> Message:
    return message(body={"contentType": "html", "content": content}, **fields)


def test_mentions_pictures_and_files_become_text() -> None:
    found = html(
        '<p><at id="0">Mia</at> see <attachment id="f-1"></attachment><img src="https://graph/hostedContents/1" '
        'alt="a chart"></p>',
        attachments=[{"id": "f-1", "contentType": "reference", "name": "plan.docx", "contentUrl": "https://x"}],
    )

    assert found.text == "@Mia see [attachment: plan.docx](image: a chart)"
    assert [(one.attachment_id, one.name, one.media_type) for one in found.attachments] == [
        ("f-1", "plan.docx", "reference")
    ]


def test_a_message_that_answers_another_shows_what_it_answers() -> None:
    quoted = {
        "messageId": "1793620700000",
        "messagePreview": "Shall  we meet?",
        "messageSender": {"user": {"displayName": "Mia"}},
    }
    found = html(
        '<attachment id="1793620700000"></attachment><p>Yes</p>',
        attachments=[{"id": "1793620700000", "contentType": "messageReference", "content": json.dumps(quoted)}],
    )

    assert "[attachment: an earlier message of Mia: Shall we meet?]" in found.text
    assert found.text.endswith("Yes")
    assert found.in_reply_to == f"{CHAT}/1793620700000"
    assert found.attachments == ()


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"messageSender": 7}', "{" * 10_000])
def test_what_it_answers_may_be_told_in_any_way(content: str | None) -> None:
    found = html(
        '<attachment id="1"></attachment>Yes',
        attachments=[{"id": "1", "contentType": "messageReference", "content": content}],
    )

    assert "an earlier message" in found.text
    assert found.in_reply_to == ""


def test_cards_are_no_files() -> None:
    kinds = ["application/vnd.microsoft.card.adaptive", "image/png", "reference"]

    found = message(attachments=[{"id": kind, "contentType": kind, "name": None} for kind in kinds])

    assert [one.media_type for one in found.attachments] == ["image/png", "reference"]


def test_the_tail_of_deeply_nested_html_is_there() -> None:
    assert html("<div>" * 400 + "the tail" + "</div>" * 400).text == "the tail"


def test_plain_text_stays_as_it_is() -> None:
    found = message(body={"contentType": "text", "content": "a <b> & c"})

    assert (found.text, found.source_format) == ("a <b> & c", SourceFormat.TEXT)
    assert message(body={"contentType": "text", "content": ""}).source_format is SourceFormat.NONE


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ({"user": {"id": "u", "displayName": "Leo"}}, "Leo"),
        ({"user": None, "application": {"displayName": "Build bot"}}, "Build bot"),
        ({"user": {"id": "u", "displayName": None}}, ""),
        ({"device": {}}, ""),
    ],
)
def test_people_and_apps_are_told_by_name(sender: JsonObject, expected: str) -> None:
    assert message(**{"from": sender}).sender == Participant(name=expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"messageType": "systemEventMessage"},
        {"messageType": "unknownFutureValue"},
        {"messageType": "chatEvent"},
        {"from": None},
        {"deletedDateTime": "2026-11-02T12:00:00Z"},
        {"body": {"contentType": "html", "content": "<systemEventMessage/>"}},
    ],
)
def test_what_nobody_says_is_left_out(fields: JsonObject) -> None:
    with pytest.raises(LeftOut):
        message(**fields)


@pytest.mark.parametrize("fields", [{"body": None}, {"body": "x"}, {"createdDateTime": None}, {"createdDateTime": 7}])
def test_what_is_no_message_is_unreadable(fields: JsonObject) -> None:
    with pytest.raises(Unreadable):
        message(**fields)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-02T12:00:00Z", NOON),
        ("2026-11-02T12:00:00", NOON),
        ("2026-11-02T13:00:00.0000000+01:00", NOON),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        (7, None),
    ],
)
def test_times_are_read_as_graph_writes_them(value: object, expected: datetime | None) -> None:
    assert time_of(value) == expected


@pytest.mark.parametrize(
    ("provider_id", "path", "thread", "label"),
    [
        ("chat:19:a@b/1", "/chats/19%3Aa%40b/messages/1", "chat:19:a@b", "chat:19:a@b"),
        ("channel:t/c/1", "/teams/t/channels/c/messages/1", "channel:t/c/1", "channel:t/c"),
        ("channel:t/c/1/2", "/teams/t/channels/c/messages/1/replies/2", "channel:t/c/1", "channel:t/c"),
    ],
)
def test_an_id_says_where_its_message_is(provider_id: str, path: str, thread: str, label: str) -> None:
    assert (message_path(provider_id), thread_of(provider_id), label_of(provider_id)) == (path, thread, label)


@pytest.mark.parametrize(
    "provider_id",
    ["", "1", "chat:1", "chat:a/b/c", "chat:../1", "chat:a/..", "channel:t/c", "channel:t/c/1/2/3", "mail:a/1"],
)
def test_an_id_that_is_none_leads_nowhere(provider_id: str) -> None:
    assert message_path(provider_id) is None
