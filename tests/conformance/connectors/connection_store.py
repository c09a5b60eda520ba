"""What every store of connections and grants does. A test module inherits the suites and gives them a `kit`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.connections import states
from connectors.connections.domain import AuditAction, ConnectionState, NoticeKind, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.ports import Change
from connectors.vault.domain import WrappedKey
from tests.conformance.connectors.connection_kit import KEY, MINUTE, NOW, TOKENS, Kit


class ConnectionStoreConformance:
    """Connections as users see them."""

    async def test_a_connection_is_read_as_it_was_stored(self, kit: Kit) -> None:
        grant = await kit.linked("anna")

        connection = await kit.connections.get(kit.user, grant.connection.connection_id)

        assert connection == grant.connection
        assert connection.scopes == TOKENS.scopes
        assert (connection.account_id, connection.account) == ("anna", "anna@example.org")

    async def test_somebody_elses_connection_is_unknown_just_as_one_that_is_not_there(self, kit: Kit) -> None:
        grant = await kit.linked()

        for user, connection_id in [("somebody", grant.connection.connection_id), (kit.user, "nothing")]:
            with pytest.raises(ConnectionUnknown):
                await kit.connections.get(user, connection_id)

    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    async def test_pages_hold_every_connection_once_newest_first(self, kit: Kit, limit: int) -> None:
        grants = [await kit.linked(at=NOW + (number // 2) * MINUTE) for number in range(5)]
        await kit.linked(user=f"{kit.user}-other")

        found, after = [], None
        while page := await kit.connections.page(kit.user, limit=limit, after=after, include_disconnected=False):
            assert len(page) <= limit
            found.extend(page)
            after = (page[-1].created_at, page[-1].connection_id)

        order = sorted((grant.connection for grant in grants), key=lambda one: (one.created_at, one.connection_id))
        assert found == order[::-1]

    async def test_those_that_were_ended_are_listed_only_if_asked_for(self, kit: Kit) -> None:
        ended, alive = await kit.linked(), await kit.linked()
        await kit.grants.change(ended.connection.connection_id, erase)

        usual = await kit.connections.page(kit.user, limit=10, after=None, include_disconnected=False)
        every = await kit.connections.page(kit.user, limit=10, after=None, include_disconnected=True)

        assert [one.connection_id for one in usual] == [alive.connection.connection_id]
        assert {one.connection_id for one in every} == {ended.connection.connection_id, alive.connection.connection_id}

    async def test_nobodys_user_means_all_users(self, kit: Kit) -> None:
        mine, theirs = await kit.linked(), await kit.linked(user=f"{kit.user}-other")

        found = await kit.connections.page(None, limit=1000, after=None, include_disconnected=True)

        ids = {one.connection_id for one in found}
        assert {mine.connection.connection_id, theirs.connection.connection_id} <= ids

    async def test_connections_are_loaded_by_their_ids_whoever_owns_them(self, kit: Kit) -> None:
        mine, theirs = await kit.linked(), await kit.linked(user=f"{kit.user}-other")
        ids = {mine.connection.connection_id, theirs.connection.connection_id}

        loaded = await kit.connections.load({*ids, "nothing"})

        assert loaded.keys() == ids
        assert loaded[mine.connection.connection_id] == mine.connection


def erase(grant: StoredGrant) -> Change | None:
    """End a connection."""
    erased = states.erased(grant, reason=states.REVOKED, now=NOW)
    return None if erased is None else Change(grant=erased)


class GrantStoreConformance:
    """Grants: read, changed, leased."""

    async def test_a_grant_is_read_as_it_was_stored(self, kit: Kit) -> None:
        grant = await kit.linked()

        assert await kit.grants.grant(grant.connection.connection_id) == grant
        assert (grant.grant_version, grant.refresh_token) == (1, TOKENS.refresh_token)
        with pytest.raises(ConnectionUnknown):
            await kit.grants.grant("nothing")

    async def test_a_change_is_stored_audited_and_told(self, kit: Kit) -> None:
        grant = await kit.linked()
        connection_id = grant.connection.connection_id
        await kit.notices()

        def refuse(current: StoredGrant) -> Change | None:
            refused = states.refused(current, known=1, reason="GRANT_REVOKED", claims="{}", now=NOW + MINUTE)
            assert refused is not None
            return Change(grant=refused, audit=(kit.event(connection_id, AuditAction.REFRESH_REFUSED),))

        changed = await kit.grants.change(connection_id, refuse)

        assert changed == await kit.grants.grant(connection_id)
        assert (changed.connection.state, changed.claims) == (ConnectionState.NEEDS_REAUTH, "{}")
        assert changed.connection.version == grant.connection.version + 1
        assert await kit.told() == [(NoticeKind.CHANGED, connection_id)]
        events = await kit.audit.page(user_id=kit.user, connection_id=connection_id, limit=1, before="")
        assert events[0].action is AuditAction.REFRESH_REFUSED

    async def test_no_decision_changes_nothing(self, kit: Kit) -> None:
        grant = await kit.linked()
        await kit.notices()

        assert await kit.grants.change(grant.connection.connection_id, lambda _grant: None) is None

        assert await kit.grants.grant(grant.connection.connection_id) == grant
        assert await kit.told() == []
        with pytest.raises(ConnectionUnknown):
            await kit.grants.change("nothing", lambda _grant: None)

    async def test_a_change_without_a_new_version_is_stored_and_not_told(self, kit: Kit) -> None:
        grant = await kit.linked()
        await kit.notices()

        def succeed(current: StoredGrant) -> Change | None:
            succeeded = states.succeeded(current, now=NOW + MINUTE)
            return None if succeeded is None else Change(grant=succeeded)

        await kit.grants.change(grant.connection.connection_id, succeed)

        stored = await kit.grants.grant(grant.connection.connection_id)
        assert stored.connection.last_success_at == NOW + MINUTE
        assert await kit.told() == []

    async def test_of_many_changes_at_once_each_sees_the_one_before(self, kit: Kit) -> None:
        grant = await kit.linked()

        def count(current: StoredGrant) -> Change:
            return Change(grant=replace(current, grant_version=current.grant_version + 1))

        await asyncio.gather(*(kit.grants.change(grant.connection.connection_id, count) for _ in range(8)))

        assert (await kit.grants.grant(grant.connection.connection_id)).grant_version == 9

    async def test_ending_a_connection_leaves_nothing_that_is_secret(self, kit: Kit) -> None:
        grant = await kit.linked()
        new = kit.new_flow(grant)
        await kit.begin(new)

        await kit.grants.change(grant.connection.connection_id, erase)

        stored = await kit.grants.grant(grant.connection.connection_id)
        assert (stored.wrapped_key, stored.refresh_token, stored.access_token) == (None, None, None)
        assert (stored.access_expires_at, stored.claims, stored.grant_version) == (None, "", 2)
        assert stored.connection.state is ConnectionState.DISCONNECTED
        assert await kit.flows.earlier(kit.user, new.request_id) is None

    async def test_a_new_data_key_takes_the_place_of_the_old_one(self, kit: Kit) -> None:
        grant = await kit.linked()

        def rekey(current: StoredGrant) -> Change:
            return Change(grant=replace(current, wrapped_key=WrappedKey("key-9", b"9"), grant_version=2), rekeyed=True)

        await kit.grants.change(grant.connection.connection_id, rekey)

        stored = await kit.grants.grant(grant.connection.connection_id)
        assert (grant.wrapped_key, stored.wrapped_key) == (KEY, WrappedKey("key-9", b"9"))

    async def test_an_account_is_found_by_its_user_only_and_not_when_it_was_ended(self, kit: Kit) -> None:
        account = f"account of {kit.user}"
        grant = await kit.linked(account)
        await kit.pending()

        assert await kit.grants.of_account(kit.user, "gmail", account) == grant
        assert await kit.grants.of_account("somebody", "gmail", account) is None
        assert await kit.grants.of_account(kit.user, "outlook", account) is None
        assert await kit.grants.of_account(kit.user, "gmail", "") is None
        assert await kit.grants.is_linked("gmail", account)
        assert not await kit.grants.is_linked("outlook", account)
        assert not await kit.grants.is_linked("gmail", "")
        await kit.grants.change(grant.connection.connection_id, erase)
        assert await kit.grants.of_account(kit.user, "gmail", account) is None
        assert not await kit.grants.is_linked("gmail", account)

    async def test_one_owner_at_a_time_has_the_lease(self, kit: Kit) -> None:
        grant = await kit.linked()
        connection_id = grant.connection.connection_id

        taken = await asyncio.gather(
            *(kit.grants.take_lease(connection_id, grant_version=1, owner=f"o-{n}", seconds=60) for n in range(6))
        )

        assert taken.count(True) == 1
        await kit.grants.release_lease(connection_id, owner="somebody")
        assert not await kit.grants.take_lease(connection_id, grant_version=1, owner="late", seconds=60)
        await kit.notices()
        await kit.grants.release_lease(connection_id, owner=f"o-{taken.index(True)}")
        assert await kit.told() == [(NoticeKind.RELEASED, connection_id)]
        assert await kit.grants.take_lease(connection_id, grant_version=1, owner="late", seconds=60)

    async def test_a_lease_runs_out(self, kit: Kit) -> None:
        grant = await kit.linked()
        connection_id = grant.connection.connection_id
        assert await kit.grants.take_lease(connection_id, grant_version=1, owner="stalled", seconds=60)

        await kit.expire_leases()

        assert await kit.grants.take_lease(connection_id, grant_version=1, owner="next", seconds=60)
        await kit.grants.release_lease(connection_id, owner="stalled")
        assert not await kit.grants.take_lease(connection_id, grant_version=1, owner="third", seconds=60)

    async def test_a_lease_is_for_one_version_of_the_grant_and_ends_with_it(self, kit: Kit) -> None:
        grant = await kit.linked()
        connection_id = grant.connection.connection_id
        assert not await kit.grants.take_lease(connection_id, grant_version=0, owner="old", seconds=60)
        assert not await kit.grants.take_lease("nothing", grant_version=0, owner="old", seconds=60)
        assert await kit.grants.take_lease(connection_id, grant_version=1, owner="first", seconds=60)

        def refresh(current: StoredGrant) -> Change | None:
            refreshed = states.refreshed(current, TOKENS, known=1, now=NOW)
            return None if refreshed is None else Change(grant=refreshed)

        await kit.grants.change(connection_id, refresh)

        assert await kit.grants.take_lease(connection_id, grant_version=2, owner="second", seconds=60)

    async def test_stale_grants_are_those_that_work_with_old_tokens(self, kit: Kit) -> None:
        old, blocked, dead, fresh = [await kit.linked() for _ in range(4)]
        await kit.become(blocked, state=ConnectionState.BLOCKED)
        await kit.become(dead, state=ConnectionState.NEEDS_REAUTH)

        def renew(current: StoredGrant) -> Change:
            return Change(grant=replace(current, access_expires_at=NOW + timedelta(days=2)))

        await kit.grants.change(fresh.connection.connection_id, renew)

        found = [one.connection_id for one in await kit.grants.stale(NOW + 61 * MINUTE, after="", limit=1000)]

        mine = [one.connection.connection_id for one in (old, blocked, dead, fresh)]
        assert [one for one in found if one in mine] == sorted(mine[:2])
        later = await kit.grants.stale(NOW + 61 * MINUTE, after=min(mine[:2]), limit=1000)
        assert [one.connection_id for one in later if one.connection_id in mine] == [max(mine[:2])]
        assert len(await kit.grants.stale(NOW + 61 * MINUTE, after="", limit=1)) == 1

    async def test_what_does_not_open_is_found(self, kit: Kit) -> None:
        broken, whole = await kit.linked(), await kit.linked()
        await kit.become(broken, state=ConnectionState.DECRYPT_FAILED)

        found = [one.connection_id for one in await kit.grants.undecryptable(after="", limit=1000)]

        assert broken.connection.connection_id in found
        assert whole.connection.connection_id not in found
        after = broken.connection.connection_id
        assert broken.connection.connection_id not in [
            one.connection_id for one in await kit.grants.undecryptable(after=after, limit=1000)
        ]

    async def test_throttles_that_are_over_are_ended(self, kit: Kit) -> None:
        over, lasting = await kit.linked(), await kit.linked()
        throttled = ConnectionState.THROTTLED
        await kit.become(over, state=throttled, next_allowed_at=NOW + MINUTE)
        await kit.become(lasting, state=throttled, next_allowed_at=NOW + 3 * MINUTE)
        await kit.notices()

        assert await kit.grants.end_throttles(NOW + 2 * MINUTE) == 1

        assert await kit.told() == [(NoticeKind.CHANGED, over.connection.connection_id)]
        ended = (await kit.grants.grant(over.connection.connection_id)).connection
        assert (ended.state, ended.next_allowed_at) == (ConnectionState.ACTIVE, None)
        assert (await kit.grants.grant(lasting.connection.connection_id)).connection.state is throttled
        await kit.grants.end_throttles(NOW + 4 * MINUTE)

    async def test_a_resync_is_told(self, kit: Kit) -> None:
        grant = await kit.linked()
        await kit.notices()

        await kit.tell.resynced(grant.connection.connection_id)
        await kit.tell.resynced("nothing")

        assert await kit.told() == [(NoticeKind.RESYNCED, grant.connection.connection_id)]
