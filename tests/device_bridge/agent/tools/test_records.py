"""Projects, tasks, notes and timelines through their tools: fields, pages, protection, proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from device_bridge.agent.domain import EffectKind, JsonObject, Outcome, Reason
from device_bridge.agent.workspace.rows import MAX_PAGE_BYTES, MAX_PAGE_ROWS
from tests.device_bridge.agent.workspace.support import ABSENT, NOON, Device, device, reason, run_context

CREATE: dict[str, JsonObject] = {
    "project": {"name": "Website"},
    "task": {"title": "Send draft"},
    "note": {"title": "Kick-off", "content": "We begin."},
    "timeline": {"title": "Launch", "date": "2026-05-01"},
}
CHANGE: dict[str, JsonObject] = {
    "project": {"name": "Web shop", "status": "On Hold"},
    "task": {"title": "Send the draft", "assignees": ["Ada"], "priority": "High"},
    "note": {"content": "We have begun."},
    "timeline": {"end_date": "2026-05-02", "is_completed": True},
}
TITLE = {"project": "name", "task": "title", "note": "title", "timeline": "title"}


@pytest.fixture
async def laptop(tmp_path: Path) -> AsyncIterator[Device]:
    async with device(tmp_path) as started:
        await started.begin()
        yield started


def approve(laptop: Device, kind: str, row_id: str) -> None:
    laptop.as_user((f"UPDATE {kind}s SET is_approved = 1 WHERE id = ?", (row_id,)))  # noqa: S608


def own(laptop: Device, kind: str, row_id: str) -> None:
    laptop.as_user((f"UPDATE {kind}s SET is_ai_suggested = 0, is_approved = 1 WHERE id = ?", (row_id,)))  # noqa: S608


async def change(laptop: Device, kind: str, row_id: str, **fields: Any) -> Outcome:
    return await laptop.call(f"update_{kind}", **{f"{kind}_id": row_id, **fields})


async def test_a_project_has_these_fields(laptop: Device) -> None:
    made = await laptop.made("create_project", name="Website", description="d", client_name="Acme")

    assert made == {
        "id": made["id"],
        "name": "Website",
        "description": "d",
        "client_name": "Acme",
        "status": "Active",
        "is_ai_suggested": True,
        "is_approved": False,
    }


async def test_a_task_has_these_fields(laptop: Device) -> None:
    project = await laptop.made("create_project", name="Website")

    made = await laptop.made(
        "create_task",
        title="Send draft",
        project_id=project["id"],
        due_date="2026-04-01",
        assignees=["Ada", "Bo  Li"],
        priority="High",
    )

    assert made == {
        "id": made["id"],
        "title": "Send draft",
        "description": "",
        "project_id": project["id"],
        "status": "ToDo",
        "due_date": "2026-04-01",
        "assignees": ["Ada", "Bo Li"],
        "priority": "High",
        "is_ai_suggested": True,
        "is_approved": False,
    }


async def test_a_timeline_has_these_fields(laptop: Device) -> None:
    made = await laptop.made("create_timeline", title="Launch", date="2026-05-01")

    assert made == {
        "id": made["id"],
        "title": "Launch",
        "date": "2026-05-01",
        "end_date": None,
        "description": "",
        "project_id": None,
        "is_completed": False,
        "is_ai_suggested": True,
        "is_approved": False,
    }


async def test_notes_are_listed_without_their_contents_and_read_one_by_one(laptop: Device) -> None:
    made = await laptop.made("create_note", title="Kick-off", content="We begin.")

    listed = await laptop.made("list_notes")
    read = await laptop.made("get_note", note_id=made["id"])

    assert read == made
    assert listed["notes"] == [{name: value for name, value in made.items() if name != "content"}]


async def test_a_comment_is_by_adiuva_unless_it_says_otherwise(laptop: Device) -> None:
    task = await laptop.made("create_task", title="Send draft")

    first = await laptop.call("add_task_comment", task_id=task["id"], text="Sent.")
    second = await laptop.made("add_task_comment", task_id=task["id"], text="Got it.", author="Ada")

    assert first.result is not None
    assert first.result == {
        "id": first.result["id"],
        "task_id": task["id"],
        "author": "Adiuva",
        "text": "Sent.",
        "is_ai_suggested": True,
        "is_approved": False,
    }
    assert second["author"] == "Ada"
    (effect,) = first.effects
    assert (effect.kind, effect.entity_type, effect.entity_id, effect.title) == (
        EffectKind.COMMENTED,
        "task",
        task["id"],
        "Send draft",
    )


async def test_a_project_counts_what_is_filed_under_it(laptop: Device) -> None:
    project = await laptop.made("create_project", name="Website")
    for status in ("ToDo", "In Progress", "Completed"):
        await laptop.made("create_task", title=status, status=status, project_id=project["id"])
    await laptop.made("create_note", title="n", content="c", project_id=project["id"])
    await laptop.made("create_timeline", title="t", date="2026-01-01")

    found = await laptop.made("get_project", project_id=project["id"])

    assert found == {**project, "counts": {"tasks": 3, "open_tasks": 2, "notes": 1, "timelines": 0}}


async def test_completed_projects_are_listed_only_on_demand(laptop: Device) -> None:
    for name, status in (("Old", "Completed"), ("Rest", "On Hold"), ("New", "Active")):
        project = await laptop.made("create_project", name=name)
        await laptop.made("update_project", project_id=project["id"], status=status)

    assert [row["name"] for row in (await laptop.made("list_projects"))["projects"]] == ["Rest", "New"]
    assert len((await laptop.made("list_all_projects"))["projects"]) == 3


@pytest.mark.parametrize("kind", ["task", "note", "timeline"])
async def test_a_list_is_of_one_project_of_none_or_of_all(laptop: Device, kind: str) -> None:
    project = await laptop.made("create_project", name="Website")
    filed = await laptop.made(f"create_{kind}", **CREATE[kind], project_id=project["id"])
    loose = await laptop.made(f"create_{kind}", **CREATE[kind], **({} if kind == "note" else {"project_id": None}))

    async def ids(**arguments: Any) -> list[str]:
        return [row["id"] for row in (await laptop.made(f"list_{kind}s", **arguments))[f"{kind}s"]]

    assert await ids(project_id=project["id"]) == [filed["id"]]
    assert await ids(project_id=None) == [loose["id"]]
    assert await ids() == [filed["id"], loose["id"]]
    assert reason(await laptop.call(f"list_{kind}s", project_id=ABSENT)) is Reason.NOT_FOUND


async def test_tasks_are_listed_by_state(laptop: Device) -> None:
    for status in ("ToDo", "Completed", "ToDo"):
        await laptop.made("create_task", title=status, status=status)

    assert len((await laptop.made("list_tasks", status="ToDo"))["tasks"]) == 2


async def pages(laptop: Device, tool: str, collection: str) -> list[list[JsonObject]]:
    found: list[list[JsonObject]] = []
    arguments: JsonObject = {}
    while True:
        answer = await laptop.made(tool, **arguments)
        found.append(answer[collection])
        if "next_page_token" not in answer:
            return found
        arguments = {"page_token": answer["next_page_token"]}


def seed(laptop: Device, number: int, content: str = "") -> None:
    """Add rows of every kind at once; one by one through the tools would take long."""
    at = (NOON.isoformat(), NOON.isoformat())
    statements: list[tuple[str, Any]] = []
    for n in range(number):
        statements += [
            (
                "INSERT INTO projects (id, name, description, created_at, updated_at) VALUES (?, 'p', ?, ?, ?)",
                (f"p{n}", content, *at),
            ),
            (
                "INSERT INTO tasks (id, title, description, created_at, updated_at) VALUES (?, 't', ?, ?, ?)",
                (f"t{n}", content, *at),
            ),
            (
                "INSERT INTO notes (id, title, content, created_at, updated_at) VALUES (?, 'n', ?, ?, ?)",
                (f"n{n}", content, *at),
            ),
            (
                "INSERT INTO timelines (id, title, date, description, created_at, updated_at) "
                "VALUES (?, 'l', '2026-01-01', ?, ?, ?)",
                (f"l{n}", content, *at),
            ),
        ]
    laptop.as_user(*statements)


LISTS = [
    ("list_projects", "projects"),
    ("list_all_projects", "projects"),
    ("list_tasks", "tasks"),
    ("list_notes", "notes"),
    ("list_timelines", "timelines"),
]


@pytest.mark.parametrize(("tool", "collection"), LISTS)
async def test_long_lists_come_in_pages_that_hold_each_row_once(laptop: Device, tool: str, collection: str) -> None:
    total = 2 * MAX_PAGE_ROWS + 1
    seed(laptop, total)

    found = await pages(laptop, tool, collection)

    assert [len(page) for page in found] == [MAX_PAGE_ROWS, MAX_PAGE_ROWS, 1]
    assert len({row["id"] for page in found for row in page}) == total


async def test_a_list_that_fits_one_page_has_no_next(laptop: Device) -> None:
    seed(laptop, MAX_PAGE_ROWS)

    assert "next_page_token" not in await laptop.made("list_tasks")


async def test_pages_of_long_texts_are_bounded_in_bytes(laptop: Device) -> None:
    seed(laptop, 60, "è" * 10_000)

    found = await pages(laptop, "list_tasks", "tasks")

    assert sum(len(page) for page in found) == 60
    assert all(len(page) * 20_000 <= MAX_PAGE_BYTES for page in found)


@pytest.mark.parametrize("token", ["-1", "x", "1; DROP TABLE tasks", "9" * 30, "٣", " 1"])
@pytest.mark.parametrize(("tool", "collection"), LISTS)
async def test_a_page_token_of_somebody_else_is_refused(laptop: Device, tool: str, collection: str, token: str) -> None:
    assert reason(await laptop.call(tool, page_token=token)) is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ["task", "note", "timeline"])
async def test_nothing_is_filed_under_a_project_that_is_not_there(laptop: Device, kind: str) -> None:
    outcome = await laptop.call(f"create_{kind}", **CREATE[kind], project_id=ABSENT)

    assert reason(outcome) is Reason.NOT_FOUND
    assert laptop.content() == []


async def test_moving_or_proposing_to_move_a_task_to_a_project_that_is_not_there_is_refused(laptop: Device) -> None:
    row = await laptop.made("create_task", title="x")

    assert reason(await change(laptop, "task", row["id"], project_id=ABSENT)) is Reason.NOT_FOUND
    approve(laptop, "task", row["id"])
    assert reason(await change(laptop, "task", row["id"], project_id=ABSENT)) is Reason.NOT_FOUND


async def test_a_span_that_ends_before_it_begins_is_refused_also_when_only_one_end_moves(laptop: Device) -> None:
    row = await laptop.made("create_timeline", title="t", date="2026-05-01", end_date="2026-05-03")

    for fields in ({"date": "2026-05-04"}, {"end_date": "2026-04-30"}):
        assert reason(await change(laptop, "timeline", row["id"], **fields)) is Reason.INVALID_ARGUMENT
    assert (await change(laptop, "timeline", row["id"], date="2026-05-04", end_date=None)).result is not None


async def test_a_users_task_may_be_commented_by_any_run(laptop: Device) -> None:
    task = await laptop.made("create_task", title="x")
    own(laptop, "task", task["id"])

    assert (await laptop.made("add_task_comment", task_id=task["id"], text="Sent."))["text"] == "Sent."


HOSTILE = st.text(max_size=40) | st.sampled_from(
    ["'; DROP TABLE tasks; --", "\x1b[2J", "\u202eevil", "is_approved = 1", "[red]x[/]", '{"is_approved": 1}', "\ufeff"]
)


@settings(max_examples=10, deadline=None)
@given(title=HOSTILE, description=HOSTILE, assignee=HOSTILE, flag=st.sampled_from(["is_approved", "isApproved"]))
async def test_whatever_a_text_says_it_is_stored_as_said_and_unapproved(
    tmp_path_factory: pytest.TempPathFactory, title: str, description: str, assignee: str, flag: str
) -> None:
    """I4: for any arguments, with the flags among them or inside the texts, the stored row is an open suggestion."""
    async with device(tmp_path_factory.mktemp("data")) as laptop:
        await laptop.begin()
        texts = {"title": title, "description": description, "assignees": [assignee]}
        plain = await laptop.raw("create_task", texts, context=run_context())
        flagged = await laptop.raw("create_task", {**texts, flag: True}, context=run_context())

        rows = laptop.rows("SELECT title, description, is_ai_suggested, is_approved FROM tasks")

    assert reason(flagged) is Reason.INVALID_ARGUMENT
    if plain.failure is None:
        (row,) = rows
        expected = {"title": " ".join(title.split()), "description": description}
        assert row == {**expected, "is_ai_suggested": 1, "is_approved": 0}
    else:
        assert reason(plain) is Reason.INVALID_ARGUMENT
        assert rows == []
