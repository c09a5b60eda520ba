"""Sealed bytes open as they were, with their key and their associated data, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connectors.vault.sealing import FORMAT, Box, NotOpened, bound, new_key

OVERHEAD = 29


@given(plaintext=st.binary(max_size=4096), associated=st.binary(max_size=64))
def test_what_is_sealed_opens_as_it_was(plaintext: bytes, associated: bytes) -> None:
    box = Box(new_key())

    sealed = box.seal(plaintext, associated)

    assert box.open(sealed, associated) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert sealed.startswith(FORMAT)


def test_the_same_text_is_never_sealed_the_same() -> None:
    box = Box(new_key())

    sealed = [box.seal(b"text", b"") for _ in range(1000)]

    assert len({one[1:13] for one in sealed}) == 1000
    assert len({one[13:] for one in sealed}) == 1000


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_any_byte_that_is_changed_makes_it_not_open(mask: int) -> None:
    box = Box(new_key())
    sealed = box.seal(b"some text", b"place")

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= mask
        with pytest.raises(NotOpened):
            box.open(bytes(changed), b"place")


def test_cut_off_anywhere_or_longer_it_does_not_open() -> None:
    box = Box(new_key())
    sealed = box.seal(b"some text", b"place")

    for wrong in [*(sealed[:length] for length in range(len(sealed))), sealed[1:], sealed + b"\x00", b"\x00" + sealed]:
        with pytest.raises(NotOpened):
            box.open(wrong, b"place")


def test_another_key_does_not_open_it() -> None:
    sealed = Box(new_key()).seal(b"some text", b"place")

    with pytest.raises(NotOpened):
        Box(new_key()).open(sealed, b"place")


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Box(bytes(length))


@given(one=st.lists(st.binary(max_size=8), max_size=5), other=st.lists(st.binary(max_size=8), max_size=5))
def test_different_parts_never_give_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (bound(*one) == bound(*other)) == (one == other)


def test_parts_that_run_together_are_told_apart() -> None:
    parts = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"), (b"\x00\x00\x00\x01a", b"bc")]

    assert len({bound(*these) for these in parts}) == len(parts)
