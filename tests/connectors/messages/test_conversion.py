"""Messages on the wire: whatever a provider made of them, they can be sent, and nothing of them changes on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings, strategies as st

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from connectors.messages.conversion import (
    FORMATS,
    MODES,
    event_to_proto,
    fetch_from_proto,
    filter_from_proto,
    message_to_proto,
)
from connectors.messages.domain import Attachment, FetchMode, Message, MessageFilter, Participant, SourceFormat
from connectors.messages.events import Checkpoint, Completed, ItemError, Started, Waiting
from connectors.messages.limits import within_limits

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMIT = 4 << 20

texts = st.text(st.characters(), max_size=30)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - strategies want them so
people = st.builds(Participant, address=texts, name=texts)
attachments = st.builds(
    Attachment,
    attachment_id=texts,
    name=texts,
    media_type=texts,
    size_bytes=st.integers(-5, 2**70),
    inline=st.booleans(),
)
messages = st.builds(
    Message,
    key=texts,
    provider_id=texts,
    internet_message_id=texts,
    thread_id=texts,
    in_reply_to=texts,
    references=st.lists(texts, max_size=3).map(tuple),
    received_at=times,
    sent_at=st.none() | times,
    edited_at=st.none() | times,
    sender=people,
    to=st.lists(people, max_size=3).map(tuple),
    cc=st.lists(people, max_size=3).map(tuple),
    subject=texts,
    text=texts,
    text_truncated=st.booleans(),
    full_chars=st.integers(-1, 2**40),
    new_text=texts,
    quoted_text_present=st.booleans(),
    source_format=st.sampled_from(SourceFormat),
    attachments=st.lists(attachments, max_size=3).map(tuple),
    labels=st.lists(texts, max_size=3).map(tuple),
    web_link=texts,
)


def back(converted: message_pb2.Message) -> Message:
    """Read a message as a caller does."""

    def time(name: Literal["received_at", "sent_at", "edited_at"]) -> datetime | None:
        return getattr(converted, name).ToDatetime(tzinfo=UTC) if converted.HasField(name) else None

    def person(one: message_pb2.Participant) -> Participant:
        return Participant(address=one.address, name=one.name)

    received_at = time("received_at")
    assert received_at is not None
    plain = (
        "key provider_id internet_message_id thread_id in_reply_to subject text text_truncated full_chars new_text "
        "quoted_text_present web_link"
    )
    fields: dict[str, Any] = {name: getattr(converted, name) for name in plain.split()}
    return Message(
        **fields,
        references=tuple(converted.references),
        received_at=received_at,
        sent_at=time("sent_at"),
        edited_at=time("edited_at"),
        sender=person(getattr(converted, "from")),
        to=tuple(map(person, converted.to)),
        cc=tuple(map(person, converted.cc)),
        source_format={value: form for form, value in FORMATS.items()}[converted.source_format],
        attachments=tuple(
            Attachment(
                attachment_id=one.attachment_id,
                name=one.name,
                media_type=one.media_type,
                size_bytes=one.size_bytes,
                inline=one.inline,
            )
            for one in converted.attachments
        ),
        labels=tuple(converted.labels),
    )


@given(messages)
@settings(max_examples=200)
def test_a_message_within_limits_survives_the_wire(message: Message) -> None:
    sendable = within_limits(message, max_body_chars=8_000)

    sent = message_pb2.Message.FromString(message_to_proto(sendable).SerializeToString())

    assert back(sent) == sendable


def test_a_text_that_can_be_sent_is_not_touched() -> None:
    message = Message(key="k", provider_id="p", thread_id="t", received_at=NOON, text="Grüße 👋\n\ttab", new_text="x")

    assert within_limits(message, max_body_chars=8_000) == message


def test_the_largest_message_fits_into_one_response() -> None:
    long = "\N{OK HAND SIGN}" * 300_000
    person = Participant(address=long, name=long)
    file = Attachment(attachment_id="a" * 5_000, name=long, media_type=long, size_bytes=1)
    monster = Message(
        key="k" * 5_000,
        provider_id="p" * 5_000,
        internet_message_id=long,
        thread_id="t" * 5_000,
        in_reply_to=long,
        references=("<" + "r" * 5_000,) * 5_000,
        received_at=NOON,
        sender=person,
        to=(person,) * 10_000,
        cc=(person,) * 10_000,
        subject=long,
        text=long,
        full_chars=300_000,
        new_text=long,
        attachments=(file,) * 1_000,
        labels=(long,) * 1_000,
        web_link="w" * 10_000,
    )

    sendable = within_limits(monster, max_body_chars=200_000)

    assert event_to_proto(sendable).ByteSize() < LIMIT
    assert sendable.text_truncated
    assert len(sendable.text) == 200_000


def test_of_many_references_the_last_ones_stay() -> None:
    message = Message(
        key="k", provider_id="p", thread_id="t", received_at=NOON, text="", references=tuple(map(str, range(150)))
    )

    assert within_limits(message, max_body_chars=10).references == tuple(map(str, range(50, 150)))


def test_every_enum_is_covered_both_ways() -> None:
    assert {pb.FetchMode.Name(value) for value in MODES.values()} == set(pb.FetchMode.keys()) - {
        "FETCH_MODE_UNSPECIFIED"
    }
    assert {message_pb2.SourceFormat.Name(value) for value in FORMATS.values()} == set(
        message_pb2.SourceFormat.keys()
    ) - {"SOURCE_FORMAT_UNSPECIFIED"}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Started(mode=FetchMode.RESYNC, since=NOON, candidates=3), "started"),
        (ItemError(key="k", provider_id="p", reason="MESSAGE_TOO_LARGE", message="m", received_at=NOON), "item_error"),
        (Waiting(until=NOON), "throttled"),
        (Checkpoint(cursor_token="t"), "checkpoint"),
        (
            Completed(
                cursor_token="t",
                delivered=1,
                unreadable=2,
                vanished=3,
                skipped=4,
                has_more=True,
                provider_calls=5,
            ),
            "completed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_event_has_its_field(event: Any, name: str) -> None:
    converted = event_to_proto(event)

    assert converted.WhichOneof("event") == name
    sent = getattr(converted, name)
    for field in event.__slots__:
        value, there = getattr(event, field), getattr(sent, field)
        if isinstance(value, datetime):
            assert there.ToDatetime(tzinfo=UTC) == value
        elif isinstance(value, FetchMode):
            assert there == MODES[value]
        else:
            assert there == value


def test_a_filter_is_taken_as_it_came() -> None:
    wanted = message_pb2.MessageFilter(
        senders=["A@b.example"],
        recipients=["c@d.example"],
        subject_contains=["x"],
        containers=["inbox"],
        unread_only=True,
        has_attachment=True,
        include_sent=True,
        provider_query="q",
    )

    assert filter_from_proto(wanted) == MessageFilter(
        senders=("A@b.example",),
        recipients=("c@d.example",),
        subject_contains=("x",),
        containers=("inbox",),
        unread_only=True,
        has_attachment=True,
        include_sent=True,
        provider_query="q",
    )


def asked(**fields: Any) -> Any:
    request = pb.FetchMessagesRequest(connection_id="c-1", subscriber="s", **fields)
    return fetch_from_proto(request, user_id="anna", now=NOON, deadline=NOON + timedelta(hours=1))


def test_numbers_that_are_not_given_have_their_defaults_and_large_ones_are_bounded() -> None:
    assert (asked().max_messages, asked().max_body_chars) == (100, 8_000)
    assert (asked(max_messages=9_999).max_messages, asked(max_body_chars=10**9).max_body_chars) == (2_000, 200_000)
    assert asked().since is None


@pytest.mark.parametrize(
    ("seconds", "since"),
    [
        (NOON.timestamp() - 60, NOON - timedelta(minutes=1)),
        (NOON.timestamp() + 10**6, NOON),
        (-(10**9), datetime(1970, 1, 1, tzinfo=UTC)),
    ],
    ids=["as asked", "the future", "before all mail"],
)
def test_a_window_begins_in_the_past(seconds: float, since: datetime) -> None:
    assert asked(since=Timestamp(seconds=int(seconds))).since == since


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="since"):
        asked(since=Timestamp(seconds=2**62))
