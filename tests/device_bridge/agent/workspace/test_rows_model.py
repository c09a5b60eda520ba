"""I6 and INV-5 against a reference: whatever runs and the user do, in any order, the database agrees with a model."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from device_bridge.agent.domain import JsonObject, Reason
from device_bridge.agent.workspace import approval
from device_bridge.agent.workspace.connection import connect_local
from device_bridge.agent.workspace.errors import NothingToDecide

from .support import ABSENT, Device, by_user, device, reason, run_context

KINDS = ("project", "task", "note", "timeline")
CREATE: dict[str, JsonObject] = {
    "project": {},
    "task": {},
    "note": {"content": "c"},
    "timeline": {"date": "2026-01-01"},
}
TITLES = st.sampled_from(["one", "two", "three"])
RUNS = st.sampled_from(["run-1", "run-2"])


class Rows(RuleBasedStateMachine):
    """Runs make, change and comment rows; the user approves, rejects and makes his own."""

    rows: Bundle[str] = Bundle("rows")

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.opened = device(Path(self.folder.name))
        self.device: Device = self.runner.run(self.opened.__aenter__())
        # One connection for all the looking: the invariant is checked after every step.
        self.local = connect_local(self.device.path)
        for run_id in ("run-1", "run-2"):
            self.runner.run(self.device.begin(run_id))
        self.model: dict[str, JsonObject] = {}
        self.proposed: list[JsonObject] = []
        self.comments: dict[str, str] = {}
        self.effects: list[tuple[str, str, str]] = []

    def teardown(self) -> None:
        if hasattr(self, "local"):
            self.local.close()
            self.runner.run(self.opened.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()

    def rows_of(self, sql: str) -> list[JsonObject]:
        return [dict(row) for row in self.local.execute(sql)]

    def call(self, run_id: str, tool: str, **arguments: Any) -> Any:
        return self.runner.run(self.device.call(tool, context=run_context(run_id), **arguments))

    @rule(target=rows, kind=st.sampled_from(KINDS), title=TITLES, run_id=RUNS)
    def a_run_makes_a_row(self, kind: str, title: str, run_id: str) -> str:
        outcome = self.call(run_id, f"create_{kind}", **CREATE[kind], **{_title(kind): title})
        row_id: str = outcome.result["id"]
        self.model[row_id] = {"kind": kind, "title": title, "suggested": 1, "approved": 0, "run": run_id}
        self.effects.append((run_id, "CREATED", kind))
        return row_id

    @rule(target=rows, title=TITLES, number=st.integers(0, 2**32 - 1))
    def the_user_makes_a_task(self, title: str, number: int) -> Any:
        row_id = f"{number:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
        if row_id in self.model:
            return multiple()
        insert = "INSERT INTO tasks (id, title, created_at, updated_at) VALUES (?, ?, '', '')"
        by_user(self.local, (insert, (row_id, title)))
        self.model[row_id] = {"kind": "task", "title": title, "suggested": 0, "approved": 1, "run": ""}
        return row_id

    @rule(row_id=rows, title=TITLES, run_id=RUNS)
    def a_run_changes_a_row(self, row_id: str, title: str, run_id: str) -> None:
        row = self.model.get(row_id)
        kind = row["kind"] if row else "task"
        outcome = self.call(run_id, f"update_{kind}", **{f"{kind}_id": row_id, _title(kind): title})
        if row is None:
            assert reason(outcome) is Reason.NOT_FOUND
            return
        proposal = {"id": row_id, "title": title}
        if row["title"] == title or (_protected(row) and proposal in self.proposed):
            assert outcome.result["outcome"] == "unchanged"
        elif _protected(row):
            assert outcome.result["outcome"] == "proposed"
            self.proposed.append(proposal)
            self.effects.append((run_id, "PROPOSED", kind))
        else:
            assert outcome.result["outcome"] == "updated"
            row["title"] = title
            self.effects.append((run_id, "UPDATED", kind))

    @rule(row_id=rows, run_id=RUNS)
    def a_run_comments(self, row_id: str, run_id: str) -> None:
        outcome = self.call(run_id, "add_task_comment", task_id=row_id, text="x")
        if self.model.get(row_id, {}).get("kind") != "task":
            assert reason(outcome) is Reason.NOT_FOUND
        else:
            self.comments[outcome.result["id"]] = row_id
            self.effects.append((run_id, "COMMENTED", "task"))

    @rule(kind=st.sampled_from(KINDS), run_id=RUNS)
    def a_run_invents_an_id(self, kind: str, run_id: str) -> None:
        assert reason(self.call(run_id, f"update_{kind}", **{f"{kind}_id": ABSENT})) is Reason.NOT_FOUND

    @rule(row_id=rows)
    def the_user_approves_a_row(self, row_id: str) -> None:
        row = self.model.get(row_id)
        if self.decide(approval.approve, row_id, waits=row is not None and not _protected(row)) and row:
            row["approved"] = 1

    @rule(row_id=consumes(rows))
    def the_user_rejects_a_row(self, row_id: str) -> None:
        row = self.model.get(row_id)
        if self.decide(approval.reject, row_id, waits=row is not None and not _protected(row)):
            del self.model[row_id]
            self.comments = {comment: task for comment, task in self.comments.items() if task != row_id}

    @rule(apply=st.booleans())
    def the_user_decides_on_the_oldest_proposal(self, apply: bool) -> None:
        if not self.proposed:
            return
        proposal = self.proposed.pop(0)
        (oldest,) = self.rows_of("SELECT id FROM suggestions ORDER BY seq LIMIT 1")
        self.decide(approval.approve if apply else approval.reject, oldest["id"], waits=True)
        if apply:
            self.model[proposal["id"]]["title"] = proposal["title"]

    def decide(self, verdict: Any, wanted: str, *, waits: bool) -> bool:
        try:
            verdict(self.local, [wanted], now="then")
        except NothingToDecide:
            assert not waits
            return False
        assert waits
        return True

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        stored = {}
        for kind in KINDS:
            sql = f"SELECT id, {_title(kind)} AS title, is_ai_suggested, is_approved, created_by_run FROM {kind}s"  # noqa: S608
            for row in self.rows_of(sql):
                stored[row["id"]] = {
                    "kind": kind,
                    "title": row["title"],
                    "suggested": row["is_ai_suggested"],
                    "approved": row["is_approved"],
                    "run": row["created_by_run"],
                }
        assert stored == self.model
        assert {row["id"]: row["task_id"] for row in self.rows_of("SELECT * FROM task_comments")} == self.comments
        assert [
            {"id": row["entity_id"], "title": json.loads(row["changes"])[_title(row["entity_type"])]}
            for row in self.rows_of("SELECT * FROM suggestions ORDER BY seq")
        ] == self.proposed
        changes = self.rows_of("SELECT run_id, kind, entity_type FROM changes ORDER BY seq")
        assert [(row["run_id"], row["kind"], row["entity_type"]) for row in changes] == self.effects


def _title(kind: str) -> str:
    return "name" if kind == "project" else "title"


def _protected(row: JsonObject) -> bool:
    return not row["suggested"] or bool(row["approved"])


def test_the_database_agrees_with_a_model_after_any_sequence_of_acts() -> None:
    run_state_machine_as_test(Rows, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))
