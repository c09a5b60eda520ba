from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from orchestrator.adapters.offline_model import NAME, OfflineModel
from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import Item
from orchestrator.runs.mapping import parse_mapping, sort_files, triage_schema
from orchestrator.runs.messages import ModelRequest, ProjectSummary, TriageBrief

ACME = ProjectSummary(project_id="p-acme", name="Acme Website Relaunch")
CAFE = ProjectSummary(project_id="p-cafe", name="Café Größe")


async def sorted_paths(paths: list[str], *projects: ProjectSummary) -> dict[str, list[str]]:
    brief = TriageBrief(
        directories=("sample",),
        items=tuple(Item(path=path, size_bytes=1, mtime_ns=1) for path in paths),
        projects=projects,
        data_types=frozenset(DataType),
        file_extensions=(),
    )
    answer = await OfflineModel().answer(ModelRequest(messages=(), tools=(), brief=brief, data_marker="m" * 16))
    assert (answer.model, answer.tool_requests) == (NAME, ())
    mapping = json.loads(answer.text)
    assert set(mapping) == set((triage_schema([project.project_id for project in projects]) or {})["required"])
    return {key: found for key, found in mapping.items() if found}


@pytest.mark.parametrize(
    "path",
    [
        "sample/acme-website-relaunch/brief.md",
        "sample/Acme_Website Relaunch/notes/a.txt",
        "sample/2026 acme website relaunch (new)/a.txt",
        "sample/mail/ACME website-relaunch.eml",
        "acme-website-relaunch/a.txt",
    ],
)
async def test_a_file_belongs_to_the_project_that_its_path_names(path: str) -> None:
    assert await sorted_paths([path], ACME, CAFE) == {"p-acme": [path]}


async def test_accents_and_case_make_no_difference() -> None:
    assert await sorted_paths(["sample/cafe-GROSSE/a.md"], ACME, CAFE) == {"p-cafe": ["sample/cafe-GROSSE/a.md"]}


@pytest.mark.parametrize("path", ["sample/todo.md", "sample/acme/a.md", "sample/acme-website/relaunch.md"])
async def test_other_files_are_standalone(path: str) -> None:
    assert await sorted_paths([path], ACME, CAFE) == {"standalone": [path]}


async def test_the_longest_name_wins() -> None:
    short = ProjectSummary(project_id="p-short", name="Acme")
    path = "sample/acme-website-relaunch/a.md"

    assert await sorted_paths([path], short, ACME) == {"p-acme": [path]}


async def test_a_short_name_must_be_the_whole_name_of_a_folder_or_file() -> None:
    go = ProjectSummary(project_id="p-go", name="Go")

    assert await sorted_paths(["sample/go/a.md", "sample/ready-to-go.md"], go) == {
        "p-go": ["sample/go/a.md"],
        "standalone": ["sample/ready-to-go.md"],
    }


async def test_a_file_that_two_names_fit_alike_is_standalone() -> None:
    nova, luna = (ProjectSummary(project_id=name, name=name) for name in ("nova", "luna"))

    assert await sorted_paths(["sample/nova/luna.md"], nova, luna) == {"standalone": ["sample/nova/luna.md"]}


async def test_of_two_projects_with_one_name_the_open_one_is_meant() -> None:
    old = ProjectSummary(project_id="p-old", name="Acme", status="Completed")
    new = ProjectSummary(project_id="p-new", name="ACME", status="Active")

    assert await sorted_paths(["sample/acme/a.md"], old, new) == {"p-new": ["sample/acme/a.md"]}


@given(st.lists(st.text(min_size=1, max_size=30), unique=True), st.lists(st.text(max_size=20), max_size=4))
async def test_any_answer_passes_the_check_of_triage(paths: list[str], names: list[str]) -> None:
    projects = [ProjectSummary(project_id=f"p{number}", name=name) for number, name in enumerate(names)]
    brief = TriageBrief(
        directories=(".",),
        items=tuple(Item(path=path, size_bytes=1, mtime_ns=1) for path in paths),
        projects=tuple(projects),
        data_types=frozenset(DataType),
        file_extensions=(),
    )

    answer = await OfflineModel().answer(ModelRequest(messages=(), tools=(), brief=brief, data_marker="m" * 16))

    mapping = parse_mapping(answer.text)
    assert mapping is not None
    assert sort_files(mapping, paths, {project.project_id for project in projects}).complaints == ()
