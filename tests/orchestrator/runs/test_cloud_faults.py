"""What becomes of a run over messages when something goes wrong, and of the messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from inline_snapshot import snapshot

from orchestrator.runs.connection_faults import SENTENCES
from orchestrator.runs.domain import (
    DeviceCall,
    RunState,
)
from orchestrator.runs.events import Finished, ItemFailed
from orchestrator.runs.incoming import Begun, Fetch, FetchEvent
from orchestrator.runs.ports import Messages
from orchestrator.runs.progress import Progress
from tests.conformance.orchestrator.messages import REASONS
from tests.fakes.mailbox import Refused
from tests.orchestrator.runs.lab import QUICK, CloudLab, cloud_lab_with_mail

SUBSCRIBER = "client-agent-1"


def reasons(progress: Progress) -> list[str]:
    return [error.reason for error in progress.errors]


@pytest.mark.parametrize(("said", "reason"), sorted(REASONS.items()))
async def test_what_keeps_messages_from_being_fetched_fails_the_run_with_its_reason(said: str, reason: str) -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.refused = Refused(said)

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == [reason]
    assert progress.errors[0].message == SENTENCES[reason].format(
        when="later", where=" (filter.recipients: unknown here)"
    )
    assert progress.finished == Finished(state=RunState.FAILED, device_informed=True)
    assert lab.mailbox.commits == []
    assert lab.model.requests == []


def test_the_sentences_tell_what_to_do() -> None:
    told = [SENTENCES[reason] for reason in ("NEEDS_REAUTH", "DECRYPT_FAILED", "PROVIDER_UNAVAILABLE")]
    assert told == snapshot(
        [
            "The provider does not accept the access to this account any more. Reauthorize the connection, then run "
            "the agent again; nothing that came in meanwhile is lost.",
            "The stored access to this account cannot be decrypted. The operator has to bring back its key; "
            "reauthorizing the connection works, too.",
            "The mail or chat provider does not answer. Nothing is lost: the next run tries again.",
        ]
    )


async def test_connectors_that_are_not_there_fail_the_run() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.refused = Refused("UNAVAILABLE")

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == ["CONNECTORS_UNAVAILABLE"]


async def test_without_a_connected_device_nothing_is_fetched() -> None:
    lab = cloud_lab_with_mail()
    lab.laptop.online = False

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == ["DEVICE_OFFLINE"]
    assert lab.mailbox.fetches == []


async def test_without_any_device_nothing_is_fetched() -> None:
    lab = cloud_lab_with_mail()
    lab.laptop.user_id = "bob"

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == ["DEVICE_UNKNOWN"]
    assert lab.mailbox.fetches == []


async def test_a_provider_that_goes_down_in_the_middle_keeps_what_came() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.breaks = [(3, Refused("PROVIDER_UNAVAILABLE"))]

    first = await lab.work()
    moved = lab.mailbox.behind(SUBSCRIBER)
    second = await lab.next_run()

    assert first.concluded is RunState.PARTIAL
    assert reasons(first) == ["PROVIDER_UNAVAILABLE"]
    assert first.processed == {"message:gmail:m1", "message:gmail:m2"}
    assert moved == ["m1", "m2"]
    assert second.concluded is RunState.SUCCEEDED
    assert second.processed == {"message:gmail:m3", "message:gmail:m4"}


async def test_connectors_that_restart_in_the_middle_are_asked_again() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.breaks = [(3, Refused("UNAVAILABLE")), (1, Refused("UNAVAILABLE"))]

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert len(progress.processed) == 4
    assert len(lab.mailbox.fetches) == 3


async def test_connectors_that_break_again_and_again_keep_what_came() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.breaks = [(3, Refused("UNAVAILABLE")), (1, Refused("UNAVAILABLE")), (1, Refused("UNAVAILABLE"))]

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert reasons(progress) == ["CONNECTORS_UNAVAILABLE"]
    assert progress.processed == {"message:gmail:m1", "message:gmail:m2"}


async def test_a_message_that_cannot_be_read_is_an_error_and_the_others_go_on() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.add_unreadable("bad")
    lab.mailbox.add_unreadable("huge", "MESSAGE_TOO_LARGE")
    lab.mailbox.add_unreadable("odd", "SOMETHING_NEW")

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [(error.reason, error.items) for error in progress.errors] == [
        ("MESSAGE_TOO_LARGE", ("message:gmail:huge",)),
        ("MESSAGE_UNREADABLE", ("message:gmail:bad", "message:gmail:odd")),
    ]
    assert len(progress.processed) == 4
    assert lab.mailbox.behind(SUBSCRIBER)[-1] == "odd"


async def test_nothing_but_unreadable_messages_fails_the_run_and_does_not_come_again() -> None:
    lab = CloudLab()
    lab.mailbox.add_unreadable("bad")

    first = await lab.work()
    second = await lab.next_run()

    assert first.concluded is RunState.FAILED
    assert reasons(first) == ["MESSAGE_UNREADABLE"]
    assert second.concluded is RunState.SUCCEEDED


async def test_a_commit_that_fails_leaves_the_run_as_it_is() -> None:
    lab = cloud_lab_with_mail()
    lab.mailbox.refused_commit = Refused("UNAVAILABLE")

    first = await lab.work()
    lab.mailbox.refused_commit = None
    second = await lab.next_run()

    assert first.concluded is RunState.SUCCEEDED
    assert first.errors == []
    assert second.concluded is RunState.SUCCEEDED
    assert second.items == ()
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


async def test_a_commit_that_hangs_does_not_hold_the_run_up() -> None:
    lab = cloud_lab_with_mail(limits=replace(QUICK, commit_wait=timedelta(milliseconds=50)))
    assert lab.inbox is not None
    lab.inbox = replace(lab.inbox, messages=_Hanging(lab.inbox.messages))

    with anyio.fail_after(10):
        progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED


class _Hanging:
    """Fetches, and never answers a commit; or breaks down in it."""

    def __init__(self, messages: Messages, error: Exception | None = None) -> None:
        self._messages = messages
        self._error = error

    def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        return self._messages.fetch(wanted)

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        if self._error is not None:
            raise self._error
        await anyio.sleep_forever()


async def test_an_unexpected_error_of_the_commit_is_only_logged() -> None:
    lab = cloud_lab_with_mail()
    assert lab.inbox is not None
    lab.inbox = replace(lab.inbox, messages=_Hanging(lab.inbox.messages, ZeroDivisionError("SECRET")))

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED


async def test_a_device_lost_in_the_middle_leaves_the_rest_to_the_next_run() -> None:
    lab = CloudLab(limits=replace(QUICK, groups=1))
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}\n")

    async def unplug(call: DeviceCall) -> None:
        if call.context.group == "g3":
            lab.laptop.online = False

    lab.laptop.before = unplug

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [(error.reason, error.items) for error in progress.errors] == [
        ("DEVICE_OFFLINE", ("message:gmail:m2", "message:gmail:m3"))
    ]
    assert lab.mailbox.behind(SUBSCRIBER) == ["m0", "m1"]
    assert not any(isinstance(event, ItemFailed) for event in await lab.events())


async def test_a_cancelled_run_moves_the_cursor_past_what_was_done() -> None:
    lab = CloudLab(limits=replace(QUICK, groups=1))
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}\n")

    async def cancel(call: DeviceCall) -> None:
        if call.context.group == "g3":
            lab.cancellation.request("Enough.")

    lab.laptop.before = cancel

    progress = await lab.work()

    assert progress.concluded is RunState.CANCELLED
    assert lab.mailbox.behind(SUBSCRIBER) == ["m0", "m1"]


async def test_a_run_can_be_cancelled_while_it_fetches() -> None:
    lab = cloud_lab_with_mail()
    assert lab.inbox is not None
    lab.inbox = replace(lab.inbox, messages=_Stuck(lab))

    with anyio.fail_after(10):
        progress = await lab.work()

    assert progress.concluded is RunState.CANCELLED
    assert progress.items is None


class _Stuck:
    """A fetch during which somebody cancels the run."""

    def __init__(self, lab: CloudLab) -> None:
        self._lab = lab

    async def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        yield Begun(provider="gmail")
        self._lab.cancellation.request("Enough.")
        await anyio.sleep_forever()

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        raise AssertionError("nothing was fetched")
