"""What every keeper of key-encryption keys does. A test module inherits the suite and gives it a `lab`."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from connectors.vault.domain import DATA_KEY, KeyMissing, Undecryptable
from connectors.vault.ports import KeyProvider

DEK = bytes(range(32))
CONTEXT = b"\x00\x01context\xff"
MAX_BLOB_BYTES = 1024


class KeyProviderLab(Protocol):
    """A keeper of keys with one key, and the operator who changes them."""

    @property
    def keys(self) -> KeyProvider: ...

    async def add(self) -> str:
        """Make a key, the current one from now on, and return its id."""
        ...

    async def forget(self, key_id: str) -> None:
        """Remove a key that is not the current one, though it may be needed."""
        ...


class KeyProviderConformance:
    """The suite."""

    async def test_what_is_wrapped_unwraps_in_its_context(self, lab: KeyProviderLab) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)

        assert wrapped.key_id == await lab.keys.current_key_id()
        assert await lab.keys.unwrap(wrapped, CONTEXT) == DEK

    async def test_a_wrapped_key_shows_nothing_and_is_never_the_same_twice(self, lab: KeyProviderLab) -> None:
        wrapped = [await lab.keys.wrap(DEK, CONTEXT) for _ in range(10)]

        assert len({one.blob for one in wrapped}) == 10
        assert all(DEK not in one.blob and len(one.blob) < MAX_BLOB_BYTES for one in wrapped)

    @pytest.mark.parametrize("context", [b"", CONTEXT + b"\x00", CONTEXT[:-1], b"context"])
    async def test_in_another_context_it_does_not_unwrap(self, lab: KeyProviderLab, context: bytes) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)

        with pytest.raises(Undecryptable) as caught:
            await lab.keys.unwrap(wrapped, context)

        assert (caught.value.key_id, caught.value.field) == (wrapped.key_id, DATA_KEY)

    async def test_changed_anywhere_it_does_not_unwrap(self, lab: KeyProviderLab) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)

        for place in range(len(wrapped.blob)):
            changed = bytearray(wrapped.blob)
            changed[place] ^= 1
            with pytest.raises(Undecryptable):
                await lab.keys.unwrap(replace(wrapped, blob=bytes(changed)), CONTEXT)

    async def test_cut_off_anywhere_or_longer_it_does_not_unwrap(self, lab: KeyProviderLab) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)

        for blob in [*(wrapped.blob[:length] for length in range(len(wrapped.blob))), wrapped.blob + b"\x00"]:
            with pytest.raises(Undecryptable):
                await lab.keys.unwrap(replace(wrapped, blob=blob), CONTEXT)

    async def test_a_new_key_wraps_and_the_old_one_still_unwraps(self, lab: KeyProviderLab) -> None:
        before = await lab.keys.wrap(DEK, CONTEXT)

        key_id = await lab.add()

        after = await lab.keys.wrap(DEK, CONTEXT)
        assert await lab.keys.current_key_id() == after.key_id == key_id != before.key_id
        assert await lab.keys.unwrap(before, CONTEXT) == await lab.keys.unwrap(after, CONTEXT) == DEK

    async def test_under_the_name_of_another_key_it_does_not_unwrap(self, lab: KeyProviderLab) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)
        other = await lab.add()

        with pytest.raises(Undecryptable) as caught:
            await lab.keys.unwrap(replace(wrapped, key_id=other), CONTEXT)

        assert caught.value.key_id == other

    async def test_without_its_key_it_is_missing_by_name(self, lab: KeyProviderLab) -> None:
        wrapped = await lab.keys.wrap(DEK, CONTEXT)
        await lab.add()

        await lab.forget(wrapped.key_id)

        with pytest.raises(KeyMissing) as caught:
            await lab.keys.unwrap(wrapped, CONTEXT)
        assert caught.value.key_id == wrapped.key_id
        with pytest.raises(KeyMissing, match="never-there"):
            await lab.keys.unwrap(replace(wrapped, key_id="never-there"), CONTEXT)
