"""How Graph is treated: no faster than it wants, no sooner than it says, and with nothing told to anybody."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from connectors.errors import ConnectionBlocked, NeedsReauth, ProviderUnavailable, Throttled
from connectors.messages.domain import MessageFilter
from connectors.providers.outlook.config import OutlookConfig
from tests.connectors.providers.outlook.lab import WEEK, OutlookLab, Subscriber, ids, outlook_lab
from tests.emulator.core import Fault
from tests.emulator.mails import Attachment
from tests.emulator.microsoft.graph import RetryAfter

OFFER = Attachment("offer.pdf", b"offer", "application/pdf")


async def read_all(lab: OutlookLab, *, most: int = 50) -> int:
    """List, and read everything with more workers than there may be requests."""
    found = await lab.list_new()
    session = lab.session()
    places = asyncio.Semaphore(most)

    async def read_one(number: int) -> None:
        async with places:
            await lab.outlook.read(session, found.refs[number], MessageFilter(), max_body_chars=1_000)

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(found.refs)):
            tasks.create_task(read_one(number))
    return len(found.refs)


async def test_never_more_than_four_requests_of_a_mailbox_run_at_once() -> None:
    async with outlook_lab() as lab:
        lab.emulator.microsoft.graph.requests_at_once = 4
        lab.emulator.latencies["/attachments$"] = 5
        for _ in range(40):
            lab.mail(attachments=[OFFER])
        read = await read_all(lab)

    assert read == 40
    assert lab.emulator.counters.most_in_flight["mia@contoso.example"] == 4
    assert lab.emulator.counters.count(status=429) == 0
    assert lab.outlook.concurrency == 4


async def test_no_more_requests_a_minute_than_were_set() -> None:
    async with outlook_lab(requests_per_minute=30) as lab:
        begun = lab.time.now()
        for _ in range(90):
            lab.mail(attachments=[OFFER])
        await read_all(lab)
        calls = list(lab.emulator.counters.calls)
        lasted = lab.time.now() - begun

    assert len(calls) == 92
    assert lasted >= timedelta(minutes=3)
    for call in calls:
        assert sum(call.at <= other.at < call.at + timedelta(minutes=1) for other in calls) <= 31


@pytest.mark.parametrize("how", list(RetryAfter), ids=str)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_listing_waits_as_long_as_it_is_told(how: RetryAfter, status: int) -> None:
    async with outlook_lab() as lab:
        lab.emulator.throttles.extend_on_early_calls = True
        mail = lab.mail()
        lab.emulator.microsoft.graph.throttle("/delta$", times=2, status=status, retry_after=how)
        waits: list[object] = []
        session = lab.session()
        session.on_wait = waits.append
        found = await lab.list_new(session=session)

    assert ids(found) == {mail}
    assert lab.emulator.counters.early == 0
    assert session.calls == 3
    assert len(waits) == (0 if how is RetryAfter.ABSENT else 2)


@pytest.mark.parametrize("told", ["9999999999999999999", "Fri, 31 Dec 2199 23:59:59 GMT", "86400"])
async def test_a_wait_past_the_deadline_ends_the_call_at_once(told: str) -> None:
    async with outlook_lab() as lab:
        lab.emulator.faults.add(Fault(route="/delta$", status=429, times=0, headers={"Retry-After": told}))
        session = lab.session(seconds=60)
        with pytest.raises(Throttled) as throttled:
            await lab.list_new(session=session)

    assert session.calls == 1
    assert throttled.value.retry_after is not None
    assert 60 < throttled.value.retry_after <= 24 * 3600


@pytest.mark.parametrize("told", ["-1", "soon", "", "0x10", "1e9", "nan", "\u0661"])
async def test_a_wait_that_cannot_be_understood_is_none(told: str) -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        headers = {"Retry-After": told} if told.isascii() else {}
        lab.emulator.faults.add(Fault(route="/delta$", status=503, times=2, headers=headers))
        # The emulator itself does not understand it either.
        lab.emulator.throttles.note = lambda *_: None  # type: ignore[method-assign]  # for this one emulator
        found = await lab.list_new()

    assert ids(found) == {mail}


async def test_a_reset_in_the_middle_of_a_page_is_repaired() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        lab.emulator.faults.add(Fault(route="/delta$", reset_after_bytes=40))
        found = await lab.list_new()

    assert ids(found) == {mail}


async def test_a_listing_that_fails_on_the_way_loses_nothing() -> None:
    async with outlook_lab(OutlookConfig(page_size=5)) as lab:
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        await subscriber.fetch()
        sent = {lab.mail() for _ in range(23)}
        fault = lab.emulator.faults.add(Fault(route="/delta$", status=500, skip=3, times=0))
        with pytest.raises(ProviderUnavailable):
            await subscriber.fetch()
        fault.times = fault.fired
        found = await subscriber.fetch()

    assert set(found) == sent


async def test_a_token_that_ends_in_the_middle_is_replaced() -> None:
    async with outlook_lab(OutlookConfig(page_size=5)) as lab:
        sent = {lab.mail() for _ in range(12)}
        first = lab.tokens.tokens[0]
        lab.emulator.microsoft.login.grants._access[first].expires_at = lab.time.now()
        found = await lab.list_new()

    assert ids(found) == sent
    assert lab.tokens.replaced == [first]


async def test_a_revoked_grant_needs_a_new_consent() -> None:
    async with outlook_lab() as lab:
        lab.emulator.microsoft.login.grants.revoke("mia@contoso.example")
        with pytest.raises(NeedsReauth):
            await lab.list_new()


async def test_access_that_is_forbidden_blocks_the_connection() -> None:
    async with outlook_lab() as lab:
        issued = lab.emulator.microsoft.link("mia@contoso.example", scopes=("User.Read",))
        lab.tokens.tokens[:] = [issued.access_token]
        with pytest.raises(ConnectionBlocked) as blocked:
            await lab.list_new()

    assert blocked.value.metadata == {"provider_code": "erroraccessdenied"}


async def test_an_account_without_a_mailbox_is_told_so() -> None:
    body = {"error": {"code": "MailboxNotEnabledForRESTAPI", "message": "REST API is not yet supported."}}
    async with outlook_lab() as lab:
        lab.emulator.faults.add(Fault(route="/delta$", status=404, body=body))
        with pytest.raises(ConnectionBlocked, match="no mailbox"):
            await lab.list_new()


@pytest.mark.parametrize("personal", [False, True], ids=["work", "personal"])
async def test_the_account_is_the_one_that_consented(personal: bool) -> None:
    async with outlook_lab(personal=personal) as lab:
        found = await lab.outlook.account(lab.session())

    assert found == lab.account
    assert lab.calls() == 1


async def test_another_account_shows_as_another_one() -> None:
    async with outlook_lab() as lab:
        other = lab.emulator.microsoft.add_account("leo@contoso.example")
        lab.tokens.tokens[:] = [lab.emulator.microsoft.link(other.address).access_token]
        found = await lab.outlook.account(lab.session())

    assert found.account_id == other.object_id != lab.account.account_id
    assert found.address == other.address


async def test_every_request_asks_for_ids_that_survive_moves_and_bodies_as_text() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail(html="<p>Hello")
        message = await lab.only()
        lab.mailbox.move(mail, "archive")

    assert message.provider_id == mail
    assert message.text == "Hello"


async def test_nothing_secret_or_written_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with outlook_lab(OutlookConfig(page_size=2, sweep_every=1)) as lab:
        for _ in range(5):
            lab.mail("Canary subject", text="Canary text", attachments=[OFFER])
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        await subscriber.fetch()
        found = await lab.list_new()
        messages = [await lab.read(ref) for ref in found.refs]
        lab.emulator.microsoft.expire_delta("mia@contoso.example")
        await subscriber.fetch()
        lab.emulator.microsoft.login.grants.revoke("mia@contoso.example")
        with pytest.raises(NeedsReauth) as error:
            await subscriber.fetch()

    written = caplog.text + "".join(str(vars(record)) for record in caplog.records) + repr((messages, found))
    written += f"{error.value!r} {error.value.__cause__!r} {error.value.__context__!r}"
    for unspeakable in (*lab.emulator.secrets, "Canary"):
        assert unspeakable not in written


async def test_a_thousand_mails_take_a_tenth_of_a_thousand_calls() -> None:
    async with outlook_lab() as lab:
        for _ in range(1_000):
            lab.mail()
        read = await read_all(lab, most=4)
        calls = lab.emulator.counters.count("/v1.0/")

    assert read == 1_000
    assert calls <= 1_000 / 10
