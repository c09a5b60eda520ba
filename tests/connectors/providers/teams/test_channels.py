"""What is new in channels."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors.errors import ConnectionBlocked, ProviderUnavailable
from connectors.messages.domain import FetchMode, JsonObject, Message, MessageFilter
from tests.conformance.connectors.provider_lab import Subscriber, session, stored
from tests.connectors.providers.support import FakeTokens
from tests.connectors.providers.teams.lab import LEO, MIA, ZOE, TeamsLab
from tests.emulator.core import Fault
from tests.emulator.microsoft.walks import Expiry

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DELTA = r"/messages/delta$"


@pytest.fixture
def lab(in_channel: TeamsLab) -> TeamsLab:
    return in_channel


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def state_of(subscriber: Subscriber, lab: TeamsLab) -> JsonObject:
    assert subscriber.state is not None
    state: JsonObject = subscriber.state["channels"][lab.container]
    return state


async def begun(lab: TeamsLab, **wishes: Any) -> Subscriber:
    """Return a subscriber that has had its first fetch."""
    subscriber = Subscriber(lab, **wishes)
    await subscriber.fetch()
    lab.core.clock.advance(MINUTE)
    return subscriber


async def test_answers_come_with_what_they_answer_as_their_thread(lab: TeamsLab) -> None:
    post = lab.post("Lunch?", subject="Today", at=lab.core.now() - MINUTE)
    lab.post("Yes!", reply_to=post.message_id)

    first, answer = await Subscriber(lab).fetch()

    assert (first.text, first.subject, first.thread_id) == ("Lunch?", "Today", first.provider_id)
    assert (answer.text, answer.thread_id, answer.in_reply_to) == ("Yes!", first.provider_id, first.provider_id)
    assert first.labels == answer.labels == (lab.container,)
    assert "parentMessageId" in answer.web_link


async def test_an_answer_from_the_store_is_read_where_it_is(lab: TeamsLab) -> None:
    post = lab.post("Lunch?", at=lab.core.now() - MINUTE)
    lab.post("Yes!", reply_to=post.message_id)
    _, ref = await Subscriber(lab).list_new()

    message = await lab.provider.read(session(lab), stored(ref), lab.wanted, max_body_chars=100)

    assert (message.text, message.key) == ("Yes!", ref.key)


async def test_answers_beyond_a_page_are_all_delivered(lab: TeamsLab) -> None:
    lab.teams.replies_expanded = 3
    post = lab.post("Votes, please", at=lab.core.now() - HOUR)
    for number in range(130):
        lab.post(f"{number}", reply_to=post.message_id, at=lab.core.now() - (130 - number) * SECOND)

    messages = await Subscriber(lab).fetch()

    assert texts(messages) == ["Votes, please", *(f"{number}" for number in range(130))]
    assert lab.core.counters.count("/replies$") == 3


async def test_a_new_answer_does_not_bring_the_old_ones_again_however_old_they_are(lab: TeamsLab) -> None:
    post = lab.post("Votes, please")
    for number in range(3):
        lab.core.clock.advance(DAY)
        lab.post(f"{number}", reply_to=post.message_id)
    subscriber = await begun(lab, since=lab.core.now() - 30 * DAY)
    for _ in range(3):
        lab.core.clock.advance(20 * DAY)
        assert await subscriber.fetch() == []
    lab.post("late", reply_to=post.message_id)

    assert texts(await subscriber.fetch()) == ["late"]


async def test_a_message_that_teams_tells_late_is_delivered(lab: TeamsLab) -> None:
    lab.post("in time")
    subscriber = await begun(lab)
    lab.post("late", at=lab.core.now() - 2 * HOUR)

    assert texts(await subscriber.fetch()) == ["late"]


async def test_a_thread_that_goes_on_brings_nothing_from_before_the_window(lab: TeamsLab) -> None:
    post = lab.post("old", at=lab.core.now() - 3 * HOUR)
    lab.post("older than the window", reply_to=post.message_id, at=lab.core.now() - 2 * HOUR)
    subscriber = await begun(lab, since=lab.core.now() - HOUR)
    lab.post("new", reply_to=post.message_id)
    lab.teams.react(post, ZOE)

    assert texts(await subscriber.fetch()) == ["new"]


async def test_edits_count_and_reactions_deletions_and_events_do_not(lab: TeamsLab) -> None:
    edited, liked, deleted = (lab.post(text) for text in ("first wording", "cake", "a secret"))
    answer = lab.post("first answer", reply_to=liked.message_id)
    subscriber = Subscriber(lab)
    assert len(await subscriber.fetch()) == 4
    lab.core.clock.advance(MINUTE)
    lab.teams.edit(edited, "second wording")
    lab.teams.edit(answer, "second answer")
    lab.teams.react(liked, MIA)
    lab.teams.delete(deleted)
    lab.post("", sender="")

    messages = await subscriber.fetch()

    assert sorted(texts(messages)) == ["second answer", "second wording"]
    assert all(message.key.endswith(f"@{lab.core.now().isoformat(timespec='milliseconds')}") for message in messages)


async def test_what_the_user_wrote_comes_only_when_asked_for(lab: TeamsLab) -> None:
    post = lab.post("theirs", at=lab.core.now() - MINUTE)
    lab.post("mine", sender=MIA, reply_to=post.message_id)
    with_own = MessageFilter(containers=(lab.container,), include_sent=True)

    assert texts(await Subscriber(lab).fetch()) == ["theirs"]
    assert texts(await Subscriber(lab, wanted=with_own).fetch()) == ["theirs", "mine"]


async def test_a_filter_that_teams_does_not_keep_to_is_kept_to_here(lab: TeamsLab) -> None:
    lab.teams.leaky_filter = True
    for hours in (50, 30, 20, 10):
        lab.post(f"{hours} hours ago", at=lab.core.now() - hours * HOUR)

    assert texts(await Subscriber(lab).fetch()) == ["20 hours ago", "10 hours ago"]


@pytest.mark.parametrize(("status", "code"), [(410, "SyncStateNotFound"), (410, "resyncRequired"), (400, "BadRequest")])
async def test_a_forgotten_link_begins_the_window_anew(lab: TeamsLab, status: int, code: str) -> None:
    lab.post("known")
    subscriber = await begun(lab)
    lab.post("new")
    lab.core.microsoft.expire_delta(MIA, Expiry(status=status, code=code, location=True))

    assert texts(await subscriber.fetch()) == ["new"]
    assert subscriber.modes[-1] is FetchMode.RESYNC


async def test_a_link_that_is_forgotten_in_the_middle_begins_the_window_anew(lab: TeamsLab) -> None:
    subscriber = await begun(lab)
    posted = [lab.post(f"{number}", at=lab.core.now() + number * SECOND).content for number in range(120)]
    lab.core.clock.advance(HOUR)
    lab.core.microsoft.delta.expire_at_page = 2

    assert texts(await subscriber.fetch()) == posted
    assert subscriber.modes[-1] is FetchMode.RESYNC


@pytest.mark.parametrize("link", ["https://evil.example/v1.0/x", "http://127.0.0.1:9/v1.0/teams/x", "no link at all"])
async def test_a_link_to_somewhere_else_is_not_followed(lab: TeamsLab, link: str) -> None:
    lab.post("known")
    subscriber = await begun(lab)
    state_of(subscriber, lab)["link"] = link
    lab.post("new")

    assert texts(await subscriber.fetch()) == ["new"]
    assert subscriber.modes[-1] is FetchMode.RESYNC


async def test_a_page_that_leads_somewhere_else_ends_the_listing(lab: TeamsLab) -> None:
    lab.core.microsoft.graph.links_to = "https://evil.example"
    for number in range(60):
        lab.post(f"{number}")

    with pytest.raises(ProviderUnavailable) as caught:
        await Subscriber(lab).fetch()

    assert caught.value.metadata["cause"] == "FOREIGN_LINK"


async def test_empty_pages_and_repetitions_change_nothing(lab: TeamsLab) -> None:
    delta = lab.core.microsoft.delta
    delta.empty_pages, delta.duplicates, delta.replays, delta.strays = 2, True, 3, 2
    lab.post("one", at=lab.core.now() - MINUTE)
    lab.post("two")
    subscriber = Subscriber(lab)

    assert texts(await subscriber.fetch()) == ["one", "two"]
    lab.core.clock.advance(MINUTE)
    lab.post("three")
    assert texts(await subscriber.fetch()) == ["three"]
    assert await subscriber.fetch() == []


async def test_a_round_without_an_end_is_no_listing(lab: TeamsLab) -> None:
    lab.core.faults.add(Fault(route=DELTA, status=200, body={"value": []}))

    with pytest.raises(ProviderUnavailable, match="without a link"):
        await Subscriber(lab).fetch()


async def test_without_the_administrators_consent_the_connection_is_blocked(lab: TeamsLab) -> None:
    lab.post("hello")
    (ref,) = await Subscriber(lab).list_new()
    tokens = FakeTokens(tokens=[lab.token("ChannelMessage.Read.All")])

    with pytest.raises(ConnectionBlocked, match=r"An administrator .* ChannelMessage\.Read\.All"):
        await lab.provider.list_new(session(lab, tokens=tokens), Subscriber(lab).query())
    with pytest.raises(ConnectionBlocked):
        await lab.provider.read(session(lab, tokens=tokens), stored(ref), lab.wanted, max_body_chars=100)


async def test_a_team_that_the_user_has_left_holds_up_no_other_and_goes_on_when_they_are_back(lab: TeamsLab) -> None:
    other = lab.teams.add_team("Support", MIA, ZOE)
    (channel,) = other.channels.values()
    wanted = MessageFilter(containers=(lab.container, f"channel:{other.team_id}/{channel.channel_id}"))
    subscriber = await begun(lab, wanted=wanted)
    members, other.members = other.members, other.members[1:]
    lab.post("ours")
    lab.post("theirs", where=channel.channel_id, sender=ZOE)

    assert texts(await subscriber.fetch()) == ["ours"]
    for _ in range(2):
        lab.core.clock.advance(5 * DAY)
        assert await subscriber.fetch() == []
    other.members = members
    assert texts(await subscriber.fetch()) == ["theirs"]
    assert set(subscriber.modes[1:]) == {FetchMode.INCREMENTAL}


async def test_a_channel_that_is_deleted_holds_up_no_other(lab: TeamsLab) -> None:
    other = lab.teams.add_channel(lab.container.split(":")[1].split("/")[0], "Old")
    chat = lab.teams.add_chat(MIA, LEO).chat_id
    wanted = MessageFilter(containers=(f"channel:{other.team_id}/{other.channel_id}", lab.container, f"chat:{chat}"))
    subscriber = await begun(lab, wanted=wanted)
    del lab.teams.teams[other.team_id].channels[other.channel_id]
    lab.post("ours")
    lab.post("in the chat", where=chat)

    assert sorted(texts(await subscriber.fetch())) == ["in the chat", "ours"]
