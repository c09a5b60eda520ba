from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from orchestrator.paging import MAX_PAGE_BYTES, decode_token, encode_token, fitting, page_size

KEY = (datetime(2026, 3, 29, 1, 2, 3, 456_789, tzinfo=UTC), "3f0c8f6e-1111-4222-8333-444455556666")

times = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)
printable = st.text(st.characters(categories=["L", "N"]), max_size=40)


@given(times, printable)
def test_a_key_survives_its_token(time: datetime, row_id: str) -> None:
    token = encode_token("runs", "anna|", (time, row_id))

    assert decode_token("runs", "anna|", token) == (time, row_id)


@pytest.mark.parametrize(("kind", "query"), [("agents", "anna|"), ("runs", "berta|"), ("runs", "anna|QUEUED")])
def test_a_token_of_another_query_is_refused(kind: str, query: str) -> None:
    token = encode_token("runs", "anna|", KEY)

    with pytest.raises(InvalidArgument) as refused:
        decode_token(kind, query, token)

    assert refused.value.field == "page_token"


def test_a_token_does_not_show_its_query() -> None:
    token = encode_token("runs", "anna@example.org|", KEY)

    assert b"anna" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        decode_token("runs", "anna|", token)


@pytest.mark.parametrize(
    "change",
    [
        {1: -1},
        {1: 10**18},
        {1: "0"},
        {1: 1.5},
        {2: "a\0b"},
        {2: "\ud800"},
        {2: 7},
        {0: None},
    ],
    ids=str,
)
def test_a_token_that_was_tampered_with_is_refused_before_it_reaches_a_database(change: dict[int, object]) -> None:
    token = encode_token("runs", "anna|", KEY)
    parts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for index, value in change.items():
        parts[index] = value
    forged = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()

    with pytest.raises(InvalidArgument):
        decode_token("runs", "anna|", forged)


def test_a_deeply_nested_token_is_refused() -> None:
    forged = base64.urlsafe_b64encode(b"[" * 300).decode()

    with pytest.raises(InvalidArgument):
        decode_token("runs", "anna|", forged)


@pytest.mark.parametrize(("asked", "given_rows"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_a_page_has_a_default_and_a_largest_size(asked: int, given_rows: int) -> None:
    assert page_size(asked) == given_rows


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        page_size(-1)

    assert refused.value.field == "page_size"


@pytest.mark.parametrize(
    ("sizes", "fit"),
    [
        ([], 0),
        ([10, 10], 2),
        ([MAX_PAGE_BYTES, 1], 1),
        ([MAX_PAGE_BYTES * 2, 1], 1),
        ([1, MAX_PAGE_BYTES - 1], 2),
        ([1, MAX_PAGE_BYTES], 1),
    ],
)
def test_a_page_stays_below_the_size_of_a_message(sizes: list[int], fit: int) -> None:
    assert fitting(sizes) == fit
