"""The inventory: what changed, which projects there are, and what could not be looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from orchestrator.runs import inventory
from orchestrator.runs.domain import DeviceCall, Fenced, RunState, ToolOutcome, ToolTimedOut
from orchestrator.runs.events import ItemsFound
from orchestrator.runs.progress import Progress
from tests.fakes.device_tools import FakeFile
from tests.fakes.models import say
from tests.orchestrator.runs.lab import QUICK, Lab, definition


def reasons(progress: Progress) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(error.reason, error.message, error.items) for error in progress.errors]


async def test_nothing_changed_is_a_success_without_a_model_call() -> None:
    lab = Lab()
    lab.files({"sample/a.md": "TODO one\n"})
    await lab.work()
    asked = len(lab.model.requests)
    lab.run_id = "the-next-run"

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert progress.items == ()
    assert len(lab.model.requests) == asked
    assert progress.usage.model_calls == 0


async def test_an_empty_workspace_without_projects_is_triaged_without_asking() -> None:
    lab = Lab()
    lab.files({"sample/folder/a.md": "TODO one\n"})

    progress = await lab.work()

    assert [group.title for group in progress.groups or ()] == ["Folder"]
    assert list(progress.conversations) == ["g1"]


async def test_pages_are_followed_to_the_end() -> None:
    lab = Lab(script=lambda request: say("nothing"))
    lab.files({f"sample/{number:04}.md": FakeFile(failure="BINARY") for number in range(2_300)})
    for number in range(230):
        lab.laptop.workspace.add("project", f"p{number}", name=f"Project {number}")

    journal = await lab.journal()
    await lab.work_on(journal)

    found = next(event for event in await lab.events() if isinstance(event, ItemsFound))
    assert len(found.items) == 2_300
    assert len(found.projects) == 230
    assert [call.get("page_token") for call in lab.laptop.called("find_changed_files")] == [None, "1000", "2000"]


async def test_folders_inside_each_other_give_each_file_once() -> None:
    lab = Lab(definition=definition(paths=("sample", "sample/acme")))
    lab.files({"sample/acme/a.md": "x", "sample/b.md": "x"})

    progress = await lab.work()

    assert [item.path for item in progress.items or ()] == ["sample/acme/a.md", "sample/b.md"]


async def test_only_the_extensions_of_the_agent_are_asked_for() -> None:
    lab = Lab(definition=definition(extensions=(".txt", ".md")))
    lab.files({"sample/a.md": "x", "sample/b.csv": "x"})

    progress = await lab.work()

    assert [item.path for item in progress.items or ()] == ["sample/a.md"]
    assert lab.laptop.called("find_changed_files")[0]["extensions"] == [".md", ".txt"]


async def test_a_folder_that_is_not_there_fails_the_run_with_its_name() -> None:
    lab = Lab(definition=definition(paths=("sample/nowhere",)))

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == snapshot(
        [
            (
                "DIRECTORY_NOT_FOUND",
                "The folder “sample/nowhere” is not on the device. Restore it, or take it out of the agent's folders.",
                ("sample/nowhere",),
            )
        ]
    )
    assert lab.model.requests == []


async def test_a_folder_outside_the_roots_fails_the_run_with_its_name() -> None:
    lab = Lab(definition=definition(paths=("private/taxes",)))

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == snapshot(
        [
            (
                "PATH_DENIED",
                "The device does not share the folder “private/taxes”. Share it there, or choose another one.",
                ("private/taxes",),
            )
        ]
    )


async def test_one_missing_folder_leaves_the_others_to_be_processed() -> None:
    lab = Lab(definition=definition(paths=("sample/nowhere", "sample/acme")))
    lab.files({"sample/acme/a.md": "TODO one\n"})

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [error.reason for error in progress.errors] == ["DIRECTORY_NOT_FOUND"]
    assert progress.processed == {"sample/acme/a.md"}


async def test_what_cannot_be_looked_at_makes_the_run_partial_and_the_rest_is_processed() -> None:
    lab = Lab()
    lab.files({"sample/a.md": "TODO one\n", "sample/locked": FakeFile(failure="UNLISTED")})

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert reasons(progress) == snapshot(
        [
            (
                "FILE_UNREADABLE",
                "Not all that is below “sample” could be looked at on the device. Entries left out: 1.",
                ("sample/locked",),
            )
        ]
    )
    assert progress.processed == {"sample/a.md"}


async def test_too_many_files_are_taken_in_several_runs() -> None:
    lab = Lab(limits=replace(QUICK, items=10))
    lab.files({f"sample/{number:02}.md": "x" for number in range(11)})

    progress = await lab.work()

    assert len(progress.processed) == 10
    assert progress.concluded is RunState.PARTIAL
    assert reasons(progress) == snapshot(
        [
            (
                "TOO_MANY_FILES",
                "More files changed than one run takes. This run takes at most 10, and the next run the rest.",
                (),
            )
        ]
    )


async def test_a_list_that_never_ends_is_ended() -> None:
    lab = Lab()
    endless = ToolOutcome(result_json='{"files": [], "next_page_token": "again"}')
    lab.laptop.answers["find_changed_files"] = lambda _call: endless

    progress = await lab.work()

    assert [error.reason for error in progress.errors] == ["TOO_MANY_FILES"]
    assert len(lab.laptop.called("find_changed_files")) == inventory.MAX_PAGES


@pytest.mark.parametrize("tool", ["find_changed_files", "list_all_projects"])
async def test_an_answer_that_is_none_fails_the_run_without_repeating_it(tool: str) -> None:
    lab = Lab()
    lab.files({"sample/a.md": "x"})
    lab.laptop.answers[tool] = lambda _call: ToolOutcome(result_json='{"files": "SECRET", "projects": "SECRET"}')

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [error.reason for error in progress.errors] == ["INTERNAL"]
    assert "SECRET" not in progress.errors[0].message


async def test_a_device_that_does_not_answer_in_time_fails_the_run() -> None:
    lab = Lab()
    lab.files({"sample/a.md": "x"})

    async def slow(call: DeviceCall) -> None:
        if call.tool == "find_changed_files":
            raise ToolTimedOut("The device did not answer find_changed_files in time.")

    lab.laptop.before = slow

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [error.reason for error in progress.errors] == ["TOOL_TIMEOUT"]


async def test_a_device_without_the_inventory_fails_the_run() -> None:
    lab = Lab()
    lab.laptop.missing = {"find_changed_files"}

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == snapshot(
        [
            (
                "DEVICE_POLICY",
                "The device refused find_changed_files (UNKNOWN_TOOL). Update the app on the device and try again.",
                (),
            )
        ]
    )


async def test_a_takeover_may_find_other_pages_than_the_worker_before_it() -> None:
    lab = Lab()
    lab.files({f"sample/{number:04}.md": FakeFile(failure="BINARY") for number in range(1_200)})
    lost = 0

    async def lose_the_second_page(call: DeviceCall) -> None:
        nonlocal lost
        if "page_token" in call.arguments_json and not lost:
            lost += 1
            raise Fenced(lab.run_id)

    lab.laptop.after = lose_the_second_page
    with pytest.raises(Fenced):
        await lab.work()
    lab.files({"sample/0000a.md": FakeFile(failure="BINARY")})

    progress = await lab.work()

    assert len(progress.items or ()) == 1_201
    assert progress.concluded is RunState.SUCCEEDED
