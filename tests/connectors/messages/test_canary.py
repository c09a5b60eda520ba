"""What people wrote, who they are and what opens their mail is in no log line, no error and no repr."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from structlog.testing import capture_logs

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from connectors.errors import NeedsReauth, ProviderUnavailable
from connectors.messages.domain import Attachment, LeftOut, Message, MessageFilter, Participant, Unreadable, Vanished
from connectors.messages.events import Checkpoint, Completed
from tests.connectors.messages.lab import NOON, FixedTokens, Lab
from tests.connectors.messages.wire import Bench

CANARY = "canary-7f3a"


class Tokens(FixedTokens):
    async def token(self) -> str:
        return f"{CANARY}-access-token"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    lab = await Lab.linked()
    lab.connections.tokens = Tokens()
    lab.connections.change("c-1", account=f"{CANARY}@example.org")
    async with Bench(lab) as bench:
        yield bench


async def test_nothing_of_a_message_is_logged_or_told_in_errors(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    lab = bench.lab
    caplog.set_level(logging.DEBUG)
    faults: list[Exception] = [
        Unreadable("The charset is unknown."),
        LookupError(f"unknown encoding: {CANARY}"),
        Vanished(CANARY),
        LeftOut(CANARY),
        UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    ]
    for number, fault in enumerate(faults):
        lab.mail(f"m{number}", text=CANARY, sender=f"{CANARY}@example.org", alias=f"<{CANARY}@example.org>")
        lab.fake.scripts[f"m{number}"].append(fault)
    lab.mail("n", text=CANARY)
    lab.fake.scripts["n"].extend([ProviderUnavailable(), NeedsReauth()])
    lab.fake.attachments["n", "a"] = [CANARY.encode()]
    told: list[str] = []

    with capture_logs() as lines:
        events = []
        for fields in (
            {},
            {},
            {"filter": message_pb2.MessageFilter(senders=[f"{CANARY} nobody"])},
            {"filter": message_pb2.MessageFilter(provider_query=CANARY)},
            {"cursor_token": CANARY},
            {"subscriber": f"{CANARY}\0"},
        ):
            try:
                events += await bench.fetch(**fields)
            except grpc.aio.AioRpcError as error:
                told += [str(error), repr(error), str(error.trailing_metadata())]
        for commit in (CANARY, "x"):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await bench.stub().CommitCursor(
                    pb.CommitCursorRequest(connection_id="c-1", cursor_token=commit), timeout=5
                )
            told += [str(failed.value), str(failed.value.trailing_metadata())]
        asked = pb.GetAttachmentRequest(connection_id="c-1", provider_id="n", attachment_id="a")
        assert [piece.data async for piece in bench.stub().GetAttachment(asked, timeout=5)] == [CANARY.encode()]

    assert len(told) > 8
    assert any("unforeseen" in line["event"] for line in lines)
    for place in (*map(str, lines), caplog.text, *told):
        assert CANARY not in place
    assert all(CANARY not in str(event.item_error) for event in events)


async def test_the_reprs_show_nothing_of_a_message(bench: Bench) -> None:
    lab = bench.lab
    lab.mails(3)
    fetched = await lab.fetch()
    entered = await lab.access.enter("anna", "c-1")
    session = entered.session(deadline=NOON, on_wait=lambda _until: None)
    message = Message(
        key="k",
        provider_id="p",
        thread_id="t",
        received_at=NOON,
        sender=Participant(address=CANARY, name=CANARY),
        to=(Participant(address=CANARY),),
        subject=CANARY,
        text=CANARY,
        new_text=CANARY,
        attachments=(Attachment(attachment_id="a", name=CANARY, media_type="text/plain", size_bytes=1),),
        web_link=CANARY,
    )
    named = MessageFilter(senders=(CANARY,), recipients=(CANARY,), subject_contains=(CANARY,), provider_query=CANARY)
    request = lab.request(filter=named, cursor_token=CANARY)
    checkpoints: list[Any] = [*fetched.of(Checkpoint), *fetched.of(Completed)]
    stored = await lab.store.read(lab.name)

    shown = [repr(one) for one in (entered, session, message, request, named, lab.fake.queries, stored)]

    assert not [one for one in shown if CANARY in one]
    assert not [mark for mark in checkpoints if mark.cursor_token in repr(mark)]
    assert len(shown) == 7


async def test_the_stored_rows_hold_nothing_of_a_message_or_a_mailbox(bench: Bench) -> None:
    lab = bench.lab
    lab.mail("m", text=CANARY, sender=f"{CANARY}@example.org", alias=f"<{CANARY}@example.org>", ago=timedelta(hours=1))
    lab.mail(f"id-{CANARY}")

    await lab.fetch()

    stored = await lab.store.read(lab.name)
    assert stored is not None
    assert stored.round is not None
    assert CANARY.encode() not in stored.round
    structlog.reset_defaults()


def test_a_log_of_this_package_names_only_what_is_listed_here() -> None:
    """Every log line's fields are ids, counts, types and places in the code."""
    import re
    from pathlib import Path

    import connectors.messages

    folder = Path(connectors.messages.__file__).parent
    calls = re.findall(
        r"_log\.\w+\((.*?)\n?\s*\)\n", "".join(path.read_text() for path in folder.glob("*.py")), re.DOTALL
    )
    fields = {field for call in calls for field in re.findall(r"(\w+)=", call)}

    assert fields == {"connection_id", "error", "at"}
