"""Opening `workspace.db`: the file, its permissions, and the three kinds of connection.

The tools' connection may touch only the tables and verbs it needs; SQLite itself refuses the rest while it compiles
a statement. Only the local user's connection can open the approval gate.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

from device_bridge.agent.workspace.errors import NoWorkspace, WorkspaceUnusable
from device_bridge.agent.workspace.schema import migrate

DATABASE_NAME = "workspace.db"
BUSY_TIMEOUT_SECONDS = 5.0

_ROWS = frozenset({"projects", "tasks", "notes", "timelines"})
_WRITABLE = {
    sqlite3.SQLITE_INSERT: _ROWS
    | {"task_comments", "suggestions", "runs", "run_policies", "changes", "ledger", "processed_files"},
    sqlite3.SQLITE_UPDATE: _ROWS | {"runs", "run_policies", "ledger", "processed_files"},
    sqlite3.SQLITE_DELETE: frozenset({"ledger", "run_policies"}),
}
_STATE_COLUMNS = frozenset({"is_ai_suggested", "is_approved", "created_by_run"})
_READING = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 64 * 1024),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
)

Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]


def create_database(directory: Path) -> Path:
    """Make the workspace's folder and database, bring the tables to the newest version, and return the file's path.

    The folder is 0700 and the file 0600, also when they were there with wider rights.

    Raises:
        WorkspaceTooNew: A newer program has written the database.
        WorkspaceUnusable: The file is no SQLite database, or may not be opened.
    """
    path = directory / DATABASE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(stat.S_IRWXU)
        # Made before SQLite opens it: SQLite gives its side files the rights of this one.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        os.close(descriptor)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise WorkspaceUnusable(path, error.strerror) from error
    connection = connect_local(path)
    connection.close()
    return path


def connect_tools(path: Path) -> sqlite3.Connection:
    """Open the connection on which tools write. It cannot approve, delete rows, or change the schema."""
    return _connect(path, _authorize_tools)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read."""
    connection = _connect(path, None)
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize_reader)
    return connection


def connect_local(path: Path) -> sqlite3.Connection:
    """Open the local user's connection, and bring the tables to the newest version.

    Raises:
        NoWorkspace: There is no such file.
        WorkspaceTooNew: A newer program has written the database.
        WorkspaceUnusable: The file is no SQLite database, or may not be opened.
    """
    if not path.is_file():
        raise NoWorkspace(path)
    try:
        connection = _connect(path, None)
    except sqlite3.Error as error:
        raise WorkspaceUnusable(path, error) from error
    try:
        migrate(connection)
        # A gate that is open outside a transaction can only come from a foreign program: shut it.
        if connection.execute("SELECT EXISTS (SELECT 1 FROM approval_gate)").fetchone()[0]:
            connection.execute("DELETE FROM approval_gate")
    except sqlite3.Error as error:
        connection.close()
        raise WorkspaceUnusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, authorizer: Authorizer | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, cached_statements=256)
    try:
        connection.row_factory = sqlite3.Row
        for category, limit in _LIMITS:
            connection.setlimit(category, limit)
        connection.execute("PRAGMA journal_mode = WAL")
        # An acknowledged effect survives a power cut, not only a crash of this process.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        # Without it INSERT OR REPLACE would delete a protected row and fire no trigger.
        connection.execute("PRAGMA recursive_triggers = ON")
        if authorizer is not None:
            connection.set_authorizer(authorizer)
    except BaseException:
        connection.close()
        raise
    return connection


def _authorize_reader(action: int, _one: str | None, two: str | None, _db: str | None, _by: str | None) -> int:
    if action in _READING or (action == sqlite3.SQLITE_FUNCTION and two != "load_extension"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _authorize_tools(action: int, one: str | None, two: str | None, db: str | None, by: str | None) -> int:
    if action not in _WRITABLE:
        return _authorize_reader(action, one, two, db, by)
    if one not in _WRITABLE[action]:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_UPDATE and one in _ROWS and two in _STATE_COLUMNS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
