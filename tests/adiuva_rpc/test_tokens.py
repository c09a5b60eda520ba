"""Bearer tokens and their file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from adiuva_rpc.identity import Caller, Role
from adiuva_rpc.tokens import EnrolmentCodes, FirstOf, TokenFile, TokenFileError, new_token, token_hash

ANNA = {"name": "anna's cli", "role": "user", "user_id": "anna", "sha256": token_hash("secret-of-anna")}
BRIDGE = {"name": "bridge", "role": "SERVICE", "sha256": token_hash("secret-of-bridge")}

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: Any) -> Path:
        path = tmp_path / "tokens.json"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(len(token) >= 43 and token_hash(token) == digest for token, digest in tokens)


async def test_a_token_is_recognised_by_its_hash(write: Write) -> None:
    file = TokenFile(write([ANNA, BRIDGE]))

    assert await file.authenticate("bearer", "secret-of-anna") == Caller(
        role=Role.USER, name="anna's cli", user_id="anna"
    )
    assert await file.authenticate("bearer", "secret-of-bridge") == Caller(role=Role.SERVICE, name="bridge")
    assert await file.authenticate("bearer", "secret-of-nobody") is None
    assert await file.authenticate("bearer", ANNA["sha256"]) is None
    assert await file.authenticate("basic", "secret-of-anna") is None
    assert await file.authenticate("bearer", "tökèn\udcff") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not JSON"),
        ({}, "not a list"),
        (["x"], "entry 1: not an object"),
        ([ANNA, {**ANNA, "name": ""}], "entry 2: name is missing"),
        ([{**ANNA, "role": "device"}], "role must be service or user"),
        ([{**ANNA, "user_id": ""}], "a user has a user_id"),
        ([{**BRIDGE, "user_id": "anna"}], "a service has none"),
        ([{**BRIDGE, "sha256": "secret-of-bridge"}], "sha256 must be 64 hex digits"),
        ([{**BRIDGE, "token": "secret-of-bridge"}], "unknown keys: token"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused(write: Write, content: Any, fault: str) -> None:
    with pytest.raises(TokenFileError, match=fault) as caught:
        TokenFile(write(content))
    assert "secret-of" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(write: Write, mode: int) -> None:
    path = write([ANNA])
    path.chmod(mode)

    with pytest.raises(TokenFileError, match="chmod 600"):
        TokenFile(path)


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"absent\.json"):
        TokenFile(tmp_path / "absent.json")


async def test_a_changed_file_is_read_again(write: Write) -> None:
    file = TokenFile(write([ANNA]))

    write([BRIDGE])

    assert await file.authenticate("bearer", "secret-of-anna") is None
    assert await file.authenticate("bearer", "secret-of-bridge") is not None


@pytest.mark.parametrize("damage", ["not JSON", None])
async def test_a_damaged_file_leaves_the_last_good_one_in_force(write: Write, damage: str | None) -> None:
    path = write([ANNA])
    file = TokenFile(path)
    if damage is None:
        path.unlink()
    else:
        write(damage)

    with structlog.testing.capture_logs() as logs:
        assert await file.authenticate("bearer", "secret-of-anna") is not None
        assert await file.authenticate("bearer", "secret-of-anna") is not None

    assert [line["event"] for line in logs] == ["token file not reloaded"]


async def test_an_enrolment_code_is_carried_to_the_session() -> None:
    codes = EnrolmentCodes()

    caller = await codes.authenticate("enrolment", "CODE-1234")

    assert caller is not None
    assert (caller.role, caller.code) == (Role.ENROLLING, "CODE-1234")
    assert await codes.authenticate("bearer", "CODE-1234") is None
    assert await codes.authenticate("enrolment", "short") is None
    assert await codes.authenticate("enrolment", "x" * 129) is None
    assert await codes.authenticate("enrolment", "code with spaces") is None


async def test_the_first_authenticator_that_knows_the_credential_decides(write: Write) -> None:
    chain = FirstOf(TokenFile(write([ANNA])), EnrolmentCodes())

    by_token = await chain.authenticate("bearer", "secret-of-anna")
    by_code = await chain.authenticate("enrolment", "CODE-1234")

    assert by_token is not None
    assert by_token.role is Role.USER
    assert by_code is not None
    assert by_code.role is Role.ENROLLING
    assert await chain.authenticate("bearer", "unknown") is None
