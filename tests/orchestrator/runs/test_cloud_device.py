"""Runs over messages with the reference device: its policy lets them work, and its database holds what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_bridge.agent.workspace.store import stored_time
from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.runs.domain import RunState
from tests.device_bridge.agent.workspace.support import NOON, Device, device
from tests.fakes.journals import InMemoryJournals
from tests.fakes.real_device import RealDevices
from tests.orchestrator.runs.lab import ACME, CloudLab
from tests.orchestrator.runs.test_resume import DyingJournals, die


@dataclass
class DeskLab(CloudLab):
    """A mailbox, and the real tools of a device."""

    journals: InMemoryJournals = field(default_factory=DyingJournals)

    def sit_down(self, tools: Device) -> None:
        """Work with this device from now on, without a language model."""
        self.device = tools
        self.real = RealDevices(tools)
        self.devices = self.real  # type: ignore[assignment]  # keeps the same port
        self.model = OfflineModel()  # type: ignore[assignment]  # likewise

    def titles(self, table: str) -> list[str]:
        """The titles of a table, sorted."""
        return sorted(row["title"] for row in self.device.rows(f"SELECT title FROM {table}"))  # noqa: S608 - a table


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskLab]:
    async with device(tmp_path) as tools:
        tools.as_user(
            (
                "INSERT INTO projects (id, name, client_name, status, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (ACME, "Acme Website", "Acme GmbH", "Active", stored_time(NOON), stored_time(NOON)),
            )
        )
        lab = DeskLab()
        lab.sit_down(tools)
        yield lab


async def test_what_messages_ask_for_is_suggested_on_the_device(desk: DeskLab) -> None:
    mailbox = desk.mailbox
    mailbox.add("1@v2/x=", "Could you send me the logo by Friday?", thread="t", subject="Acme website")
    mailbox.add("2", "Thanks!\nTODO: Send the invoice", thread="t", subject="Re: Acme website")
    mailbox.add("3", "Launch: 20 March 2026", subject="Acme website")
    mailbox.add("4", "Decisions:\n- green", subject="Meeting notes: colours")

    progress = await desk.work()

    assert progress.concluded is RunState.SUCCEEDED, progress.errors
    assert progress.errors == []
    rows = [
        (row["title"], row["project_id"])
        for table in ("tasks", "timelines", "notes")
        for row in desk.device.rows(f"SELECT * FROM {table} ORDER BY title")  # noqa: S608 - names of tables
    ]
    assert rows == [
        ("Send me the logo", ACME),
        ("Send the invoice", ACME),
        ("Launch", ACME),
        ("Meeting notes: colours", None),
    ]
    sources = {row["title"]: row["source"] for row in desk.device.rows("SELECT title, source FROM changes")}
    assert sources == {
        "Send me the logo": "message:gmail:1@v2/x=",
        "Send the invoice": "message:gmail:2",
        "Launch": "message:gmail:3",
        "Meeting notes: colours": "message:gmail:4",
    }


async def test_the_device_counts_what_the_run_counts(desk: DeskLab) -> None:
    for number in range(6):
        desk.mailbox.add(f"m{number}", f"TODO: Do job number {number}")

    progress = await desk.work()

    counted = desk.device.rows("SELECT count(*) AS number FROM tasks")[0]["number"]
    assert progress.counts("CREATED")["task"] == counted == 6
    assert "COUNTS_DIFFER" not in [error.reason for error in progress.errors]
    assert progress.finished is not None
    assert progress.finished.device_informed


async def test_no_text_of_a_message_is_sent_to_the_device_but_what_is_written_down(desk: DeskLab) -> None:
    desk.mailbox.add("1", "A SECRET of mine.\nTODO: Send the invoice")

    await desk.work()

    assert not any("SECRET" in call.arguments_json for call in desk.real.calls)


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("after", range(3, 48, 4))
async def test_a_takeover_goes_on_with_the_same_device(desk: DeskLab, after: int, late: bool) -> None:
    desk.mailbox.add("1", "TODO: Send the logo", thread="t", subject="Acme website")
    desk.mailbox.add("2", "TODO: Send the invoice", thread="t")
    desk.mailbox.add("3", "Launch: 20 March 2026")
    await die(desk, after, late=late)

    progress = await desk.work()

    assert progress.concluded is RunState.SUCCEEDED, progress.errors
    assert desk.titles("tasks") == ["Send the invoice", "Send the logo"]
    assert desk.titles("timelines") == ["Launch"]
    assert progress.errors == []
    assert (await desk.next_run()).items == ()
