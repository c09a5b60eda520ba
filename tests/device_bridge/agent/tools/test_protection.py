"""I6 through the tools: what a run may change in place, and what becomes a proposal to the user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from device_bridge.agent.domain import EffectKind, JsonObject, Outcome, Reason
from tests.device_bridge.agent.workspace.support import ABSENT, Device, device, reason, run_context

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


@pytest.mark.parametrize("kind", CREATE)
class TestProtection:
    async def test_a_run_changes_its_own_suggestion_in_place(self, laptop: Device, kind: str) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])

        outcome = await change(laptop, kind, row["id"], **CHANGE[kind])

        assert outcome.result == {**row, **CHANGE[kind], "outcome": "updated"}
        assert [effect.kind for effect in outcome.effects] == [EffectKind.UPDATED]

    async def test_a_run_changes_an_unapproved_suggestion_of_another_run(self, laptop: Device, kind: str) -> None:
        await laptop.begin("run-2")
        row = await laptop.made(f"create_{kind}", **CREATE[kind], context=run_context("run-2"))

        outcome = await change(laptop, kind, row["id"], **CHANGE[kind])

        assert outcome.result is not None
        assert outcome.result["outcome"] == "updated"

    @pytest.mark.parametrize("protect", [approve, own])
    async def test_a_change_to_an_approved_or_own_row_is_proposed(
        self, laptop: Device, kind: str, protect: Any
    ) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])
        protect(laptop, kind, row["id"])
        before = laptop.rows(f"SELECT * FROM {kind}s")  # noqa: S608

        outcome = await change(laptop, kind, row["id"], **CHANGE[kind], source="sample/a.md")

        assert outcome.result is not None
        assert {**outcome.result, "is_ai_suggested": True, "is_approved": False} == {**row, "outcome": "proposed"}
        (effect,) = outcome.effects
        assert (effect.kind, effect.entity_type, effect.entity_id) == (EffectKind.PROPOSED, kind, row["id"])
        assert laptop.rows(f"SELECT * FROM {kind}s") == before  # noqa: S608
        (suggestion,) = laptop.rows("SELECT entity_type, entity_id, created_by_run, source FROM suggestions")
        assert suggestion == {
            "entity_type": kind,
            "entity_id": row["id"],
            "created_by_run": "run-1",
            "source": "sample/a.md",
        }

    async def test_a_run_loses_its_hold_on_a_row_that_the_user_approves_meanwhile(
        self, laptop: Device, kind: str
    ) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])
        await change(laptop, kind, row["id"], **{TITLE[kind]: "second"})
        approve(laptop, kind, row["id"])

        outcome = await change(laptop, kind, row["id"], **{TITLE[kind]: "third"})

        assert outcome.result is not None
        assert (outcome.result[TITLE[kind]], outcome.result["outcome"]) == ("second", "proposed")

    async def test_asking_for_what_is_already_so_changes_and_proposes_nothing(self, laptop: Device, kind: str) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])

        for protect in (None, approve):
            if protect:
                protect(laptop, kind, row["id"])
            outcome = await change(laptop, kind, row["id"], **CREATE[kind])
            assert outcome.result is not None
            assert outcome.result["outcome"] == "unchanged"
            assert outcome.effects == ()
        assert laptop.rows("SELECT * FROM suggestions") == []

    async def test_the_same_proposal_is_made_once(self, laptop: Device, kind: str) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])
        approve(laptop, kind, row["id"])
        await change(laptop, kind, row["id"], **CHANGE[kind])

        again = await change(laptop, kind, row["id"], **CHANGE[kind])
        other = await change(laptop, kind, row["id"], **{TITLE[kind]: "other"})

        assert again.result is not None
        assert other.result is not None
        assert (again.result["outcome"], again.effects) == ("unchanged", ())
        assert other.result["outcome"] == "proposed"
        assert len(laptop.rows("SELECT * FROM suggestions")) == 2

    async def test_a_change_of_nothing_is_no_change(self, laptop: Device, kind: str) -> None:
        row = await laptop.made(f"create_{kind}", **CREATE[kind])

        outcome = await change(laptop, kind, row["id"])

        assert outcome.result == {**row, "outcome": "unchanged"}

    async def test_a_row_that_is_not_there_is_not_found(self, laptop: Device, kind: str) -> None:
        assert reason(await change(laptop, kind, ABSENT, **CHANGE[kind])) is Reason.NOT_FOUND
