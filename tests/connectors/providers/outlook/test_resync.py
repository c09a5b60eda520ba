"""What is new in a mailbox when Graph has forgotten, or does not tell."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.errors import ProviderUnavailable
from connectors.messages.domain import FetchMode
from connectors.providers.outlook.config import OutlookConfig
from tests.connectors.providers.outlook.lab import WEEK, Subscriber, ids, outlook_lab
from tests.emulator.core import Fault
from tests.emulator.microsoft.walks import Expiry

SMALL = OutlookConfig(page_size=5, slim_page_size=5)


@pytest.mark.parametrize(
    "expiry",
    [
        Expiry(),
        Expiry(location=True),
        Expiry(status=400, code="resyncRequired"),
        Expiry(status=404, code="SYNCSTATENOTFOUND"),
        Expiry(status=410, code="whatever"),
        Expiry(status=400, code="ErrorInvalidSyncStateData"),
    ],
    ids=str,
)
async def test_a_forgotten_place_becomes_a_window_again(expiry: Expiry) -> None:
    async with outlook_lab() as lab:
        old = lab.mail()
        found = await lab.list_new()
        new = lab.mail()
        lab.emulator.microsoft.expire_delta("mia@contoso.example", expiry)
        again = await lab.list_new(found.state)
        then = await lab.list_new(again.state)

    assert again.mode is FetchMode.RESYNC
    assert ids(again) == {old, new}
    assert then.mode is FetchMode.INCREMENTAL
    assert ids(then) == set()


async def test_a_place_that_is_forgotten_on_the_third_page_begins_anew_and_brings_nothing_twice() -> None:
    async with outlook_lab(SMALL) as lab:
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        lab.mail()
        await subscriber.fetch()
        sent = {lab.mail() for _ in range(22)}
        lab.emulator.microsoft.delta.expire_at_page = 3
        found = await subscriber.fetch()

    assert set(found) == sent
    assert len(subscriber.got) == 23


async def test_a_window_that_is_forgotten_in_the_middle_is_still_a_window() -> None:
    async with outlook_lab(SMALL) as lab:
        sent = {lab.mail() for _ in range(22)}
        lab.emulator.microsoft.delta.expire_at_page = 3
        found = await lab.list_new()

    assert found.mode is FetchMode.WINDOW
    assert ids(found) == sent
    assert len(found.refs) == 22


async def test_a_place_that_is_forgotten_again_and_again_is_given_up() -> None:
    async with outlook_lab() as lab:
        lab.emulator.faults.add(
            Fault(route="/delta$", status=410, times=0, body={"error": {"code": "SyncStateNotFound"}})
        )
        with pytest.raises(ProviderUnavailable):
            await lab.list_new()

    assert lab.calls() == 2


async def test_a_state_that_is_none_of_ours_becomes_a_window() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        listings = [
            await lab.list_new(state)
            for state in ({}, {"version": 99}, {"version": 1, "since": "x", "links": 3, "listings": "y"})
        ]

    assert [found.mode for found in listings] == [FetchMode.RESYNC] * 3
    assert all(ids(found) == {mail} for found in listings)


async def test_a_next_link_to_another_host_is_refused_and_never_called() -> None:
    async with outlook_lab(SMALL) as lab:
        for _ in range(12):
            lab.mail()
        lab.emulator.microsoft.graph.links_to = "https://evil.example"
        with pytest.raises(ProviderUnavailable) as refused:
            await lab.list_new()

    assert refused.value.metadata["cause"] == "FOREIGN_LINK"
    assert lab.calls() == 1


async def test_a_stored_link_to_another_host_is_not_called_but_listed_anew() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        lab.emulator.microsoft.graph.links_to = "https://evil.example"
        found = await lab.list_new()
        lab.emulator.microsoft.graph.links_to = ""
        again = await lab.list_new(found.state)

    assert again.mode is FetchMode.RESYNC
    assert ids(again) == {mail}


async def test_a_mail_that_is_moved_away_and_back_is_listed_once() -> None:
    async with outlook_lab() as lab:
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        mail = lab.mail()
        await subscriber.fetch()
        lab.mailbox.move(mail, "archive")
        away = await subscriber.fetch()
        lab.mailbox.move(mail, "inbox")
        back = await subscriber.fetch()

    assert away == back == []
    assert subscriber.got == [mail]


async def test_a_mail_that_graph_never_told_of_is_found_by_the_sweep() -> None:
    async with outlook_lab(OutlookConfig(sweep_every=3)) as lab:
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        await subscriber.fetch()
        hidden = lab.mail()
        # As after a move away and back within one round: Graph says that it was removed, and no more.
        del lab.mailbox.log[:]
        found = [await subscriber.fetch() for _ in range(4)]

    assert found == [[], [], [hidden], []]


async def test_a_sweep_does_not_reach_behind_the_window_of_the_beginning() -> None:
    async with outlook_lab(OutlookConfig(sweep_every=1)) as lab:
        lab.mail(ago=timedelta(hours=3))
        new = lab.mail(ago=timedelta(minutes=1))
        subscriber = Subscriber(lab=lab, since=lab.time.now() - timedelta(hours=1))
        first = await subscriber.fetch()
        rest = await subscriber.fetch()

    assert first == [new]
    assert rest == []


async def test_a_resync_reaches_as_far_back_as_it_is_told() -> None:
    async with outlook_lab() as lab:
        early, late = lab.mail(ago=timedelta(days=3)), lab.mail()
        found = await lab.list_new()
        lab.emulator.microsoft.expire_delta("mia@contoso.example")
        again = await lab.list_new(found.state, since=lab.time.now() - timedelta(days=1))

    assert ids(found) == {early, late}
    assert ids(again) == {late}
