"""Filters: well formed, in normal form, and told apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.errors import FilterInvalid
from connectors.messages.domain import MessageFilter
from connectors.messages.filters import fingerprint, normal

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20).filter(
    lambda word: bool(word.strip())
)
addresses = st.sampled_from(["Anna@Example.org", "anna@example.org", "@example.org", "@EXAMPLE.org", "b@c.example"])
filters = st.builds(
    MessageFilter,
    senders=st.lists(addresses, max_size=4).map(tuple),
    recipients=st.lists(addresses, max_size=4).map(tuple),
    subject_contains=st.lists(words, max_size=4).map(tuple),
    containers=st.lists(words, max_size=4).map(tuple),
    unread_only=st.booleans(),
    has_attachment=st.booleans(),
    include_sent=st.booleans(),
    provider_query=words | st.just(""),
)


@given(filters)
def test_the_normal_form_is_its_own_normal_form(wanted: MessageFilter) -> None:
    assert normal(normal(wanted)) == normal(wanted)


@given(filters, st.randoms(use_true_random=False))
def test_order_and_repeats_make_no_other_filter(wanted: MessageFilter, random: Any) -> None:
    mixed = {name: [*getattr(wanted, name), *getattr(wanted, name)] for name in ("senders", "containers")}
    for values in mixed.values():
        random.shuffle(values)
    other = MessageFilter(
        senders=tuple(f" {one.upper()} " for one in mixed["senders"]),
        recipients=wanted.recipients,
        subject_contains=tuple(reversed(wanted.subject_contains)),
        containers=tuple(mixed["containers"]),
        unread_only=wanted.unread_only,
        has_attachment=wanted.has_attachment,
        include_sent=wanted.include_sent,
        provider_query=wanted.provider_query,
    )

    assert fingerprint(normal(other)) == fingerprint(normal(wanted))


@pytest.mark.parametrize(
    "other",
    [
        MessageFilter(senders=("a@b.example",)),
        MessageFilter(recipients=("a@b.example",)),
        MessageFilter(containers=("INBOX",)),
        MessageFilter(containers=("inbox",)),
        MessageFilter(subject_contains=("inbox",)),
        MessageFilter(unread_only=True),
        MessageFilter(has_attachment=True),
        MessageFilter(include_sent=True),
        MessageFilter(provider_query="inbox"),
    ],
    ids=str,
)
def test_filters_that_mean_something_else_are_others(other: MessageFilter) -> None:
    assert fingerprint(normal(other)) != fingerprint(normal(MessageFilter()))


def test_containers_differ_by_case_and_subjects_do_not() -> None:
    assert fingerprint(MessageFilter(containers=("AQMk",))) != fingerprint(MessageFilter(containers=("aqmk",)))
    assert fingerprint(MessageFilter(subject_contains=("Offer",))) == fingerprint(
        MessageFilter(subject_contains=("OFFER",))
    )
    assert normal(MessageFilter(subject_contains=("Straße", "STRASSE"))).subject_contains == ("STRASSE",)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (MessageFilter(senders=("nobody",)), "filter.senders"),
        (MessageFilter(senders=("a@b@c",)), "filter.senders"),
        (MessageFilter(senders=('a"@b.example',)), "filter.senders"),
        (MessageFilter(senders=("a b@c.example",)), "filter.senders"),
        (MessageFilter(recipients=("",)), "filter.recipients"),
        (MessageFilter(recipients=("@",)), "filter.recipients"),
        (MessageFilter(subject_contains=("two\nlines",)), "filter.subject_contains"),
        (MessageFilter(subject_contains=("a\0b",)), "filter.subject_contains"),
        (MessageFilter(containers=("  ",)), "filter.containers"),
        (MessageFilter(containers=("x" * 513,)), "filter.containers"),
        (MessageFilter(containers=tuple(map(str, range(101)))), "filter.containers"),
        (MessageFilter(provider_query="x" * 1_001), "filter.provider_query"),
        (MessageFilter(provider_query="a\u2028b"), "filter.provider_query"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_filter_that_is_not_well_formed_is_refused(wanted: MessageFilter, field: str) -> None:
    with pytest.raises(FilterInvalid) as refused:
        normal(wanted)

    assert refused.value.field == field
