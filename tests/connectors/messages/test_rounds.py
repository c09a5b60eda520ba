"""Rounds: what a listing is made into, and what is remembered of it."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.errors import WindowTooLarge
from connectors.messages.domain import FetchMode, Ref
from connectors.messages.rounds import (
    MAX_REFS,
    Round,
    alias_digest,
    decode,
    digests,
    encode,
    in_order,
    key_digest,
    merged,
    sound,
    twins,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - strategies want them so
refs = st.builds(Ref, provider_id=ids, received_at=times, container=ids, version=ids, alias=ids)
rounds = st.builds(
    Round,
    round_id=ids,
    mode=st.sampled_from(FetchMode),
    since=st.none() | times,
    listed_at=times,
    refs=st.lists(refs, max_size=20).map(tuple),
    state=st.dictionaries(ids, ids | st.integers() | st.lists(ids)),
)


def ref(provider_id: str, *, at: datetime = NOON, **fields: Any) -> Ref:
    return Ref(provider_id=provider_id, received_at=at, **fields)


@given(rounds)
def test_a_round_survives_being_stored(made: Round) -> None:
    assert decode(encode(made)) == made


def test_a_round_of_another_version_is_refused() -> None:
    other = zlib.compress(json.dumps([[2, "r", "window", None, 0], {}, []]).encode())

    with pytest.raises(ValueError, match="another format"):
        decode(other)


def test_what_a_listing_has_read_is_not_stored() -> None:
    made = Round(
        round_id="r",
        mode=FetchMode.WINDOW,
        since=NOON,
        listed_at=NOON,
        refs=(ref("m", carried={"text": "a secret"}),),
        state={},
    )

    assert decode(encode(made)).refs[0].carried is None


def test_fifty_thousand_messages_are_stored_in_a_few_megabytes() -> None:
    many = tuple(ref(f"AAMkAGI2{number:090d}", alias=f"<{number:020d}@mail.example.org>") for number in range(MAX_REFS))
    made = Round(round_id="r", mode=FetchMode.WINDOW, since=NOON, listed_at=NOON, refs=many, state={})

    assert len(encode(made)) < 4 << 20


@given(st.lists(refs))
def test_the_order_does_not_depend_on_the_listing(listed: list[Ref]) -> None:
    assert in_order(listed) == in_order(reversed(listed)) or len({one.key for one in listed}) < len(listed)


def test_a_message_without_a_time_counts_as_just_come_in() -> None:
    nothing: Any = None

    (kept,) = sound([ref("m", at=nothing)], listed_at=NOON)

    assert kept.received_at == NOON


@pytest.mark.parametrize(
    ("given_time", "kept_time"),
    [
        (datetime(2026, 11, 22, 10), datetime(2026, 11, 22, 10, tzinfo=UTC)),  # noqa: DTZ001 - that is the point
        (datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 11, 22, 8, tzinfo=UTC)),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), NOON),
    ],
    ids=["naive", "elsewhere", "before time"],
)
def test_times_are_made_utc(given_time: datetime, kept_time: datetime) -> None:
    (kept,) = sound([ref("m", at=given_time)], listed_at=NOON)

    assert kept.received_at == kept_time


@pytest.mark.parametrize(
    "bad",
    [ref(""), ref("a\0b"), ref("a\ud800"), ref("x" * 2_049), ref("m", container="\0"), ref("m", alias="\0")],
    ids=repr,
)
def test_what_names_no_message_is_left_out(bad: Ref) -> None:
    assert sound([bad, ref("good")], listed_at=NOON) == [ref("good")]


def test_a_message_is_in_a_round_once() -> None:
    listed = [ref("m"), ref("m", at=NOON - timedelta(hours=1)), ref("m", version="2")]

    assert [one.key for one in sound(listed, listed_at=NOON)] == ["m", "m@2"]


def test_more_than_fifty_thousand_are_too_many() -> None:
    with pytest.raises(WindowTooLarge):
        sound([ref("m")] * (MAX_REFS + 1), listed_at=NOON)


def test_what_a_listing_carries_is_kept_for_its_own_fetch() -> None:
    carried = object()

    (kept,) = sound([ref("m", carried=carried)], listed_at=NOON)

    assert kept.carried is carried


def test_merging_keeps_the_first_of_two() -> None:
    newer = ref("m", container="inbox")

    both = merged([newer], [ref("m", container="archive"), ref("a", at=NOON - timedelta(1))])

    assert [(one.provider_id, one.container) for one in both] == [("a", ""), ("m", "inbox")]


@given(st.lists(refs, unique_by=lambda one: (one.provider_id, one.version)))
def test_no_two_messages_are_remembered_as_one(listed: list[Ref]) -> None:
    assert len({key_digest(one) for one in listed}) == len(listed)


def test_an_id_is_no_alias() -> None:
    one = ref("<1@example.org>", alias="<1@example.org>")

    assert len(set(digests(one))) == 2
    assert key_digest(one) != alias_digest(one)


def test_an_alias_is_that_of_a_version_and_a_second() -> None:
    one = ref("m", alias="<1>")

    assert alias_digest(one) == alias_digest(ref("other", alias="<1>", at=NOON + timedelta(milliseconds=500)))
    assert alias_digest(one) != alias_digest(ref("m", alias="<1>", version="2"))
    assert alias_digest(one) != alias_digest(ref("m", alias="<1>", at=NOON + timedelta(seconds=1)))
    assert alias_digest(ref("m")) is None


def test_twins_are_those_of_one_alias_version_and_second() -> None:
    one, other = ref("a", alias="<1>"), ref("b", alias="<1>")

    assert twins([one, other, ref("c", alias="<2>"), ref("d")]) == {alias_digest(one)}
    assert twins([one, ref("a", alias="<1>", version="2")]) == set()
