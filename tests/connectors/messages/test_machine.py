"""Whatever arrives, breaks and is forgotten, in any order: each message comes, and none comes again once committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from adiuva_rpc import failpoints
from adiuva_rpc.failpoints import FailpointError, Failpoints
from connectors.errors import CursorInvalid, ProviderUnavailable, StaleFetch
from connectors.messages.domain import Message, MessageFilter, Unreadable
from connectors.messages.events import Checkpoint, Completed, Event, ItemError
from tests.connectors.messages.lab import Lab, Stopped

EVERYTHING = MessageFilter()
INBOX = MessageFilter(containers=("inbox",))
FILTERS = st.sampled_from([EVERYTHING, INBOX])
POINTS = st.sampled_from(
    [
        "connectors.before_round_stored",
        "connectors.after_round_stored",
        "connectors.before_delivery",
        "connectors.before_commit",
        "connectors.after_commit",
    ]
)
INDEX = st.integers(0, 1_000)


@dataclass(frozen=True)
class Place:
    """A token, with the keys before it."""

    token: str
    keys: frozenset[str]
    fetch: int


@dataclass
class Got:
    """What a caller got by a fetch, until it or the provider broke off."""

    keys: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    completed: Completed | None = None


class Subscriber(RuleBasedStateMachine):
    """A caller that stores what it gets and remembers the keys, at a mailbox that is never the same for long."""

    @initialize()
    def link(self) -> None:
        self.runner = asyncio.Runner()
        self.lab: Lab = self.run(Lab.linked())
        self.fake = self.lab.fake
        self.stored: set[str] = set()
        """The keys of what the caller has stored."""
        self.committed: set[str] = set()
        self.places: list[Place] = []
        self.fetches = 0
        self.numbers = 0

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.settle()
            finally:
                self.runner.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    # --- the mailbox

    @rule(count=st.integers(1, 5), container=st.sampled_from(["inbox", "archive"]), seconds_ago=st.integers(0, 2))
    def receive(self, count: int, container: str, seconds_ago: int) -> None:
        for _ in range(count):
            self.numbers += 1
            provider_id = f"m{self.numbers * 7_919 % 10_007:05d}"
            self.lab.mail(
                provider_id, container=container, ago=timedelta(seconds=seconds_ago), alias=f"<{provider_id}>"
            )

    @rule(seconds=st.sampled_from([1, 60, 7_200]))
    def time_passes(self, seconds: int) -> None:
        self.lab.clock.advance(timedelta(seconds=seconds))

    @precondition(lambda self: self.present())
    @rule(which=INDEX)
    def edit(self, which: int) -> None:
        mail = self.present()[which % len(self.present())]
        self.lab.mail(
            mail.provider_id, container=mail.container, ago=timedelta(0), version=f"{mail.version}e", alias=mail.alias
        )

    @precondition(lambda self: self.present())
    @rule(which=INDEX, container=st.sampled_from(["inbox", "archive"]))
    def move(self, which: int, container: str) -> None:
        mail = self.present()[which % len(self.present())]
        self.numbers += 1
        new_id = f"n{self.numbers * 7_919 % 10_007:05d}"
        self.fake.move(mail.provider_id, new_id=new_id, container=container)

    @precondition(lambda self: self.present())
    @rule(which=INDEX)
    def copy(self, which: int) -> None:
        mail = self.present()[which % len(self.present())]
        self.numbers += 1
        new_id = f"n{self.numbers * 7_919 % 10_007:05d}"
        self.fake.receive(replace(mail, provider_id=new_id))

    @precondition(lambda self: self.present())
    @rule(which=INDEX)
    def delete(self, which: int) -> None:
        self.fake.vanished.add(self.present()[which % len(self.present())].provider_id)

    @rule()
    def forget(self) -> None:
        self.fake.forget()

    @rule()
    def one_arrives_during_the_next_listing(self) -> None:
        def arrive() -> None:
            self.fake.during_listing = None
            self.receive(1, "inbox", 0)

        self.fake.during_listing = arrive

    @precondition(lambda self: self.present())
    @rule(which=INDEX, fault=st.sampled_from([ProviderUnavailable(), Unreadable("broken"), KeyError("body")]))
    def break_a_message_once(self, which: int, fault: Exception) -> None:
        self.fake.scripts[self.present()[which % len(self.present())].provider_id].append(fault)

    @rule()
    def break_a_listing(self) -> None:
        self.fake.listing_script.append(ProviderUnavailable())

    @rule()
    def lose_the_data_key(self) -> None:
        self.run(self.lab.connections.rekey("c-1"))

    def present(self) -> list[Any]:
        return [mail for mail in self.fake.mails if mail.provider_id not in self.fake.vanished]

    # --- the caller

    @rule(wanted=FILTERS, most=st.integers(1, 12))
    def fetch_and_commit(self, wanted: MessageFilter, most: int) -> None:
        got = self.fetch(wanted, most)
        self.store(got)
        self.commit_last(got)

    @rule(wanted=FILTERS, most=st.integers(1, 60), after=st.integers(0, 30), commits=st.booleans())
    def fetch_and_leave(self, wanted: MessageFilter, most: int, after: int, commits: bool) -> None:
        got = self.fetch(wanted, most, leave_after=after)
        self.store(got)
        if commits:
            self.commit_last(got)

    @rule(wanted=FILTERS, point=POINTS, hit=st.integers(1, 6))
    def the_service_breaks(self, wanted: MessageFilter, point: str, hit: int) -> None:
        failpoints._ACTIVE = Failpoints(f"{point}=raise@{hit}")
        try:
            got = self.fetch(wanted, 12)
            self.store(got)
            self.commit_last(got)
        finally:
            failpoints._ACTIVE = Failpoints("")

    @precondition(lambda self: self.places)
    @rule(which=INDEX)
    def commit_some_place(self, which: int) -> None:
        self.commit(self.places[which % len(self.places)])

    @precondition(lambda self: self.places)
    @rule(which=INDEX, wanted=FILTERS)
    def fetch_from_some_place(self, which: int, wanted: MessageFilter) -> None:
        token = self.places[which % len(self.places)].token
        # Whoever goes back gets again what came after that place.
        before, self.committed = self.committed, set()
        try:
            self.store(self.fetch(wanted, 12, cursor_token=token))
        except CursorInvalid:
            self.committed = before

    @rule(days=st.integers(0, 3))
    def fetch_since(self, days: int) -> None:
        # Far enough back that nothing is passed over on purpose.
        since = self.lab.clock.now() - timedelta(days=6 + days)
        got = self.fetch(EVERYTHING, 12, since=since)
        self.store(got)
        self.commit_last(got)

    @rule()
    def the_operator_asks_for_another_try(self) -> None:
        page = self.run(self.lab.desk.page(user_id=None, connection_id="", limit=1_000, after=None))
        if page:
            self.run(self.lab.desk.request_retry([one.quarantine_id for one in page], user_id=None))

    # --- how it does that

    def fetch(self, wanted: MessageFilter, most: int, *, leave_after: int | None = None, **start: Any) -> Got:
        got = Got()
        self.fetches += 1
        times: list[Any] = []
        events = 0

        async def take(event: Event) -> None:
            nonlocal events
            if leave_after is not None and events >= leave_after:
                raise Stopped
            events += 1
            if isinstance(event, Message):
                assert self.name(event.key) not in set(map(self.name, self.committed)), "it was committed"
                assert self.name(event.key) not in set(map(self.name, got.keys)), "it comes twice in one fetch"
                got.keys.append(event.key)
            if isinstance(event, Message | ItemError):
                times.append((event.received_at, event.provider_id))
            if isinstance(event, Checkpoint | Completed):
                got.places.append(Place(event.cursor_token, frozenset(got.keys), self.fetches))
            if isinstance(event, Completed):
                got.completed = event

        request = self.lab.request(filter=wanted, max_messages=most, **start)
        with contextlib.suppress(Stopped, FailpointError, ProviderUnavailable):
            self.run(self.lab.fetches.fetch(request, take))
        assert times == sorted(times), "oldest first"
        return got

    def store(self, got: Got) -> None:
        self.stored.update(got.keys)
        self.places.extend(got.places)

    def commit_last(self, got: Got) -> None:
        if got.places:
            self.commit(got.places[-1])

    def commit(self, place: Place) -> None:
        try:
            self.run(self.lab.commit(place.token))
        except (StaleFetch, CursorInvalid, FailpointError):
            return
        # An older fetch's place is taken only where the cursor is past it already, by what a newer one has seen of it.
        if place.fetch == self.fetches:
            self.committed |= place.keys

    def settle(self) -> None:
        """When everything works again, whatever is there has come, or is asked for once more and comes."""
        self.fake.scripts.clear()
        self.fake.listing_script.clear()
        self.fake.during_listing = None
        failpoints._ACTIVE = Failpoints("")
        empty = 0
        for _ in range(200):
            self.the_operator_asks_for_another_try()
            got = self.fetch(EVERYTHING, 50)
            self.store(got)
            self.commit_last(got)
            assert got.completed is not None
            # Once for the round that may have been under way, once for a listing after it.
            empty = 0 if got.keys or got.completed.has_more or self.run(self.lab.quarantined()) else empty + 1
            if empty == 2:
                break
        else:
            raise AssertionError("it never comes to an end")
        stored = {self.name(key) for key in self.stored}
        missing = [mail for mail in self.present() if self.name(_key(mail)) not in stored]
        assert not missing

    def name(self, key: str) -> tuple[Any, ...]:
        """What a message is known by whatever its id, which changes when it is moved or copied."""
        mail = next(mail for mail in self.fake.log if _key(mail) == key)
        return mail.alias, mail.version, mail.received_at


def _key(mail: Any) -> str:
    return f"{mail.provider_id}@{mail.version}" if mail.version else str(mail.provider_id)


def test_every_message_comes_and_none_that_was_committed_comes_again() -> None:
    run_state_machine_as_test(
        Subscriber,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_message_comes_also_in_many_more_lives() -> None:
    run_state_machine_as_test(
        Subscriber,
        settings=settings(
            max_examples=250,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
