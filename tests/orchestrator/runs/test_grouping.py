"""From sorted files to groups."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given, settings, strategies as st
from inline_snapshot import snapshot

from orchestrator.runs.domain import Group, Item
from orchestrator.runs.grouping import MAX_BYTES, MAX_ITEMS, human_title, make_groups
from orchestrator.runs.messages import ProjectSummary

PROJECTS = (ProjectSummary(project_id="p2", name="acme"), ProjectSummary(project_id="p1", name="Zebra"))


def item(path: str, size_bytes: int = 10) -> Item:
    return Item(path=path, size_bytes=size_bytes, mtime_ns=1)


def shape(groups: tuple[Group, ...]) -> list[tuple[str, str, str, list[str]]]:
    return [(group.group_id, group.project_id, group.title, [entry.path for entry in group.items]) for group in groups]


def test_projects_come_by_name_then_folders_then_loose_files() -> None:
    items = [item(f"root/{name}") for name in ("z.md", "b/1.md", "a-b/2.md", "a-b/deep/3.md", "4.md", "5.md", "6.md")]
    project_of = {"root/4.md": "p1", "root/5.md": "p2", "root/6.md": "unknown"}

    assert shape(make_groups(items, project_of, PROJECTS, ["root"])) == snapshot(
        [
            ("g1", "p2", "acme", ["root/5.md"]),
            ("g2", "p1", "Zebra", ["root/4.md"]),
            ("g3", "", "A B", ["root/a-b/2.md", "root/a-b/deep/3.md"]),
            ("g4", "", "B", ["root/b/1.md"]),
            ("g5", "", "", ["root/6.md", "root/z.md"]),
        ]
    )


def test_folders_are_those_below_the_nearest_folder_of_the_agent() -> None:
    items = [item("root/a/b/c.md"), item("root/a/d.md"), item("root/e.md"), item("other/f/g.md")]

    assert shape(make_groups(items, {}, (), ["root/", "./root/a", "other"])) == snapshot(
        [
            ("g1", "", "F", ["other/f/g.md"]),
            ("g2", "", "B", ["root/a/b/c.md"]),
            ("g3", "", "", ["root/e.md"]),
            ("g4", "", "", ["root/a/d.md"]),
        ]
    )


def test_an_agent_of_all_roots_has_a_group_for_each_root() -> None:
    assert shape(make_groups([item("root/a/b.md")], {}, (), ["."])) == [("g1", "", "Root", ["root/a/b.md"])]


def test_a_group_with_too_many_files_or_bytes_is_split_under_the_same_title() -> None:
    many = [item(f"root/many/{number:02}.md") for number in range(MAX_ITEMS + 1)]
    large = [item("root/large/a", MAX_BYTES - 1), item("root/large/b", 2), item("root/large/c", MAX_BYTES * 9)]

    groups = make_groups([*many, *large], {}, (), ["root"])

    assert [(group.title, len(group.items)) for group in groups] == [
        ("Large", 1),
        ("Large", 1),
        ("Large", 1),
        ("Many", MAX_ITEMS),
        ("Many", 1),
    ]


@settings(deadline=None)
@given(
    items=st.lists(
        st.builds(
            item,
            st.lists(st.sampled_from(["root", "a", "b-c", "DEEP"]), min_size=1, max_size=5).map("/".join),
            st.integers(0, MAX_BYTES),
        ),
        max_size=80,
        unique_by=lambda entry: entry.path,
    ),
    projects=st.lists(st.sampled_from(PROJECTS), unique=True),
    data=st.data(),
)
def test_every_file_is_in_exactly_one_group_whatever_the_order(
    items: list[Item], projects: list[ProjectSummary], data: st.DataObject
) -> None:
    ids = st.sampled_from(["", "p1", "p2", "stranger"])
    project_of = {entry.path: data.draw(ids) for entry in items}

    groups = make_groups(items, project_of, projects, ["root", "root/a"])

    assert sorted(chain.from_iterable(group.items for group in groups), key=lambda entry: entry.path) == sorted(
        items, key=lambda entry: entry.path
    )
    assert [group.group_id for group in groups] == [f"g{number}" for number in range(1, len(groups) + 1)]
    for group in groups:
        assert 1 <= len(group.items) <= MAX_ITEMS
        assert len(group.items) == 1 or sum(entry.size_bytes for entry in group.items) <= MAX_BYTES
        if group.project_id:
            assert {project_of[entry.path] for entry in group.items} == {group.project_id}
    assert groups == make_groups(items[::-1], project_of, projects[::-1], ["root/a", "root"])


@pytest.mark.parametrize(
    ("folder", "title"),
    [
        ("acme-website-relaunch", "Acme Website Relaunch"),
        ("gufo_blu  menu", "Gufo Blu Menu"),
        ("ACME-2026", "ACME 2026"),
        ("iOS-app", "iOS App"),
        ("été-à-lyon", "Été À Lyon"),
        ("--", "--"),
        ("", ""),
    ],
)
def test_a_folder_is_named_as_a_person_would(folder: str, title: str) -> None:
    assert human_title(folder) == title


@settings(deadline=None)
@given(folder=st.text(max_size=40))
def test_only_a_folder_without_a_name_has_no_title(folder: str) -> None:
    assert bool(human_title(folder)) == bool(folder)
