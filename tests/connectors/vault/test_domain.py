"""What the errors of the vault tell, and what they do not."""

from __future__ import annotations

import grpc
import pytest

from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.status import BASE_STATUS
from connectors.vault.domain import KeyMissing, KeyProviderUnavailable, Owner, StoredKey, Undecryptable, WrappedKey

ERRORS = [
    (KeyMissing("2026-11"), grpc.StatusCode.INTERNAL, "KEY_MISSING"),
    (Undecryptable("2026-11", "refresh_token"), grpc.StatusCode.INTERNAL, "UNDECRYPTABLE"),
    (KeyProviderUnavailable(), grpc.StatusCode.UNAVAILABLE, "KEY_PROVIDER_UNAVAILABLE"),
]


@pytest.mark.parametrize(("error", "code", "reason"), ERRORS)
def test_an_error_has_a_status_a_reason_and_a_sentence(error: AdiuvaError, code: grpc.StatusCode, reason: str) -> None:
    assert BASE_STATUS[type(error)] is code
    assert error.reason == reason
    assert str(error).endswith(".")
    assert len(str(error).encode()) < 512


def test_a_missing_key_is_named_with_what_to_do() -> None:
    error = KeyMissing("2026-11")

    assert error.metadata == {"key_id": "2026-11"}
    assert "'2026-11' is missing" in str(error)
    assert "Put it back" in str(error)


def test_what_does_not_open_is_named_with_its_key() -> None:
    error = Undecryptable("2026-11", "refresh_token")

    assert error.metadata == {"key_id": "2026-11", "field": "refresh_token"}
    assert "'refresh_token'" in str(error)
    assert "'2026-11'" in str(error)


def test_a_wrapped_key_does_not_show_its_bytes() -> None:
    stored = StoredKey(Owner("anna", "gmail"), WrappedKey("2026-11", b"canary"))

    assert "canary" not in repr(stored)
    assert "2026-11" in repr(stored)
