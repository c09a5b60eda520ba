"""What is sealed for one place of one connection opens there and nowhere else."""

from __future__ import annotations

import copy
import pickle
import traceback
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from connectors.vault.domain import DATA_KEY, KeyMissing, KeyProviderUnavailable, Owner, Undecryptable, WrappedKey
from connectors.vault.sealing import Box, bound, new_key
from connectors.vault.vault import ConnectionKey, Vault
from tests.fakes.key_provider import InMemoryKeys

ANNA = Owner("anna", "c-1")
CANARY = b"1//canary-refresh-token-4711"
FIELD = "refresh_token"

names = st.text(max_size=12)
versions = st.integers(0, 2**63 - 1)
places = st.tuples(st.builds(Owner, names, names), names, versions)


class ShortKeys(InMemoryKeys):
    """A keeper that unwraps to something else than a key."""

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        return (await super().unwrap(wrapped, context))[:16]


@pytest.fixture
def keys() -> InMemoryKeys:
    return InMemoryKeys()


@pytest.fixture
def vault(keys: InMemoryKeys) -> Vault:
    return Vault(keys)


async def test_a_secret_opens_with_its_connections_key(vault: Vault) -> None:
    wrapped = await vault.new_key(ANNA)
    sealed = (await vault.open_key(ANNA, wrapped)).seal(FIELD, 3, CANARY)

    assert (await vault.open_key(ANNA, wrapped)).open(FIELD, 3, sealed) == CANARY


@given(place=places, plaintext=st.binary(max_size=1024))
def test_a_secret_opens_as_it_was_in_any_place(place: tuple[Owner, str, int], plaintext: bytes) -> None:
    owner, field, version = place
    key = ConnectionKey(owner, "key-1", Box(new_key()))

    sealed = key.seal(field, version, plaintext)

    assert key.open(field, version, sealed) == plaintext
    assert len(sealed) == len(plaintext) + 29


@given(place=places, other=places)
def test_a_secret_opens_in_no_other_place_even_with_the_same_key(
    place: tuple[Owner, str, int], other: tuple[Owner, str, int]
) -> None:
    box = Box(new_key())
    owner, field, version = place
    sealed = ConnectionKey(owner, "key-1", box).seal(field, version, CANARY)
    moved = ConnectionKey(other[0], "key-1", box)

    if place == other:
        assert moved.open(other[1], other[2], sealed) == CANARY
    else:
        with pytest.raises(Undecryptable):
            moved.open(other[1], other[2], sealed)


@pytest.mark.parametrize(
    ("owner", "field", "version"),
    [
        (Owner("bert", "c-1"), FIELD, 3),
        (Owner("anna", "c-2"), FIELD, 3),
        (Owner("annac", "-1"), FIELD, 3),
        (Owner("c-1", "anna"), FIELD, 3),
        (Owner("anna", "c-1refresh"), "_token", 3),
        (ANNA, "access_token", 3),
        (ANNA, "", 3),
        (ANNA, FIELD, 2),
        (ANNA, FIELD, 4),
    ],
)
async def test_a_row_that_was_moved_does_not_open(vault: Vault, owner: Owner, field: str, version: int) -> None:
    wrapped = await vault.new_key(ANNA)
    key = await vault.open_key(ANNA, wrapped)
    sealed = key.seal(FIELD, 3, CANARY)
    own = await vault.open_key(owner, await vault.new_key(owner))

    # The secret alone was moved: not even the key that sealed it opens it there.
    for moved in (own, ConnectionKey(owner, wrapped.key_id, key._box)):
        with pytest.raises(Undecryptable) as caught:
            moved.open(field, version, sealed)
        assert (caught.value.field, caught.value.key_id) == (field, wrapped.key_id)

    if owner != ANNA:  # it was moved with its key
        with pytest.raises(Undecryptable) as caught:
            await vault.open_key(owner, wrapped)
        assert (caught.value.field, caught.value.key_id) == (DATA_KEY, wrapped.key_id)


async def test_a_secret_that_is_changed_or_cut_off_does_not_open(vault: Vault) -> None:
    key = await vault.open_key(ANNA, await vault.new_key(ANNA))
    sealed = key.seal(FIELD, 1, CANARY)
    flipped = [sealed[:place] + bytes([sealed[place] ^ 0x10]) + sealed[place + 1 :] for place in range(len(sealed))]

    for wrong in [*flipped, *(sealed[:length] for length in range(len(sealed))), sealed + b"\x00"]:
        with pytest.raises(Undecryptable):
            key.open(FIELD, 1, wrong)


async def test_connections_have_different_keys(vault: Vault) -> None:
    first = await vault.open_key(ANNA, await vault.new_key(ANNA))
    second = await vault.open_key(ANNA, await vault.new_key(ANNA))

    with pytest.raises(Undecryptable):
        second.open(FIELD, 1, first.seal(FIELD, 1, CANARY))


@pytest.mark.parametrize("version", [-1, 2**63])
async def test_a_version_that_cannot_be_is_refused(vault: Vault, version: int) -> None:
    key = await vault.open_key(ANNA, await vault.new_key(ANNA))

    with pytest.raises(ValueError, match="version"):
        key.seal(FIELD, version, CANARY)
    with pytest.raises(ValueError, match="version"):
        key.open(FIELD, version, key.seal(FIELD, 1, CANARY))


async def test_a_key_is_rewrapped_and_opens_what_it_sealed_before(vault: Vault, keys: InMemoryKeys) -> None:
    old = await vault.new_key(ANNA)
    sealed = (await vault.open_key(ANNA, old)).seal(FIELD, 1, CANARY)
    newest = await keys.add()

    new = await vault.rewrap(ANNA, old)

    assert new is not None
    assert new.key_id == newest == await vault.current_key_id()
    await keys.forget(old.key_id)
    assert (await vault.open_key(ANNA, new)).open(FIELD, 1, sealed) == CANARY


async def test_a_key_under_the_current_one_is_not_rewrapped(vault: Vault) -> None:
    assert await vault.rewrap(ANNA, await vault.new_key(ANNA)) is None


async def test_a_key_is_not_rewrapped_for_another_owner(vault: Vault, keys: InMemoryKeys) -> None:
    wrapped = await vault.new_key(ANNA)
    await keys.add()

    with pytest.raises(Undecryptable):
        await vault.rewrap(Owner("bert", "c-1"), wrapped)


async def test_a_key_that_was_removed_too_early_is_missing_by_name_and_opens_when_it_is_back(
    vault: Vault, keys: InMemoryKeys
) -> None:
    wrapped = await vault.new_key(ANNA)
    await keys.add()
    kept = keys._boxes[wrapped.key_id]
    await keys.forget(wrapped.key_id)

    for attempt in (vault.open_key, vault.rewrap):
        with pytest.raises(KeyMissing, match=f"'{wrapped.key_id}' is missing. Put it back"):
            await attempt(ANNA, wrapped)

    keys._boxes[wrapped.key_id] = kept
    assert (await vault.open_key(ANNA, wrapped)).key_id == wrapped.key_id


async def test_a_keeper_that_is_away_is_an_error_and_nothing_goes_on_without_it(
    vault: Vault, keys: InMemoryKeys
) -> None:
    wrapped = await vault.new_key(ANNA)
    keys.lost = True

    for attempt in (vault.new_key(ANNA), vault.open_key(ANNA, wrapped), vault.rewrap(ANNA, wrapped)):
        with pytest.raises(KeyProviderUnavailable):
            await attempt


async def test_a_key_of_another_length_than_ours_is_not_used() -> None:
    vault = Vault(ShortKeys())
    wrapped = await vault.new_key(ANNA)

    with pytest.raises(Undecryptable) as caught:
        await vault.open_key(ANNA, wrapped)
    assert caught.value.field == DATA_KEY


async def test_no_unwrapped_key_outlives_its_removal(vault: Vault, keys: InMemoryKeys) -> None:
    wrapped = await vault.new_key(ANNA)
    await vault.open_key(ANNA, wrapped)
    await keys.add()

    await keys.forget(wrapped.key_id)

    with pytest.raises(KeyMissing):
        await vault.open_key(ANNA, wrapped)


async def test_neither_secret_nor_key_shows_anywhere() -> None:
    seen: list[bytes] = []

    class Listening(InMemoryKeys):
        async def wrap(self, dek: bytes, context: bytes) -> WrappedKey:
            seen.append(dek)
            return await super().wrap(dek, context)

    vault = Vault(Listening())
    wrapped = await vault.new_key(ANNA)
    key = await vault.open_key(ANNA, wrapped)
    sealed = key.seal(FIELD, 1, CANARY)
    shown = [repr(vault), repr(key), str(key), repr(key._box), repr(wrapped)]
    for wrong in (sealed[:-1], CANARY, CANARY * 2):
        try:
            key.open(FIELD, 1, wrong)
        except Undecryptable as error:
            shown += [str(error), repr(error), repr(error.metadata), "".join(traceback.format_exception(error))]
    try:
        await vault.open_key(ANNA, replace(wrapped, blob=CANARY))
    except Undecryptable as error:
        shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
    hidden = [CANARY, *seen]

    assert len(seen) == 1
    assert len(shown) == 20
    assert all(secret not in stored for secret in hidden for stored in (sealed, wrapped.blob))
    for text in shown:
        assert all(secret.decode("latin-1") not in text and secret.hex() not in text for secret in hidden)
        assert all(repr(secret) not in text for secret in hidden)


async def test_an_open_key_is_neither_copied_nor_stored(vault: Vault) -> None:
    key = await vault.open_key(ANNA, await vault.new_key(ANNA))

    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied"):
            attempt(key)
    assert not hasattr(key, "__dict__")


def test_what_is_bound_begins_with_what_it_is_for() -> None:
    """A wrapped key and a secret can never be taken for one another, not even under the same key."""
    key = ConnectionKey(ANNA, "key-1", Box(new_key()))

    assert key._place(FIELD, 1).startswith(bound(b"adiuva connection secret"))
