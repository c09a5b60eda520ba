"""Attachments: bounded, in pieces, and closed at once when their caller leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from adiuva_rpc.errors import Internal, InvalidArgument
from connectors.connections.domain import ConnectionState
from connectors.errors import AttachmentGone, AttachmentTooLarge, ProviderUnavailable, Throttled
from connectors.messages.attachments import MAX_BYTES, PIECE_BYTES, AttachmentRequest
from connectors.providers.port import Session
from tests.connectors.messages.lab import Lab, Stopped


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


def request(lab: Lab, **changes: Any) -> AttachmentRequest:
    fields = {
        "user_id": "anna",
        "connection_id": "c-1",
        "provider_id": "m",
        "attachment_id": "a",
        "deadline": lab.clock.now() + timedelta(minutes=1),
    }
    return AttachmentRequest(**{**fields, **changes})


async def carried(lab: Lab, **changes: Any) -> list[bytes]:
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    await lab.attachments.fetch(request(lab, **changes), take)
    return pieces


async def test_the_largest_attachment_comes_whole(lab: Lab) -> None:
    lab.fake.attachments["m", "a"] = [bytes(MAX_BYTES - 1), b"x"]

    pieces = await carried(lab)

    assert sum(map(len, pieces)) == MAX_BYTES
    assert {len(piece) for piece in pieces} == {PIECE_BYTES}
    assert lab.health.told == ["succeeded"]


async def test_one_byte_more_is_too_large(lab: Lab) -> None:
    lab.fake.attachments["m", "a"] = [bytes(MAX_BYTES), b"x"]

    with pytest.raises(AttachmentTooLarge):
        await carried(lab)

    assert lab.fake.open_attachments == 0


async def test_an_attachment_that_is_gone_says_so(lab: Lab) -> None:
    with pytest.raises(AttachmentGone):
        await carried(lab, attachment_id="b")


async def test_leaving_closes_it_at_once(lab: Lab) -> None:
    lab.fake.attachments["m", "a"] = [bytes(PIECE_BYTES)] * 10

    async def leave(piece: bytes) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await lab.attachments.fetch(request(lab), leave)

    assert lab.fake.open_attachments == 0


async def test_nothing_is_read_ahead_of_the_caller(lab: Lab) -> None:
    given = 0

    def counted(session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal given
            for _ in range(10):
                given += 1
                yield bytes(PIECE_BYTES)

        return pieces()

    lab.fake.attachment = counted  # type: ignore[method-assign]  # counts what is taken
    seen: list[int] = []

    async def take(piece: bytes) -> None:
        seen.append(given)

    await lab.attachments.fetch(request(lab), take)

    assert seen == list(range(1, 11))


async def test_a_fault_is_told_to_the_connections_health(lab: Lab) -> None:
    for error, kind in ((ProviderUnavailable(), ProviderUnavailable), (KeyError("text"), Internal)):

        def failing(_session: Session, _provider_id: str, _attachment_id: str, error: Any = error) -> Any:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"x"
                raise error

            return pieces()

        lab.fake.attachment = failing  # type: ignore[method-assign,assignment]  # fails in the middle
        with pytest.raises(kind):
            await carried(lab)

    assert lab.health.told == ["PROVIDER_UNAVAILABLE", "INTERNAL"]


async def test_a_pause_is_kept_here_too(lab: Lab) -> None:
    lab.fake.attachments["m", "a"] = [b"x"]
    until = lab.clock.now() + timedelta(seconds=30)
    lab.connections.change("c-1", state=ConnectionState.THROTTLED, next_allowed_at=until)

    assert await carried(lab) == [b"x"]
    assert lab.clock.now() == until
    lab.connections.change("c-1", next_allowed_at=until + timedelta(hours=1))
    with pytest.raises(Throttled):
        await carried(lab)


@pytest.mark.parametrize("changes", [{"provider_id": ""}, {"attachment_id": "x\n"}, {"provider_id": "x" * 3_000}])
def test_what_names_no_attachment_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        AttachmentRequest(
            **{
                "user_id": "anna",
                "connection_id": "c",
                "provider_id": "m",
                "attachment_id": "a",
                "deadline": None,
                **changes,
            }  # type: ignore[arg-type]  # the deadline does not matter here
        )
