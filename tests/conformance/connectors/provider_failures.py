"""What every provider does when something goes wrong: a part of the suite of `providers`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.errors import NeedsReauth, ProviderUnavailable, Throttled
from tests.conformance.connectors.provider_lab import ProviderLab, Subscriber, leave, refs_of, say, session
from tests.connectors.providers.support import FakeTokens
from tests.emulator.core import Fault

SECOND = timedelta(seconds=1)
MOST_REQUESTS = 12
"""Of a listing in these tests: none has as many."""


class ProviderFailures:
    """Throttles, failures, refused tokens, and callers who leave."""

    async def test_every_request_is_counted(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        lab.core.faults.add(Fault(route=lab.api, status=503))
        lab.core.counters.reset()
        subscriber = Subscriber(lab)

        await subscriber.fetch()

        assert subscriber.calls == lab.core.counters.count(lab.api) > 1

    async def test_a_throttle_is_waited_for_and_never_tried_too_early(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        lab.core.faults.add(Fault(route=lab.api, times=3, status=429, headers={"Retry-After": "7"}, body={}))
        begun, waits = lab.core.now(), list[object]()
        here = session(lab)
        here.on_wait = waits.append

        listing = await lab.provider.list_new(here, Subscriber(lab).query())

        assert len(listing.refs) == 1
        assert lab.core.now() >= begun + 21 * SECOND
        assert lab.core.counters.early == 0
        assert waits == [begun + 7 * SECOND, begun + 14 * SECOND, begun + 21 * SECOND]

    async def test_a_throttle_past_the_deadline_ends_it_at_once(self, lab: ProviderLab) -> None:
        lab.core.faults.add(Fault(route=lab.api, times=0, status=429, headers={"Retry-After": "600"}, body={}))
        here = session(lab, seconds=60)

        with pytest.raises(Throttled) as caught:
            await lab.provider.list_new(here, Subscriber(lab).query())

        assert caught.value.retry_after == pytest.approx(600)
        assert here.calls == 1

    @pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500, "body": {}}, {"drop": True}])
    async def test_what_passes_is_tried_again(self, lab: ProviderLab, fault: dict[str, object]) -> None:
        await say(lab, "hello")
        lab.core.faults.add(Fault(route=lab.api, times=2, **fault))  # type: ignore[arg-type]  # of the parameters above

        assert len(await Subscriber(lab).fetch()) == 1

    async def test_a_provider_that_does_not_answer_is_unavailable(self, lab: ProviderLab) -> None:
        lab.core.faults.add(Fault(route=lab.api, times=0, status=503))

        with pytest.raises(ProviderUnavailable):
            await Subscriber(lab).fetch()

    async def test_a_listing_that_fails_on_its_way_loses_nothing(self, lab: ProviderLab) -> None:
        subscriber = Subscriber(lab)
        await subscriber.fetch()
        expected: set[str] = set()
        listed: list[str] = []
        for skip in range(MOST_REQUESTS):
            expected |= {await say(lab, f"number {number}") for number in range(3)}
            fault = lab.core.faults.add(Fault(route=lab.api, skip=skip, times=0, status=503))
            try:
                listed += [ref.provider_id for ref in await subscriber.list_new()]
            except ProviderUnavailable:
                assert fault.fired
            else:
                break
            await lab.core.faults.clear()
        assert sorted(listed) == sorted(expected)

    @pytest.mark.parametrize("body", ["no json", "[]", "{}", '{"value": 7, "messages": 7, "history": 7}'])
    async def test_an_answer_that_makes_no_sense_is_no_news(self, lab: ProviderLab, body: str) -> None:
        await say(lab, "hello")
        subscriber = Subscriber(lab)
        lab.core.faults.add(Fault(route=lab.api, times=0, status=200, body=body))

        with pytest.raises(ProviderUnavailable):
            await subscriber.fetch()

        await lab.core.faults.clear()
        assert len(await subscriber.fetch()) == 1

    async def test_a_token_that_has_expired_is_replaced_once(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        tokens = FakeTokens(tokens=["expired", lab.token()])

        listing = await lab.provider.list_new(session(lab, tokens=tokens), Subscriber(lab).query())

        assert len(listing.refs) == 1
        assert tokens.replaced == ["expired"]

    async def test_when_no_token_works_the_user_has_to_consent_again(self, lab: ProviderLab) -> None:
        tokens = FakeTokens(tokens=["expired", "expired-too", lab.token()])

        with pytest.raises(NeedsReauth):
            await lab.provider.list_new(session(lab, tokens=tokens), Subscriber(lab).query())

    async def test_whoever_leaves_a_listing_or_a_message_leaves_nothing_behind(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        subscriber = Subscriber(lab)
        (ref,) = await refs_of(lab)

        async def read() -> object:
            return await lab.provider.read(session(lab), ref, lab.wanted, max_body_chars=100)

        for work in (subscriber.list_new, read):
            for _ in range(lab.provider.concurrency + 1):
                await leave(lab, work)

        assert len(await subscriber.fetch()) == 1
