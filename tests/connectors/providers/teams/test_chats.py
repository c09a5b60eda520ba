"""What is new in chats."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from connectors.errors import ConnectionBlocked
from connectors.messages.domain import Message, MessageFilter, Vanished
from connectors.providers.port import Account
from connectors.providers.teams.chats import Reached
from connectors.providers.teams.config import MAX_CHATS, TeamsConfig
from tests.conformance.connectors.provider_lab import Subscriber, held, session, stored
from tests.connectors.providers.support import FakeTokens
from tests.connectors.providers.teams.lab import LEO, MIA, ZOE, TeamsLab, teams_lab
from tests.emulator.microsoft.graph import RetryAfter
from tests.emulator.microsoft.people import CONSUMERS

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MESSAGES = r"/chats/.+/messages$"
OF_CHATS = ("Chat.Read", "Chat.ReadWrite", "Chat.ReadBasic")


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


async def begun(lab: TeamsLab, **wishes: Any) -> Subscriber:
    """Return a subscriber that has had its first fetch."""
    subscriber = Subscriber(lab, **wishes)
    await subscriber.fetch()
    lab.core.clock.advance(MINUTE)
    return subscriber


async def test_an_edit_has_a_key_of_its_own(lab: TeamsLab) -> None:
    posted = lab.post("At nine.")
    subscriber = Subscriber(lab)
    (first,) = await subscriber.fetch()
    lab.core.clock.advance(MINUTE)
    lab.teams.edit(posted, "At ten.")

    (second,) = await subscriber.fetch()

    assert second.key == f"{first.key}@{lab.core.now().isoformat(timespec='milliseconds')}"
    assert (second.provider_id, second.text, second.edited_at) == (first.provider_id, "At ten.", lab.core.now())
    assert (second.received_at, first.edited_at) == (first.received_at, None)
    assert await subscriber.fetch() == []


async def test_an_edit_in_a_quiet_chat_is_noticed_when_something_is_said_in_it(lab: TeamsLab) -> None:
    quiet = lab.teams.add_chat(MIA, ZOE).chat_id
    posted = lab.post("old wording", where=quiet)
    lab.core.clock.advance(HOUR)
    lab.post("here")
    subscriber = await begun(lab)
    lab.core.clock.advance(HOUR)
    lab.post("elsewhere")
    lab.teams.edit(posted, "new wording")
    assert texts(await subscriber.fetch()) == ["elsewhere"]
    lab.core.clock.advance(HOUR)
    lab.post("at last", where=quiet)

    assert texts(await subscriber.fetch()) == ["new wording", "at last"]


async def test_a_chat_that_was_quiet_for_long_brings_nothing_again(lab: TeamsLab) -> None:
    elsewhere = lab.teams.add_chat(MIA, ZOE).chat_id
    lab.post("long ago")
    subscriber = await begun(lab)
    for _ in range(3):
        lab.core.clock.advance(20 * DAY)
        lab.post("elsewhere", where=elsewhere)
        assert texts(await subscriber.fetch()) == ["elsewhere"]
    lab.post("at last")

    assert texts(await subscriber.fetch()) == ["at last"]


async def test_what_was_edited_before_it_was_ever_listed_comes_once(lab: TeamsLab) -> None:
    posted = lab.post("first wording")
    lab.core.clock.advance(MINUTE)
    lab.teams.edit(posted, "second wording")
    subscriber = Subscriber(lab)

    assert texts(await subscriber.fetch()) == ["second wording"]
    assert await subscriber.fetch() == []


async def test_a_wording_that_is_gone_when_it_is_read_has_vanished_and_the_new_one_comes(lab: TeamsLab) -> None:
    posted = lab.post("first wording")
    subscriber = Subscriber(lab)
    (ref,) = await subscriber.list_new()
    lab.core.clock.advance(MINUTE)
    lab.teams.edit(posted, "second wording")

    with pytest.raises(Vanished):
        await lab.provider.read(session(lab), stored(ref), lab.wanted, max_body_chars=100)
    assert texts(await subscriber.fetch()) == ["second wording"]


@pytest.mark.parametrize("age", [timedelta(0), DAY - MINUTE, 3 * DAY])
async def test_reactions_bring_nothing(lab: TeamsLab, age: timedelta) -> None:
    posted = lab.post("Cake?", at=lab.core.now() - age)
    subscriber = await begun(lab)
    for address in (MIA, ZOE):
        lab.teams.react(posted, address)
        lab.core.clock.advance(MINUTE)

        assert await subscriber.fetch() == []
        assert await Subscriber(lab, since=lab.core.now() - MINUTE).fetch() == []


async def test_what_nobody_says_is_left_out(lab: TeamsLab) -> None:
    gone = lab.post("a secret")
    lab.post("", sender="")
    lab.post("hello")
    lab.teams.delete(gone)
    subscriber = Subscriber(lab)

    listing = await lab.provider.list_new(session(lab), subscriber.query())

    assert [ref.provider_id for ref in listing.refs] == [
        f"{lab.container}/{lab.teams.chats[lab.where].messages[-1].message_id}"
    ]
    assert listing.left_out == 2


async def test_a_message_that_is_deleted_after_it_was_delivered_brings_nothing(lab: TeamsLab) -> None:
    posted = lab.post("a secret")
    subscriber = await begun(lab)
    lab.teams.delete(posted)

    assert await subscriber.fetch() == []


async def test_a_filter_that_teams_does_not_keep_to_is_kept_to_here(lab: TeamsLab) -> None:
    lab.teams.leaky_filter = True
    for hours in (50, 30, 20, 10):
        lab.post(f"{hours} hours ago", at=lab.core.now() - hours * HOUR)
    subscriber = Subscriber(lab)

    assert texts(await subscriber.fetch()) == ["20 hours ago", "10 hours ago"]
    lab.core.clock.advance(MINUTE)
    lab.post("now")
    assert texts(await subscriber.fetch()) == ["now"]


async def test_messages_are_sorted_by_what_they_are_filtered_by(lab: TeamsLab) -> None:
    lab.post("hello", at=lab.core.now() - HOUR)

    await Subscriber(lab).fetch()

    (call,) = lab.core.counters.matching(MESSAGES)
    assert parse_qs(call.query) == {
        "$orderby": ["lastModifiedDateTime desc"],
        "$filter": [f"lastModifiedDateTime gt {(lab.core.now() - DAY - SECOND):%Y-%m-%dT%H:%M:%S.999Z}"],
        "$top": ["50"],
    }


async def test_what_the_user_wrote_comes_only_when_asked_for(lab: TeamsLab) -> None:
    lab.post("a question", at=lab.core.now() - MINUTE)
    lab.post("an answer", sender=MIA)

    assert texts(await Subscriber(lab).fetch()) == ["a question"]
    assert texts(await Subscriber(lab, wanted=MessageFilter(include_sent=True)).fetch()) == ["a question", "an answer"]


async def test_messages_of_two_chats_with_the_same_id_are_two_messages(lab: TeamsLab) -> None:
    other = lab.teams.add_chat(MIA, ZOE).chat_id
    ids = {lab.post(f"in {where}", where=where).message_id for where in (lab.where, other)}
    subscriber = Subscriber(lab)

    messages = await subscriber.fetch()

    assert len(ids) == 1
    assert sorted(texts(messages)) == sorted([f"in {lab.where}", f"in {other}"])
    assert {message.thread_id for message in messages} == {f"chat:{lab.where}", f"chat:{other}"}
    assert [message.labels for message in messages] == [(message.thread_id,) for message in messages]


async def test_only_chats_where_something_was_said_are_looked_into() -> None:
    async with teams_lab(config=TeamsConfig(page_size=10)) as lab:
        chats = [lab.teams.add_chat(MIA, ZOE, topic=f"{number}").chat_id for number in range(60)]
        for number, chat in enumerate(chats):
            lab.post("old", where=chat, at=lab.core.now() - (number + 1) * HOUR / 10)
        subscriber = await begun(lab)
        lab.core.clock.advance(HOUR)
        for chat in chats[30:33]:
            lab.post("new", where=chat)
        lab.core.counters.reset()

        assert texts(await subscriber.fetch()) == ["new"] * 3
        assert (lab.core.counters.count("/me/chats$"), lab.core.counters.count(MESSAGES)) == (1, 4)


async def test_what_is_said_in_a_chat_after_it_was_read_is_not_lost_to_what_is_said_in_another(lab: TeamsLab) -> None:
    other = lab.teams.add_chat(MIA, ZOE).chat_id
    lab.post("first", where=other, at=lab.core.now() - HOUR)
    lab.post("first", at=lab.core.now() - MINUTE)
    subscriber = Subscriber(lab)
    listed = []

    async def work() -> None:
        listed.extend(await subscriber.list_new())

    async with held(lab, work, skip=2) as is_held:
        # The list of chats and the one chat have been read, and the other chat is about to be.
        assert is_held
        lab.core.clock.advance(10 * MINUTE)
        lab.post("second")
        lab.core.clock.advance(10 * MINUTE)
        lab.post("second", where=other)

    assert len(listed) == 3
    assert texts(await subscriber.fetch()) == ["second"]
    assert await subscriber.fetch() == []


async def test_a_chat_that_comes_to_the_front_during_the_walk_is_read_by_the_next_one() -> None:
    async with teams_lab(config=TeamsConfig(page_size=2)) as lab:
        chats = [lab.teams.add_chat(MIA, ZOE, topic=f"{number}").chat_id for number in range(6)]
        for number, chat in enumerate(chats):
            lab.post(f"{number}", where=chat, at=lab.core.now() - (number + 1) * HOUR)
        subscriber = Subscriber(lab)
        listed = []

        async def work() -> None:
            listed.extend(await subscriber.list_new())

        async with held(lab, work, skip=1):
            lab.post("new", where=chats[5])
        missed = await subscriber.fetch()

        assert len(listed) == 5
        assert texts(missed) == ["5", "new"]


async def test_of_a_chat_that_the_user_joins_only_what_was_said_since_the_last_listing_but_one_is_new(
    lab: TeamsLab,
) -> None:
    chat = lab.teams.add_chat(LEO, ZOE)
    subscriber = await begun(lab)
    for number in range(4):
        lab.core.clock.advance(DAY)
        lab.post(f"day {number}")
        lab.post(f"theirs {number}", where=chat.chat_id, at=lab.core.now() - HOUR)
        assert texts(await subscriber.fetch()) == [f"day {number}"]
    lab.core.clock.advance(HOUR)
    lab.teams.chats[chat.chat_id].members = (*chat.members, lab.teams.person(MIA))
    lab.post("Welcome!", where=chat.chat_id)

    assert texts(await subscriber.fetch()) == ["theirs 3", "Welcome!"]


async def test_a_chat_that_the_user_has_left_holds_up_no_other(lab: TeamsLab) -> None:
    other = lab.teams.add_chat(MIA, LEO, ZOE)
    wanted = MessageFilter(containers=(f"chat:{other.chat_id}", lab.container))
    everywhere, named = Subscriber(lab), Subscriber(lab, wanted=wanted)
    lab.post("theirs", where=other.chat_id)
    lab.post("ours")
    (ref,) = [ref for ref in await Subscriber(lab).list_new() if other.chat_id in ref.provider_id]
    other.members = other.members[1:]

    assert texts(await everywhere.fetch()) == ["ours"]
    assert texts(await named.fetch()) == ["ours"]
    assert await Subscriber(lab, wanted=MessageFilter(containers=(f"chat:{other.chat_id}",))).fetch() == []
    with pytest.raises(Vanished):
        await lab.provider.read(session(lab), stored(ref), lab.wanted, max_body_chars=100)


async def test_a_chat_that_is_not_there_holds_up_no_other(lab: TeamsLab) -> None:
    lab.post("ours")

    assert texts(await Subscriber(lab, wanted=MessageFilter(containers=("chat:19:gone", lab.container))).fetch()) == [
        "ours"
    ]


@pytest.mark.parametrize("without", [OF_CHATS, OF_CHATS[:2]])
async def test_without_consent_to_chats_the_connection_is_blocked(lab: TeamsLab, without: tuple[str, ...]) -> None:
    lab.post("hello")
    (ref,) = await Subscriber(lab).list_new()
    tokens = FakeTokens(tokens=[lab.token(*without)])

    with pytest.raises(ConnectionBlocked):
        await lab.provider.list_new(session(lab, tokens=tokens), Subscriber(lab).query())
    if without == OF_CHATS:
        with pytest.raises(ConnectionBlocked):
            await lab.provider.read(session(lab, tokens=tokens), stored(ref), lab.wanted, max_body_chars=100)


async def test_personal_accounts_are_told_that_they_have_no_teams(lab: TeamsLab) -> None:
    personal = lab.core.microsoft.add_account("ann@outlook.example", personal=True)
    here = session(lab)
    here.account = Account(account_id=f"{personal.object_id}.{CONSUMERS}", address=personal.address)

    with pytest.raises(ConnectionBlocked, match="work or school account"):
        await lab.provider.account(here)
    with pytest.raises(ConnectionBlocked, match="work or school account"):
        await lab.provider.list_new(here, Subscriber(lab).query())
    assert here.calls == 0


async def test_another_accounts_grant_is_noticed(lab: TeamsLab) -> None:
    tokens = FakeTokens(tokens=[lab.core.microsoft.link(LEO).access_token])

    found = await lab.provider.account(session(lab, tokens=tokens))

    assert (found.address, found.account_id == lab.account.account_id) == (LEO, False)


@pytest.mark.parametrize("told", RetryAfter)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttle_is_waited_for_however_it_is_told(lab: TeamsLab, told: RetryAfter, status: int) -> None:
    lab.post("hello")
    lab.core.microsoft.graph.throttle(MESSAGES, times=3, status=status, retry_after=told)
    begun = lab.core.now()

    assert texts(await Subscriber(lab).fetch()) == ["hello"]
    waited = {RetryAfter.SECONDS: 30, RetryAfter.DATE: 30, RetryAfter.ALWAYS_ONE: 3, RetryAfter.ABSENT: 0}[told]
    assert lab.core.now() - begun >= waited * SECOND
    assert lab.core.counters.early == 0


async def test_messages_that_are_too_many_to_carry_are_read_one_by_one() -> None:
    async with teams_lab(config=TeamsConfig(carried_bytes=3_000)) as lab:
        for number in range(4):
            lab.post(f"{number}", at=lab.core.now() - number * SECOND)
        refs = await Subscriber(lab).list_new()

        assert 0 < sum(ref.carried is not None for ref in refs) < 4
        assert len(await Subscriber(lab).fetch()) == 4


async def test_the_chats_whose_places_are_remembered_are_the_ones_where_something_was_said_last(lab: TeamsLab) -> None:
    now = lab.core.now()
    chats = {f"19:{number}": now - number * SECOND for number in range(MAX_CHATS + 5)}
    state = Reached(since=now, floor=now, walked=now, chats=chats).to_json()

    assert list(state["chats"]) == list(chats)[:MAX_CHATS]


async def test_a_state_that_makes_no_sense_is_none(lab: TeamsLab) -> None:
    lab.post("hello")
    subscriber = Subscriber(lab, state={"chats": 7, "floor": "x", "walked": [], "since": None, "channels": "y"})

    assert texts(await subscriber.fetch()) == ["hello"]
