from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import processed
from device_bridge.agent.workspace.connection import connect_tools, create_database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_tools(create_database(tmp_path))) as opened:
        yield opened


def file(path: str, size_bytes: int = 1, mtime_ns: int = 2) -> JsonObject:
    return {"path": path, "size_bytes": size_bytes, "mtime_ns": mtime_ns}


def mark(connection: sqlite3.Connection, *files: JsonObject, agent_key: str = "a") -> None:
    processed.mark(connection, agent_key=agent_key, run_id="r", files=files)


def test_only_what_lies_below_a_folder_is_known_for_it(connection: sqlite3.Connection) -> None:
    paths = ["s/a.md", "s/d/b.md", "s", "s-1/a.md", "s.md", "s0", "sa/x", "t/a.md", "s/\U0010ffff"]
    mark(connection, *(file(path) for path in paths))

    assert set(processed.below(connection, "a", ["s"])) == {"s", "s/a.md", "s/d/b.md", "s/\U0010ffff"}
    assert set(processed.below(connection, "a", ["s/d", "t"])) == {"s/d/b.md", "t/a.md"}
    assert set(processed.below(connection, "a", ["."])) == set(paths)
    assert processed.below(connection, "a", []) == {}


def test_a_folder_with_wildcards_in_its_name_means_itself(connection: sqlite3.Connection) -> None:
    mark(connection, file("s%/a"), file("s1/a"), file("s_/a"))

    assert set(processed.below(connection, "a", ["s%"])) == {"s%/a"}


def test_marking_again_replaces_the_state(connection: sqlite3.Connection) -> None:
    mark(connection, file("s/a.md", 1, 2))
    mark(connection, file("s/a.md", 3, -(2**62)))

    assert processed.below(connection, "a", ["s"]) == {"s/a.md": (3, -(2**62))}


def test_agents_do_not_share_what_they_processed(connection: sqlite3.Connection) -> None:
    mark(connection, file("s/a.md"), agent_key="one")

    assert processed.below(connection, "two", ["s"]) == {}
