"""Tokens of pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from device_bridge.server.devices.paging import cursor_of, page_size_of, token_of
from device_bridge.server.devices.ports import DeviceCursor
from device_bridge.server.errors import PageTokenInvalid

CURSOR = DeviceCursor(datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC), "d-1")


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    st.text(alphabet="abc-0123", min_size=1),
)
def test_a_cursor_survives_its_token(moment: datetime, device_id: str) -> None:
    cursor = DeviceCursor(moment, device_id)

    assert cursor_of(token_of(cursor, query="q"), query="q") == cursor


def test_the_zone_of_a_moment_does_not_matter() -> None:
    elsewhere = DeviceCursor(CURSOR.enrolled_at.astimezone(timezone(timedelta(hours=5))), CURSOR.device_id)

    assert token_of(elsewhere, query="q") == token_of(CURSOR, query="q")


def test_an_empty_token_means_the_first_page() -> None:
    assert cursor_of("", query="q") is None


def test_a_token_of_another_query_is_refused() -> None:
    with pytest.raises(PageTokenInvalid):
        cursor_of(token_of(CURSOR, query="q"), query="other")


@given(st.text(min_size=1))
def test_no_text_makes_it_crash(text: str) -> None:
    with pytest.raises(PageTokenInvalid):
        cursor_of(text, query="q")


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (10**9, 1000)])
def test_a_page_is_neither_empty_nor_endless(asked: int, given_: int) -> None:
    assert page_size_of(asked) == given_


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        page_size_of(-1)
