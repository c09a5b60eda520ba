"""Grants that do not open: a missing key is a state that says which key, and goes away when the key is back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.connections.domain import AuditAction, Connection, ConnectionState, StoredGrant
from connectors.errors import DecryptFailed, Disconnected
from connectors.vault.domain import KeyProviderUnavailable
from connectors.vault.rotation import rotate
from tests.connectors.connections.lab import USER, Lab, with_fields
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.key_store import InMemoryKeyStore


async def lose_key(lab: Lab) -> object:
    """Take the only key away, for another one; return it."""
    box = lab.world.keys._boxes["key-1"]
    await lab.world.keys.add()
    await lab.world.keys.forget("key-1")
    return box


def bring_back(lab: Lab, box: object) -> None:
    lab.world.keys._boxes["key-1"] = box  # type: ignore[assignment]  # what was taken from there


async def test_a_key_that_was_removed_early_is_a_state_with_the_keys_name(
    lab: Lab, store: InMemoryConnections, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = await lab.link()
    await lose_key(lab)

    for _ in range(3):
        with pytest.raises(DecryptFailed) as failed:
            await lab.token(connection)

    stored = await lab.stored(connection)
    assert (stored.state, stored.reason) == (ConnectionState.DECRYPT_FAILED, "KEY_MISSING")
    assert "'key-1'" in stored.message
    assert (failed.value.message, failed.value.metadata) == (stored.message, {"key_id": "key-1"})
    assert store.actions(connection.connection_id).count(AuditAction.DECRYPT_FAILED) == 1
    assert capsys.readouterr().out.count("grant does not open") == 1
    assert lab.identity.refreshes == 0


async def test_with_the_key_back_the_connection_works_again_by_being_used(lab: Lab) -> None:
    connection = await lab.link()
    box = await lose_key(lab)
    with pytest.raises(DecryptFailed):
        await lab.token(connection)

    bring_back(lab, box)

    assert lab.identity.accepts(await lab.token(connection))
    stored = await lab.stored(connection)
    assert (stored.state, stored.reason, stored.message) == (ConnectionState.ACTIVE, "", "")


async def test_with_the_key_back_the_connection_works_again_by_itself(lab: Lab) -> None:
    connection = await lab.link()
    box = await lose_key(lab)
    with pytest.raises(DecryptFailed):
        await lab.opener.key(connection.connection_id)
    await lab.upkeep.reopen()
    assert await lab.state(connection) is ConnectionState.DECRYPT_FAILED

    bring_back(lab, box)
    await lab.upkeep.reopen()

    assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_a_key_service_that_is_away_says_nothing_about_the_grant(lab: Lab) -> None:
    connection = await lab.link()
    lab.world.keys.lost = True

    with pytest.raises(KeyProviderUnavailable):
        await lab.token(connection)
    with pytest.raises(KeyProviderUnavailable):
        await lab.opener.key(connection.connection_id)

    assert await lab.state(connection) is ConnectionState.ACTIVE


@pytest.mark.parametrize("column", ["refresh_token", "access_token", "wrapped_key"])
async def test_what_is_put_into_the_row_of_another_user_does_not_open(
    lab: Lab, store: InMemoryConnections, column: str
) -> None:
    anna, ben = await lab.link(), await lab.link("ben@example.org", user="ben")
    mine, theirs = await lab.grant(anna), await lab.grant(ben)
    store.put(swapped(mine, theirs, column))
    store.put(swapped(theirs, mine, column))

    for connection in (anna, ben):
        with pytest.raises(DecryptFailed):
            await lab.token(connection)
        assert (await lab.stored(connection)).reason == "UNDECRYPTABLE"


async def test_not_even_a_whole_row_opens_for_another_user_or_connection(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    grant = await lab.grant(connection)
    for other in (with_fields(grant, user_id="ben"), with_fields(grant, connection_id="another")):
        store.put(other)
        with pytest.raises(DecryptFailed):
            await lab.keeper.access(other.connection.connection_id)


async def test_tokens_of_an_older_version_do_not_open(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    old = await lab.grant(connection)
    lab.expire()
    await lab.token(connection)

    store.put(replace(await lab.grant(connection), refresh_token=old.refresh_token, access_token=old.access_token))

    with pytest.raises(DecryptFailed):
        await lab.token(connection)


async def test_a_rotation_of_keys_changes_nothing_for_those_at_work(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    keys = InMemoryKeyStore()
    grant = await lab.grant(connection)
    assert grant.wrapped_key is not None
    await keys.put(connection.owner, grant.wrapped_key)
    await lab.world.keys.add()
    await rotate(keys, lab.vault)
    store.put(replace(grant, wrapped_key=await keys.stored(connection.owner)))
    await lab.world.keys.forget("key-1")

    lab.expire()

    assert lab.identity.accepts(await lab.token(connection))


async def test_a_data_key_is_opened_for_what_else_is_sealed_with_it(lab: Lab) -> None:
    connection = await lab.link()

    key = await lab.opener.key(connection.connection_id)

    assert key.open("cursor", 1, key.seal("cursor", 1, b"state")) == b"state"
    assert key.owner == connection.owner
    await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
    with pytest.raises(Disconnected):
        await lab.opener.key(connection.connection_id)


def swapped(grant: StoredGrant, other: StoredGrant, column: str) -> StoredGrant:
    """Return the grant with a column of the other's."""
    return replace(grant, **{column: getattr(other, column)})


async def test_a_connection_shows_no_address_when_it_is_printed(lab: Lab) -> None:
    connection: Connection = await lab.link()

    assert "canary" not in repr(connection)
    assert "canary" not in repr(await lab.grant(connection))
