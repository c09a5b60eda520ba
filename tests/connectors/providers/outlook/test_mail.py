"""Whatever Graph tells of a mail becomes a message, or is unreadable."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.messages.domain import JsonObject, Message, MessageFilter, Query, Ref, Unreadable
from connectors.providers.outlook.fields import ATTACHMENT, WHOLE
from connectors.providers.outlook.filters import matches
from connectors.providers.outlook.harvest import Harvest, moment
from connectors.providers.outlook.mail import MAX_PEOPLE, attachment_of, message_of
from connectors.providers.outlook.state import OutlookState

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
REF = Ref(provider_id="AAk1", received_at=NOW, container="inbox")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["emailAddress", "address", "name", "value", "content", "contentType"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(WHOLE), JSON))
def test_no_mail_is_too_strange(told: JsonObject) -> None:
    mail = {"receivedDateTime": "2026-11-02T08:00:00Z", **told}
    matches(mail, MessageFilter(senders=("@x.y",), recipients=("a@b.c",), subject_contains=("x",), unread_only=True))
    try:
        message = message_of(mail, REF, (), max_body_chars=100)
    except Unreadable:
        assert moment(mail["receivedDateTime"]) is None
    else:
        assert isinstance(message, Message)
        assert len(message.text) <= 100


@given(st.dictionaries(st.sampled_from([*ATTACHMENT, "@odata.type"]), JSON))
def test_no_attachment_is_too_strange(told: dict[str, Any]) -> None:
    attachment = attachment_of(told)

    assert attachment.name
    assert attachment.media_type
    assert attachment.size_bytes >= 0


@given(st.lists(st.dictionaries(st.sampled_from([*WHOLE, "@removed"]), JSON), max_size=5))
def test_no_page_is_too_strange(mails: list[JsonObject]) -> None:
    query = Query(filter=MessageFilter(), state=None, since=NOW, now=NOW)
    harvest = Harvest(query, carried_bytes=10_000)
    for mail in mails:
        harvest.take(mail, folder="inbox", since=NOW)

    assert all(ref.provider_id for ref in harvest.refs)


def test_a_mail_to_everybody_names_some_of_them() -> None:
    people = [{"emailAddress": {"address": f"a{number}@example.com", "name": "A"}} for number in range(1_000)]
    message = message_of(
        {"receivedDateTime": "2026-11-02T08:00:00Z", "toRecipients": people}, REF, (), max_body_chars=100
    )

    assert len(message.to) == MAX_PEOPLE


def test_a_mail_that_came_as_an_attachment_is_one() -> None:
    attachment = attachment_of(
        {
            "@odata.type": "#microsoft.graph.itemAttachment",
            "id": "x",
            "name": "Re: Offer",
            "contentType": None,
            "size": 9,
        }
    )

    assert attachment.media_type == "message/rfc822"


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-11-02T09:00:00Z", datetime(2026, 11, 2, 9, tzinfo=UTC)),
        ("2026-11-02T09:00:00.1234567Z", datetime(2026, 11, 2, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-02T10:00:00+01:00", datetime(2026, 11, 2, 9, tzinfo=UTC)),
        ("2026-11-02T09:00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_times_are_in_utc_or_none(told: object, meant: datetime | None) -> None:
    assert moment(told) == meant


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=20), max_size=3), st.integers(0, 99))
def test_a_state_survives_its_storage(links: dict[str, str], listings: int) -> None:
    state = OutlookState(since=NOW, links=links, listings=listings)

    assert OutlookState.from_json(state.to_json()) == state


@given(st.dictionaries(st.sampled_from(["version", "since", "links", "listings"]), JSON | st.just(1)))
def test_no_stored_state_is_too_strange(stored: JsonObject) -> None:
    found = OutlookState.from_json(stored)

    assert found is None or found.since.tzinfo is not None
