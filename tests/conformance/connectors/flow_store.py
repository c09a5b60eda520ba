"""What every store of authorizations and every audit trail does. A test module inherits the suites."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.connections.domain import AuditAction, ConnectionState, NoticeKind, StoredFlow
from connectors.connections.errors import ConnectionUnknown, PolledTooEarly, TooManyFlows
from connectors.connections.ports import AccountTaken
from connectors.errors import StateInvalid
from connectors.providers.port import Flow
from tests.conformance.connectors.connection_kit import MINUTE, NOW, Kit, consented

SECOND = timedelta(seconds=1)


def state_of(flow: StoredFlow) -> bytes:
    return f"state of {flow.flow_id}".encode()


class FlowStoreConformance:
    """Authorizations under way."""

    async def test_beginning_stores_the_flow_its_connection_and_an_audit_line(self, kit: Kit) -> None:
        grant = kit.new_grant()
        new = kit.new_flow(grant)

        assert await kit.begin(new, grant) is None

        connection_id = grant.connection.connection_id
        assert await kit.grants.grant(connection_id) == grant
        earlier = await kit.flows.earlier(kit.user, new.request_id)
        assert earlier is not None
        assert (earlier.flow, earlier.request_hash) == (new.flow, "hash")
        assert await kit.told() == [(NoticeKind.CHANGED, connection_id)]
        (event,) = await kit.audit.page(user_id=kit.user, connection_id=connection_id, limit=10, before="")
        assert event.action is AuditAction.BEGUN

    async def test_a_request_is_its_users_own(self, kit: Kit) -> None:
        grant = kit.new_grant()
        new = kit.new_flow(grant)
        await kit.begin(new, grant)

        assert await kit.flows.earlier("somebody", new.request_id) is None
        assert await kit.flows.earlier(kit.user, "another") is None

    async def test_the_same_request_finds_the_flow_that_it_began(self, kit: Kit) -> None:
        first, second = kit.new_grant(), kit.new_grant()
        new = kit.new_flow(first)
        repeated = replace(kit.new_flow(second), request_id=new.request_id, request_hash="other")
        await kit.begin(new, first)

        earlier = await kit.begin(repeated, second)

        assert earlier is not None
        assert (earlier.flow, earlier.request_hash) == (new.flow, "hash")
        with pytest.raises(ConnectionUnknown):
            await kit.grants.grant(second.connection.connection_id)

    async def test_of_the_same_request_many_times_at_once_one_begins(self, kit: Kit) -> None:
        grants = [kit.new_grant() for _ in range(5)]
        news = [replace(kit.new_flow(grant), request_id="the same") for grant in grants]

        found = await asyncio.gather(*(kit.begin(new, grant) for new, grant in zip(news, grants, strict=True)))

        assert found.count(None) == 1
        assert len(await kit.connections.page(kit.user, limit=10, after=None, include_disconnected=True)) == 1

    async def test_a_user_has_so_many_flows_open_and_no_more(self, kit: Kit) -> None:
        grants = [kit.new_grant() for _ in range(6)]
        news = [kit.new_flow(grant, at=NOW + number * MINUTE) for number, grant in enumerate(grants)]

        outcomes = await asyncio.gather(
            *(kit.begin(new, grant, limit=4) for new, grant in zip(news, grants, strict=True)), return_exceptions=True
        )

        refused = [one for one in outcomes if isinstance(one, TooManyFlows)]
        assert len(refused) == 2
        # Whoever was first in may have begun five minutes later, by the callers' own clocks.
        assert all(one.retry_after is not None and 0 < one.retry_after <= 900 for one in refused)
        with pytest.raises(TooManyFlows):
            await kit.flows.check_room(kit.user, now=NOW, limit=4)
        await kit.flows.check_room("somebody", now=NOW, limit=4)
        await kit.flows.check_room(kit.user, now=NOW + 16 * MINUTE, limit=1)

    async def test_a_flow_that_is_used_leaves_room(self, kit: Kit) -> None:
        flow = await kit.pending()

        assert await kit.flows.take(kit.user, state_of(flow), now=NOW) is not None

        await kit.flows.check_room(kit.user, now=NOW, limit=1)

    async def test_a_flow_for_a_connection_that_is_gone_does_not_begin(self, kit: Kit) -> None:
        with pytest.raises(ConnectionUnknown):
            await kit.begin(kit.new_flow(kit.new_grant()))

    async def test_a_flow_is_taken_once(self, kit: Kit) -> None:
        flow = await kit.pending()

        taken = await asyncio.gather(*(kit.flows.take(kit.user, state_of(flow), now=NOW + MINUTE) for _ in range(6)))

        assert [one for one in taken if one is not None] == [replace(flow, used_at=NOW + MINUTE)]
        assert await kit.flows.take(kit.user, state_of(flow), now=NOW + MINUTE) is None

    async def test_nobody_takes_a_flow_of_another_user_or_state_or_time(self, kit: Kit) -> None:
        flow = await kit.pending()

        assert await kit.flows.take("somebody", state_of(flow), now=NOW) is None
        assert await kit.flows.take(kit.user, b"another state", now=NOW) is None
        assert await kit.flows.take(kit.user, state_of(flow), now=flow.expires_at) is None
        assert await kit.flows.take(kit.user, state_of(flow), now=flow.expires_at - SECOND) is not None

    async def test_a_device_flow_is_polled_by_one_at_a_time(self, kit: Kit) -> None:
        flow = await kit.pending(flow=Flow.DEVICE_CODE)
        first = NOW + 5 * SECOND

        with pytest.raises(PolledTooEarly) as early:
            await kit.flows.take_poll(kit.user, flow.flow_id, now=NOW + SECOND, hold=NOW + MINUTE)
        assert early.value.retry_after == 4.0
        assert await kit.flows.take_poll(kit.user, flow.flow_id, now=first, hold=first + MINUTE) == flow
        with pytest.raises(PolledTooEarly) as held:
            await kit.flows.take_poll(kit.user, flow.flow_id, now=first + SECOND, hold=first + MINUTE)
        assert held.value.retry_after == 59.0

        await kit.flows.poll_again(flow.flow_id, at=first + 5 * SECOND)

        again = first + 5 * SECOND
        assert (await kit.flows.take_poll(kit.user, flow.flow_id, now=again, hold=again)).flow_id == flow.flow_id

    async def test_nobody_polls_a_flow_that_is_none_of_theirs(self, kit: Kit) -> None:
        device, redirect = await kit.pending(flow=Flow.DEVICE_CODE), await kit.pending()
        later = NOW + MINUTE

        for user, flow_id, now in [
            ("somebody", device.flow_id, later),
            (kit.user, redirect.flow_id, later),
            (kit.user, "nothing", later),
            (kit.user, device.flow_id, device.expires_at),
        ]:
            with pytest.raises(StateInvalid):
                await kit.flows.take_poll(user, flow_id, now=now, hold=now + MINUTE)
        await kit.flows.poll_again("nothing", at=later)

    async def test_settling_makes_a_connection_of_a_flow(self, kit: Kit) -> None:
        flow = await kit.pending(flow=Flow.DEVICE_CODE)
        await kit.notices()

        stored = await kit.flows.settle(flow, flow.connection_id, consented(f"of {kit.user}"), now=NOW + MINUTE)

        assert stored == await kit.grants.grant(flow.connection_id)
        assert stored.connection.state is ConnectionState.ACTIVE
        assert await kit.told() == [(NoticeKind.CHANGED, flow.connection_id)]
        done = await kit.flows.take_poll(kit.user, flow.flow_id, now=NOW + MINUTE, hold=NOW + MINUTE)
        assert done.used_at == NOW + MINUTE
        with pytest.raises(StateInvalid):
            await kit.flows.settle(flow, flow.connection_id, consented("again"), now=NOW + MINUTE)

    async def test_settling_an_account_that_is_linked_renews_its_connection(self, kit: Kit) -> None:
        account = f"of {kit.user}"
        grant = await kit.linked(account)
        flow = await kit.pending(flow=Flow.DEVICE_CODE)
        connection_id = grant.connection.connection_id
        await kit.notices()

        with pytest.raises(AccountTaken):
            await kit.flows.settle(flow, flow.connection_id, consented(account), now=NOW)
        stored = await kit.flows.settle(flow, connection_id, consented(account), now=NOW)

        assert stored is not None
        assert (stored.connection.connection_id, stored.grant_version) == (connection_id, 2)
        with pytest.raises(ConnectionUnknown):
            await kit.grants.grant(flow.connection_id)
        gone, changed = sorted(await kit.notices(), key=lambda notice: notice.kind is NoticeKind.CHANGED)
        assert (gone.kind, gone.connection_id) == (NoticeKind.GONE, flow.connection_id)
        assert (gone.provider, gone.created_at) == ("gmail", NOW)
        assert changed.connection_id == connection_id
        done = await kit.flows.take_poll(kit.user, flow.flow_id, now=NOW, hold=NOW)
        assert done.connection_id == connection_id

    async def test_of_two_flows_for_one_account_at_once_one_makes_the_connection(self, kit: Kit) -> None:
        account = f"of {kit.user}"
        flows = [await kit.pending() for _ in range(4)]

        outcomes = await asyncio.gather(
            *(kit.flows.settle(flow, flow.connection_id, consented(account), now=NOW) for flow in flows),
            return_exceptions=True,
        )

        assert len([one for one in outcomes if isinstance(one, AccountTaken)]) == 3

    async def test_without_a_decision_a_flow_is_not_settled(self, kit: Kit) -> None:
        flow = await kit.pending()

        assert await kit.flows.settle(flow, flow.connection_id, lambda _grant: None, now=NOW) is None

        assert (await kit.grants.grant(flow.connection_id)).connection.state is ConnectionState.PENDING

    async def test_an_abandoned_flow_goes_with_its_pending_connection(self, kit: Kit) -> None:
        flow = await kit.pending()
        await kit.notices()

        event = kit.event(flow.connection_id, AuditAction.AUTHORIZATION_REFUSED)
        await kit.flows.abandon(flow, event)

        with pytest.raises(ConnectionUnknown):
            await kit.grants.grant(flow.connection_id)
        with pytest.raises(StateInvalid):
            await kit.flows.settle(flow, flow.connection_id, consented("late"), now=NOW)
        assert await kit.told() == [(NoticeKind.GONE, flow.connection_id)]
        newest = await kit.audit.page(user_id=kit.user, connection_id=flow.connection_id, limit=1, before="")
        assert newest[0].action is AuditAction.AUTHORIZATION_REFUSED

    async def test_an_abandoned_reauthorization_leaves_the_connection(self, kit: Kit) -> None:
        grant = await kit.linked()
        new = kit.new_flow(grant)
        await kit.begin(new)

        await kit.flows.abandon(new.flow, kit.event(grant.connection.connection_id))

        assert await kit.grants.grant(grant.connection.connection_id) == grant
        assert await kit.flows.take(kit.user, state_of(new.flow), now=NOW) is None
        assert await kit.flows.earlier(kit.user, new.request_id) is None

    async def test_what_was_never_completed_is_swept_away(self, kit: Kit) -> None:
        await kit.flows.sweep(NOW + 60 * MINUTE)  # of other tests
        old, young = await kit.pending(), await kit.pending(at=NOW + 5 * MINUTE)
        linked = await kit.linked()
        await kit.notices()

        assert await kit.flows.sweep(NOW + 9 * MINUTE) == 0
        assert await kit.flows.sweep(NOW + 11 * MINUTE) == 1

        with pytest.raises(ConnectionUnknown):
            await kit.grants.grant(old.connection_id)
        assert (await kit.grants.grant(young.connection_id)).connection.state is ConnectionState.PENDING
        assert await kit.grants.grant(linked.connection.connection_id) == linked
        assert await kit.told() == [(NoticeKind.GONE, old.connection_id)]
        await kit.flows.sweep(NOW + 60 * MINUTE)


class AuditTrailConformance:
    """The audit trail."""

    async def test_events_come_newest_first_in_pages(self, kit: Kit) -> None:
        for action in AuditAction:
            await kit.audit.add(kit.event("one", action))

        found, before = [], ""
        while page := await kit.audit.page(user_id=kit.user, connection_id="", limit=3, before=before):
            found.extend(page)
            before = page[-1].event_id

        assert [event.action for event in found] == list(AuditAction)[::-1]
        assert len({event.event_id for event in found}) == len(found)
        assert replace(found[-1], event_id="") == kit.event("one", next(iter(AuditAction)))

    async def test_events_are_chosen_by_user_and_connection(self, kit: Kit) -> None:
        other = f"{kit.user}-other"
        await kit.audit.add(kit.event("one"))
        await kit.audit.add(kit.event("two"))
        await kit.audit.add(kit.event("one", user=other))

        mine = await kit.audit.page(user_id=kit.user, connection_id="one", limit=10, before="")
        every = await kit.audit.page(user_id=None, connection_id="", limit=3, before="")

        assert [event.user_id for event in mine] == [kit.user]
        assert {event.user_id for event in every} == {kit.user, other}
