"""Page tokens: bound to their query, and nothing else is one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from connectors.paging import MAX_PAGE_BYTES, MAX_PAGE_SIZE, decode_token, encode_token, fitting, page_size

moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - zone added
ids = st.text(min_size=1, max_size=40).filter(str.isprintable)


@given(moments, ids)
def test_a_key_survives_its_token(moment: datetime, row_id: str) -> None:
    token = encode_token("connections", "anna", (moment, row_id))

    assert decode_token("connections", "anna", token) == (moment, row_id)


def test_no_token_is_the_first_page() -> None:
    assert decode_token("connections", "anna", "") is None


@pytest.mark.parametrize(("kind", "query"), [("audit", "anna"), ("connections", "ben"), ("connections", "anna\0True")])
def test_a_token_of_another_query_is_refused(kind: str, query: str) -> None:
    token = encode_token("connections", "anna", (datetime(2026, 1, 1, tzinfo=UTC), "c"))

    with pytest.raises(InvalidArgument) as refused:
        decode_token(kind, query, token)
    assert refused.value.field == "page_token"


@given(st.text(max_size=600).filter(bool))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        decode_token("connections", "anna", text)


def test_pages_have_a_size_within_bounds() -> None:
    assert [page_size(asked) for asked in (0, 1, 1000, 5000)] == [50, 1, 1000, MAX_PAGE_SIZE]
    with pytest.raises(InvalidArgument):
        page_size(-1)


def test_a_page_holds_what_fits_into_a_message_and_one_row_at_least() -> None:
    assert fitting([]) == 0
    assert fitting([10, 10]) == 2
    assert fitting([MAX_PAGE_BYTES + 1, 10]) == 1
    assert fitting([MAX_PAGE_BYTES, 1, 1]) == 1
