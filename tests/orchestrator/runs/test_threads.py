"""Which messages are processed together."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from orchestrator.runs.domain import Group, Item
from orchestrator.runs.threads import MAX_BYTES, MAX_MESSAGES, make_thread_groups


def item(number: int, thread: str = "", *, size: int = 10, tries: int = 0, at: int | None = None) -> Item:
    return Item(
        path=f"message:gmail:{number}",
        size_bytes=size,
        mtime_ns=number if at is None else at,
        thread=thread,
        tries=tries,
    )


def numbers(groups: tuple[Group, ...]) -> list[list[int]]:
    return [[int(each.path.rsplit(":", 1)[1]) for each in group.items] for group in groups]


def test_a_thread_is_a_group_and_threads_come_by_their_first_message() -> None:
    groups = make_thread_groups([item(1, "b"), item(2, "a"), item(3, "b"), item(4)])

    assert numbers(groups) == [[1, 3], [2], [4]]
    assert [group.group_id for group in groups] == ["g1", "g2", "g3"]
    assert [group.title for group in groups] == ["Conversation 1", "Conversation 2", "Conversation 3"]
    assert {group.project_id for group in groups} == {""}


def test_a_thread_is_in_the_order_of_time() -> None:
    assert numbers(make_thread_groups([item(1, "t", at=5), item(2, "t", at=3), item(3, "t", at=3)])) == [[2, 3, 1]]


def test_messages_without_a_thread_stand_alone() -> None:
    assert numbers(make_thread_groups([item(1), item(2)])) == [[1], [2]]


def test_a_thread_that_is_too_large_is_split_and_keeps_its_title() -> None:
    many = make_thread_groups([item(number, "t") for number in range(MAX_MESSAGES + 1)])
    large = make_thread_groups([item(1, "t", size=MAX_BYTES), item(2, "t", size=1), item(3, "t", size=MAX_BYTES * 2)])

    assert [len(group.items) for group in many] == [MAX_MESSAGES, 1]
    assert numbers(large) == [[1], [2], [3]]
    assert {group.title for group in (*many, *large)} == {"Conversation 1"}


def test_what_was_tried_before_comes_last_and_alone() -> None:
    groups = make_thread_groups(
        [item(1, "t", tries=1), item(2, "t", tries=2), item(3, "t"), item(4, "t"), item(5, "u", tries=1), item(6, "u")]
    )

    assert numbers(groups) == [[3, 4], [6], [1], [2], [5]]


items = st.lists(
    st.builds(
        item,
        st.integers(0, 10_000),
        st.sampled_from(["", "a", "b", "c"]),
        size=st.integers(0, 2 * MAX_BYTES),
        tries=st.integers(0, 2),
    ),
    max_size=80,
    unique_by=lambda each: each.path,
)


@settings(deadline=None)
@given(messages=items)
def test_every_message_is_in_one_group_of_one_thread_within_the_limits(messages: list[Item]) -> None:
    groups = make_thread_groups(messages)

    assert sorted(each.path for group in groups for each in group.items) == sorted(each.path for each in messages)
    assert [group.group_id for group in groups] == [f"g{number}" for number in range(1, len(groups) + 1)]
    for group in groups:
        assert len({each.thread or each.path for each in group.items}) == 1
        assert len(group.items) <= MAX_MESSAGES
        assert len(group.items) == 1 or sum(each.size_bytes for each in group.items) <= MAX_BYTES
        assert len(group.items) == 1 or not any(each.tries for each in group.items)
    assert make_thread_groups(messages) == groups
