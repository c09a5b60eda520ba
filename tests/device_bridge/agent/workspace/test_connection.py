from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device_bridge.agent.workspace.connection import connect_local, connect_reader, connect_tools, create_database
from device_bridge.agent.workspace.errors import NoWorkspace, WorkspaceTooNew, WorkspaceUnusable

from .support import by_user

TABLES = ("projects", "tasks", "task_comments", "notes", "timelines")

INSERTS = {
    "projects": "INSERT INTO projects (id, name, {}) VALUES ('p', 'n', {})",
    "tasks": "INSERT INTO tasks (id, title, {}) VALUES ('t', 'n', {})",
    "task_comments": "INSERT INTO task_comments (id, task_id, author, text, {}) VALUES ('c', 'parent', 'a', 'x', {})",
    "notes": "INSERT INTO notes (id, title, content, {}) VALUES ('n', 'n', 'x', {})",
    "timelines": "INSERT INTO timelines (id, title, date, {}) VALUES ('l', 'n', '2026-01-01', {})",
}
COLUMNS = "is_ai_suggested, is_approved, created_at, updated_at"


def insert(table: str, *, suggested: int, approved: int) -> str:
    return INSERTS[table].format(COLUMNS, f"{suggested}, {approved}, 'now', 'now'")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    created = create_database(tmp_path / "data")
    with closing(connect_local(created)) as local:
        by_user(local, ("INSERT INTO tasks (id, title, created_at, updated_at) VALUES ('parent', 'x', '', '')", ()))
    return created


@pytest.fixture
def tools(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_tools(path)) as connection:
        yield connection


@pytest.fixture
def local(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_local(path)) as connection:
        yield connection


def test_only_the_user_may_open_the_folder_and_the_database(path: Path, tools: sqlite3.Connection) -> None:
    tools.execute(insert("projects", suggested=1, approved=0))

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"workspace.db": 0o600, "workspace.db-wal": 0o600, "workspace.db-shm": 0o600}


def test_wide_rights_of_an_old_database_are_narrowed(path: Path) -> None:
    path.chmod(0o644)
    path.parent.chmod(0o755)

    create_database(path.parent)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("connect", [connect_tools, connect_local])
def test_a_connection_is_durable_and_strict(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
    with closing(connect(path)) as connection:
        connection.set_authorizer(None)
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "busy_timeout")
        }

    full = 2
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "busy_timeout": 5000,
    }


def test_a_missing_workspace_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspace, match="no workspace at"):
        connect_local(tmp_path / "workspace.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workspace.db").write_bytes(b"a letter, not a database" * 100)

    with pytest.raises(WorkspaceUnusable, match="cannot be used as a workspace"):
        create_database(tmp_path)


def test_a_link_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workspace.db").symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(WorkspaceUnusable):
        create_database(tmp_path)


def test_a_database_of_a_newer_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")

    with pytest.raises(WorkspaceTooNew):
        create_database(path.parent)


@pytest.mark.parametrize("table", TABLES)
class TestApprovalBelongsToTheLocalUser:
    """I5 and I6 in the database itself, with the authorizer taken away: the triggers alone."""

    @pytest.fixture
    def bare(self, tools: sqlite3.Connection) -> sqlite3.Connection:
        tools.set_authorizer(None)
        return tools

    @pytest.mark.parametrize(("suggested", "approved"), [(1, 1), (0, 0), (0, 1)])
    def test_a_row_enters_only_as_an_unapproved_suggestion(
        self, bare: sqlite3.Connection, table: str, suggested: int, approved: int
    ) -> None:
        with pytest.raises(sqlite3.IntegrityError, match="only the local user adds approved rows"):
            bare.execute(insert(table, suggested=suggested, approved=approved))

        bare.execute(insert(table, suggested=1, approved=0))

    @pytest.mark.parametrize(
        "change", ["is_approved = 1", "is_ai_suggested = 0", "is_ai_suggested = 0, is_approved = 1"]
    )
    def test_no_update_approves_a_suggestion(self, bare: sqlite3.Connection, table: str, change: str) -> None:
        bare.execute(insert(table, suggested=1, approved=0))

        with pytest.raises(sqlite3.IntegrityError, match="only the local user approves"):
            bare.execute(f"UPDATE {table} SET {change} WHERE id <> 'parent'")  # noqa: S608

    @pytest.mark.parametrize(("suggested", "approved"), [(1, 1), (0, 0), (0, 1)])
    def test_an_approved_or_own_row_is_changed_by_no_tool(
        self, bare: sqlite3.Connection, local: sqlite3.Connection, table: str, suggested: int, approved: int
    ) -> None:
        by_user(local, (insert(table, suggested=suggested, approved=approved), ()))

        with pytest.raises(sqlite3.IntegrityError, match="changed by the local user only"):
            bare.execute(f"UPDATE {table} SET source = 'x'")  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="local user"):
            bare.execute(f"UPDATE {table} SET is_ai_suggested = 1, is_approved = 0")  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="only the local user deletes"):
            bare.execute(f"DELETE FROM {table}")  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="only the local user deletes"):
            bare.execute(insert(table, suggested=1, approved=0).replace("INSERT", "INSERT OR REPLACE"))

    def test_the_local_user_may_do_all_of_it(self, local: sqlite3.Connection, table: str) -> None:
        by_user(
            local,
            (insert(table, suggested=1, approved=0), ()),
            (f"UPDATE {table} SET is_approved = 1", ()),  # noqa: S608
            (f"UPDATE {table} SET source = 'x'", ()),  # noqa: S608
            (f"DELETE FROM {table}", ()),  # noqa: S608
        )

        assert local.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0  # noqa: S608


def test_a_gate_that_was_left_open_is_shut_when_the_workspace_opens(path: Path, local: sqlite3.Connection) -> None:
    local.execute("INSERT INTO approval_gate VALUES ('then')")

    create_database(path.parent)

    assert local.execute("SELECT count(*) FROM approval_gate").fetchone()[0] == 0


FORBIDDEN = [
    "INSERT INTO approval_gate VALUES ('now')",
    "UPDATE tasks SET is_approved = 1",
    "UPDATE tasks SET is_ai_suggested = 0",
    "UPDATE tasks SET created_by_run = 'another'",
    "UPDATE task_comments SET text = 'x'",
    "UPDATE suggestions SET changes = '{}'",
    "UPDATE changes SET title = 'x'",
    "DELETE FROM changes",
    "DELETE FROM tasks",
    "DELETE FROM runs",
    "DROP TABLE tasks",
    "DROP TRIGGER tasks_protected",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x (y)",
    "CREATE TEMP TRIGGER x BEFORE UPDATE ON tasks BEGIN SELECT 1; END",
    "ALTER TABLE tasks RENAME TO chores",
    "PRAGMA trusted_schema = ON",
    "PRAGMA writable_schema = ON",
    "ATTACH DATABASE ':memory:' AS other",
    "SELECT load_extension('x')",
    "REINDEX",
    "ANALYZE",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_tools_connection_cannot_even_prepare(tools: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited|may not be|no such function"):
        tools.execute(statement)


@pytest.mark.parametrize("statement", [*FORBIDDEN, "INSERT INTO ledger VALUES ('a', 'b', 'c', 0, 'd', 'e')"])
def test_a_reading_connection_changes_nothing(path: Path, statement: str) -> None:
    with closing(connect_reader(path)) as reader, pytest.raises(sqlite3.DatabaseError):
        reader.execute(statement)
