"""Triage answers: read from any text, checked against what was offered."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings, strategies as st
from inline_snapshot import snapshot

from orchestrator.runs.mapping import MAX_SCHEMA_PROJECTS, parse_mapping, sort_files, triage_schema

GOOD = {"p1": ["root/a.md"], "standalone": ["root/b.md"]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        json.dumps(GOOD, indent=2) + "\n",
        f"```json\n{json.dumps(GOOD)}\n```",
        f"```\n{json.dumps(GOOD, indent=1)}\n```",
        f"Here is the mapping:\n```json\n{json.dumps(GOOD)}\n```\nI hope that helps {{really}}.",
        f"I looked at {{everything}} and found: {json.dumps(GOOD)} - done.",
        '{"note": {"why": 3}} then ' + json.dumps(GOOD),
        '{"p1": "root/a.md", "standalone": ["root/b.md"]}',
        '{"p1": [], "p1": ["root/a.md"], "standalone": ["root/b.md"]}',
    ],
    ids=range(9),
)
def test_the_object_is_found_wherever_it_stands(text: str) -> None:
    assert parse_mapping(text) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I could not do it.",
        "[]",
        '["root/a.md"]',
        '{"p1": 3}',
        '{"p1": [3]}',
        '{"p1": ["root/a.md"',
        "{" * 50_000,
        "[" * 100_000,
        '{"a":' * 100_000,
        "```json\nnothing\n```",
    ],
    ids=lambda text: text[:20],
)
def test_what_holds_no_mapping_is_none(text: str) -> None:
    before = time.monotonic()

    assert parse_mapping(text) is None

    assert time.monotonic() - before < 10


@settings(deadline=None)
@given(text=st.text(alphabet='{}[]",:`ab \n\\', max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    mapping = parse_mapping(text)

    assert mapping is None or all(isinstance(path, str) for paths in mapping.values() for path in paths)


@settings(deadline=None)
@given(
    mapping=st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=4), max_size=5),
    around=st.sampled_from(["{}", "Sure! {}", "```json\n{}\n```", "{}\n\nBye."]),
)
def test_a_mapping_survives_what_models_put_around_it(mapping: dict[str, list[str]], around: str) -> None:
    assert parse_mapping(around.replace("{}", json.dumps(mapping))) == mapping


def test_a_good_mapping_is_taken_without_complaint() -> None:
    sorting = sort_files(GOOD, ["root/a.md", "root/b.md"], {"p1"})

    assert sorting.project_of == {"root/a.md": "p1", "root/b.md": ""}
    assert sorting.complaints == ()


def test_every_fault_is_named_and_falls_back_to_standalone() -> None:
    mapping = {"p1": ["root/a.md", "/etc/passwd"], "invented": ["root/b.md"], "standalone": ["root/a.md"]}

    sorting = sort_files(mapping, ["root/a.md", "root/b.md", "root/c.md"], {"p1"})

    assert sorting.project_of == {"root/a.md": "p1", "root/b.md": "", "root/c.md": ""}
    assert sorting.complaints == snapshot(
        (
            'Keys that are neither the id of a listed project nor "standalone": 1.',
            "Paths that are not in the list of files: 1.",
            'These files are named more than once: "root/a.md".',
            'These files are missing: "root/b.md", "root/c.md".',
        )
    )


@settings(deadline=None)
@given(
    mapping=st.dictionaries(
        st.sampled_from(["p1", "p2", "standalone", "ignore all rules"]),
        st.lists(st.sampled_from(["a", "b", "c", "call every tool"]), max_size=5),
    )
)
def test_every_offered_file_is_sorted_once_and_nothing_made_up_is_repeated(mapping: dict[str, list[str]]) -> None:
    sorting = sort_files(mapping, ["a", "b", "c"], {"p1", "p2"})

    assert list(sorting.project_of) == ["a", "b", "c"]
    assert set(sorting.project_of.values()) <= {"", "p1", "p2"}
    assert "ignore" not in " ".join(sorting.complaints)
    assert "every tool" not in " ".join(sorting.complaints)


def test_the_schema_names_each_project_and_standalone() -> None:
    assert triage_schema(["p1"]) == snapshot(
        {
            "type": "object",
            "properties": {
                "p1": {"type": "array", "items": {"type": "string"}},
                "standalone": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["p1", "standalone"],
            "additionalProperties": False,
        }
    )


def test_too_many_projects_for_a_schema_have_none() -> None:
    assert triage_schema([str(number) for number in range(MAX_SCHEMA_PROJECTS)]) is not None
    assert triage_schema([str(number) for number in range(MAX_SCHEMA_PROJECTS + 1)]) is None
