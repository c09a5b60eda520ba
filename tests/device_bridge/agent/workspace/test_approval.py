from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace.approval import Decision, Verdict, approve, local_user, reject
from device_bridge.agent.workspace.connection import connect_local
from device_bridge.agent.workspace.errors import NothingToDecide

from .support import ABSENT, Device, device, user_task


@pytest.fixture
async def laptop(tmp_path: Path) -> AsyncIterator[Device]:
    async with device(tmp_path) as started:
        await started.begin()
        yield started


def decide(laptop: Device, verdict: Any, ids: Sequence[str] | None) -> list[Decision]:
    with closing(connect_local(laptop.path)) as connection:
        decisions: list[Decision] = verdict(connection, ids, now="2026-03-02T00:00:00.000000Z")
        return decisions


async def one_of_each(laptop: Device) -> dict[str, JsonObject]:
    project = await laptop.made("create_project", name="Website")
    task = await laptop.made("create_task", title="Send draft", project_id=project["id"])
    return {
        "project": project,
        "task": task,
        "comment": await laptop.made("add_task_comment", task_id=task["id"], text="Sent."),
        "note": await laptop.made("create_note", title="Kick-off", content="c", project_id=project["id"]),
        "timeline": await laptop.made("create_timeline", title="Launch", date="2026-05-01"),
    }


TABLES = {
    "project": "projects",
    "task": "tasks",
    "comment": "task_comments",
    "note": "notes",
    "timeline": "timelines",
}


def approved(laptop: Device, kind: str) -> list[int]:
    return [row["is_approved"] for row in laptop.rows(f"SELECT is_approved FROM {TABLES[kind]}")]  # noqa: S608


@pytest.mark.parametrize("kind", TABLES)
async def test_one_row_is_approved_and_the_others_wait_on(laptop: Device, kind: str) -> None:
    made = await one_of_each(laptop)

    (decision,) = decide(laptop, approve, [made[kind]["id"]])

    assert (decision.verdict, decision.type, decision.id) == (Verdict.APPROVED, kind, made[kind]["id"])
    assert {other: approved(laptop, other) for other in TABLES} == {other: [int(other == kind)] for other in TABLES}
    assert laptop.rows("SELECT * FROM approval_gate") == []


@pytest.mark.parametrize("kind", TABLES)
async def test_one_row_is_rejected_and_gone(laptop: Device, kind: str) -> None:
    made = await one_of_each(laptop)

    (decision,) = decide(laptop, reject, [made[kind]["id"]])

    assert decision.verdict is Verdict.DELETED
    assert approved(laptop, kind) == []


async def test_what_was_filed_under_a_rejected_project_stays_without_one(laptop: Device) -> None:
    made = await one_of_each(laptop)
    decide(laptop, approve, [made["task"]["id"]])

    decide(laptop, reject, [made["project"]["id"]])

    assert laptop.rows("SELECT project_id, is_approved FROM tasks") == [{"project_id": None, "is_approved": 1}]
    assert laptop.rows("SELECT project_id FROM notes") == [{"project_id": None}]


async def test_a_rejected_task_takes_its_comments_along(laptop: Device) -> None:
    made = await one_of_each(laptop)

    decide(laptop, reject, [made["task"]["id"]])

    assert laptop.rows("SELECT * FROM task_comments") == []


async def test_everything_is_approved_or_rejected_at_once(laptop: Device) -> None:
    await one_of_each(laptop)
    laptop.as_user(user_task(ABSENT, "Mine"))
    await laptop.made("update_task", task_id=ABSENT, status="Completed")

    decisions = decide(laptop, approve, None)

    assert [decision.type for decision in decisions] == ["project", "task", "comment", "note", "timeline", "suggestion"]
    assert {row["status"] for row in laptop.rows("SELECT status FROM tasks WHERE id = ?", ABSENT)} == {"Completed"}
    assert decide(laptop, reject, None) == []
    assert len(laptop.rows("SELECT * FROM tasks")) == 2


async def test_rejecting_everything_leaves_what_is_the_users(laptop: Device) -> None:
    await one_of_each(laptop)
    laptop.as_user(user_task(ABSENT, "Mine"))
    await laptop.made("update_task", task_id=ABSENT, status="Completed")

    decide(laptop, reject, None)

    assert laptop.rows("SELECT id, title, status FROM tasks") == [{"id": ABSENT, "title": "Mine", "status": "ToDo"}]
    for table in ("projects", "notes", "timelines", "task_comments", "suggestions"):
        assert laptop.rows(f"SELECT * FROM {table}") == []  # noqa: S608


class TestProposals:
    async def proposal(self, laptop: Device, **fields: Any) -> str:
        laptop.as_user(user_task(ABSENT, "Mine"))
        await laptop.made("update_task", task_id=ABSENT, **fields)
        (suggestion,) = laptop.rows("SELECT id FROM suggestions")
        suggestion_id: str = suggestion["id"]
        return suggestion_id

    async def test_an_approved_proposal_is_in_the_row(self, laptop: Device) -> None:
        suggestion_id = await self.proposal(laptop, status="Completed", assignees=["Ada"], due_date="2026-04-01")
        laptop.as_user(("UPDATE tasks SET title = 'Mine, renamed'", ()))

        (decision,) = decide(laptop, approve, [suggestion_id])

        assert (decision.verdict, decision.type, decision.title) == (Verdict.APPLIED, "suggestion", "Mine, renamed")
        (row,) = laptop.rows("SELECT title, status, assignees, due_date, is_ai_suggested, is_approved FROM tasks")
        assert row == {
            "title": "Mine, renamed",
            "status": "Completed",
            "assignees": '["Ada"]',
            "due_date": "2026-04-01",
            "is_ai_suggested": 0,
            "is_approved": 1,
        }
        assert laptop.rows("SELECT * FROM suggestions") == []

    async def test_a_rejected_proposal_is_dropped_and_the_row_as_it_was(self, laptop: Device) -> None:
        suggestion_id = await self.proposal(laptop, status="Completed")

        (decision,) = decide(laptop, reject, [suggestion_id])

        assert decision.verdict is Verdict.DROPPED
        assert laptop.rows("SELECT status FROM tasks") == [{"status": "ToDo"}]
        assert laptop.rows("SELECT * FROM suggestions") == []

    async def test_a_proposal_goes_with_its_row(self, laptop: Device) -> None:
        await self.proposal(laptop, status="Completed")

        laptop.as_user(("DELETE FROM tasks", ()))

        assert laptop.rows("SELECT * FROM suggestions") == []

    async def test_a_proposal_to_move_to_a_project_that_is_gone_is_refused(self, laptop: Device) -> None:
        project = await laptop.made("create_project", name="Website")
        suggestion_id = await self.proposal(laptop, project_id=project["id"])
        decide(laptop, reject, [project["id"]])

        with pytest.raises(NothingToDecide, match="names a project that is gone"):
            decide(laptop, approve, [suggestion_id])

        assert len(laptop.rows("SELECT * FROM suggestions")) == 1
        assert laptop.rows("SELECT * FROM approval_gate") == []


async def test_the_beginning_of_an_id_will_do_when_it_fits_one_thing(laptop: Device) -> None:
    made = await one_of_each(laptop)

    (decision,) = decide(laptop, approve, [made["note"]["id"][:8]])

    assert decision.id == made["note"]["id"]


async def test_one_id_that_fits_nothing_leaves_all_undecided(laptop: Device) -> None:
    made = await one_of_each(laptop)
    laptop.as_user(user_task(ABSENT, "Mine"))
    before = laptop.content()

    for strange in (ABSENT, "", "%", made["task"]["id"][:5], "'; --", "x" * 100_000):
        with pytest.raises(NothingToDecide, match="nothing that waits"):
            decide(laptop, approve, [made["task"]["id"], strange])

    assert laptop.content() == before


async def test_the_beginning_of_two_ids_decides_neither(laptop: Device) -> None:
    insert = "INSERT INTO tasks (id, title, is_ai_suggested, is_approved, created_at, updated_at) "
    values = "VALUES (?, 't', 1, 0, '', '')"
    laptop.as_user((insert + values, ("aaaaaaaa-1",)), (insert + values, ("aaaaaaaa-2",)))

    with pytest.raises(NothingToDecide, match="several"):
        decide(laptop, approve, ["aaaaaaaa"])

    assert approved(laptop, "task") == [0, 0]


async def test_an_id_named_twice_is_decided_once(laptop: Device) -> None:
    made = await one_of_each(laptop)

    assert len(decide(laptop, approve, [made["note"]["id"], made["note"]["id"][:8]])) == 1


async def test_the_gate_is_never_seen_open_by_anybody_else(laptop: Device) -> None:
    made = await one_of_each(laptop)
    with (
        closing(connect_local(laptop.path)) as connection,
        closing(sqlite3.connect(laptop.path)) as other,
        local_user(connection, now="then"),
    ):
        connection.execute("UPDATE tasks SET is_approved = 1")

        assert other.execute("SELECT count(*) FROM approval_gate").fetchone() == (0,)
        assert other.execute("SELECT is_approved FROM tasks").fetchall() == [(0,)]

    assert (await laptop.made("update_task", task_id=made["task"]["id"], title="x"))["outcome"] == "proposed"


async def test_a_decision_that_fails_shuts_the_gate(laptop: Device) -> None:
    with closing(connect_local(laptop.path)) as connection:
        with pytest.raises(LookupError), local_user(connection, now="then"):
            raise LookupError

        assert connection.execute("SELECT count(*) FROM approval_gate").fetchone()[0] == 0
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(*user_task(ABSENT, "not through the gate"))
