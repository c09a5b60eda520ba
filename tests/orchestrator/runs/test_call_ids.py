"""The ids of tool calls."""

from __future__ import annotations

import re

from hypothesis import given, settings, strategies as st
from inline_snapshot import snapshot

from orchestrator.runs.call_ids import MAX_CHARS, call_id

PLACES = st.tuples(
    st.text(max_size=200),
    st.text(max_size=30),
    st.text(max_size=200),
    st.one_of(st.integers(0, 10_000), st.text(max_size=30)),
    st.integers(0, 10_000),
)


def test_an_id_reads_like_its_place() -> None:
    assert call_id("run-1", "processing", "g12", 3, 0) == snapshot("run-1:processing:g12:3:0")
    assert call_id("run-1", "control", "", "complete", 0) == snapshot("run-1:control::complete:0")


@settings(deadline=None)
@given(place=PLACES)
def test_an_id_is_always_one_that_a_device_takes_and_always_the_same(
    place: tuple[str, str, str, int | str, int],
) -> None:
    made = call_id(*place)

    assert re.fullmatch(r"[A-Za-z0-9._:-]+", made)
    assert len(made) <= MAX_CHARS
    assert made == call_id(*place)


@settings(deadline=None)
@given(one=PLACES, other=PLACES)
def test_two_places_never_share_an_id(
    one: tuple[str, str, str, int | str, int], other: tuple[str, str, str, int | str, int]
) -> None:
    same_place = [str(part) for part in one] == [str(part) for part in other]

    assert (call_id(*one) == call_id(*other)) == same_place


def test_a_colon_in_a_part_cannot_move_the_borders_between_the_parts() -> None:
    assert call_id("a:b", "c", "", 0, 0) != call_id("a", "b:c", "", 0, 0)
