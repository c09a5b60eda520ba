"""The tables of `workspace.db`, as numbered migrations.

`PRAGMA user_version` is the number of migrations applied. Each migration is a tuple of single statements that run
in one transaction. A migration that has been released is never edited: a change is a new one at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from device_bridge.agent.workspace.errors import WorkspaceTooNew

Migration = tuple[str, ...]

# What every row of the user's own data carries. A row made by hand is (0, 1); one that a run made is (1, 0) until
# the user approves it.
_STATE = """
    is_ai_suggested INTEGER NOT NULL DEFAULT 0 CHECK (is_ai_suggested IN (0, 1)),
    is_approved INTEGER NOT NULL DEFAULT 1 CHECK (is_approved IN (0, 1)),
    created_by_run TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
"""

_PROJECT_ID = "project_id TEXT REFERENCES projects (id) ON DELETE SET NULL"

_TABLES: Migration = (
    f"""CREATE TABLE projects (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        description TEXT NOT NULL DEFAULT '',
        client_name TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL DEFAULT 'Active' CHECK (status IN ('Active', 'On Hold', 'Completed')),
        {_STATE})""",
    f"""CREATE TABLE tasks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        description TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL DEFAULT 'ToDo' CHECK (status IN ('ToDo', 'In Progress', 'Completed')),
        due_date TEXT,
        assignees TEXT NOT NULL DEFAULT '[]',
        priority TEXT CHECK (priority IN ('Low', 'Medium', 'High')),
        {_PROJECT_ID},
        {_STATE})""",
    f"""CREATE TABLE task_comments (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        author TEXT NOT NULL,
        text TEXT NOT NULL,
        {_STATE})""",
    f"""CREATE TABLE notes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        content TEXT NOT NULL,
        {_PROJECT_ID},
        {_STATE})""",
    f"""CREATE TABLE timelines (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        date TEXT NOT NULL,
        end_date TEXT,
        description TEXT NOT NULL DEFAULT '',
        is_completed INTEGER NOT NULL DEFAULT 0 CHECK (is_completed IN (0, 1)),
        {_PROJECT_ID},
        {_STATE})""",
    "CREATE INDEX tasks_by_project ON tasks (project_id)",
    "CREATE INDEX task_comments_by_task ON task_comments (task_id)",
    "CREATE INDEX notes_by_project ON notes (project_id)",
    "CREATE INDEX timelines_by_project ON timelines (project_id)",
    # A change that a run proposes to a row it may not touch; gone once the user has decided.
    """CREATE TABLE suggestions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        entity_type TEXT NOT NULL CHECK (entity_type IN ('project', 'task', 'note', 'timeline')),
        entity_id TEXT NOT NULL,
        changes TEXT NOT NULL,
        created_by_run TEXT NOT NULL,
        source TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL)""",
    "CREATE INDEX suggestions_by_entity ON suggestions (entity_type, entity_id)",
    """CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL,
        agent_key TEXT NOT NULL,
        agent_name TEXT NOT NULL,
        "trigger" TEXT NOT NULL,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        completed_at TEXT,
        summary TEXT NOT NULL DEFAULT '',
        counts TEXT NOT NULL DEFAULT '{}')""",
    """CREATE TABLE run_policies (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        phase TEXT NOT NULL,
        "group" TEXT NOT NULL,
        policy TEXT NOT NULL,
        calls INTEGER NOT NULL DEFAULT 0,
        read_bytes INTEGER NOT NULL DEFAULT 0,
        creates INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run_id, phase, "group"))""",
    # Every effect, for ever. One call cannot have its effect twice: its positions are unique.
    """CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL,
        call_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('CREATED', 'UPDATED', 'COMMENTED', 'PROPOSED')),
        entity_type TEXT NOT NULL,
        entity_id TEXT NOT NULL,
        title TEXT NOT NULL,
        source TEXT NOT NULL DEFAULT '',
        at TEXT NOT NULL,
        UNIQUE (call_id, position))""",
    "CREATE INDEX changes_by_run ON changes (run_id, kind, entity_type)",
    "CREATE INDEX changes_by_entity ON changes (entity_id)",
    """CREATE TABLE ledger (
        call_id TEXT PRIMARY KEY,
        args_hash TEXT NOT NULL,
        outcome TEXT,
        read_bytes INTEGER NOT NULL DEFAULT 0,
        run_id TEXT NOT NULL,
        at TEXT NOT NULL)""",
    "CREATE INDEX ledger_by_run ON ledger (run_id)",
    """CREATE TABLE processed_files (
        agent_key TEXT NOT NULL,
        path TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        PRIMARY KEY (agent_key, path)) WITHOUT ROWID""",
)

# The gate of the local user. A row in it, seen only inside the transaction that wrote it, says that a person at this
# device is deciding. The connection of the tools may not write to it. (A registered SQL function could not stand
# here: with trusted_schema off SQLite refuses application-defined functions in triggers.)
_GATE = "CREATE TABLE approval_gate (opened_at TEXT NOT NULL)"

_CLOSED = "NOT EXISTS (SELECT 1 FROM approval_gate)"

_GUARDS: Migration = (
    f"""CREATE TRIGGER <table>_inserted_as_suggestion BEFORE INSERT ON <table>
        WHEN (NEW.is_ai_suggested <> 1 OR NEW.is_approved <> 0) AND {_CLOSED}
        BEGIN SELECT RAISE (ABORT, 'only the local user adds approved rows'); END""",
    f"""CREATE TRIGGER <table>_approved_locally BEFORE UPDATE OF is_ai_suggested, is_approved ON <table>
        WHEN (NEW.is_ai_suggested <> OLD.is_ai_suggested OR NEW.is_approved <> OLD.is_approved) AND {_CLOSED}
        BEGIN SELECT RAISE (ABORT, 'only the local user approves'); END""",
    f"""CREATE TRIGGER <table>_protected BEFORE UPDATE ON <table>
        WHEN (OLD.is_ai_suggested <> 1 OR OLD.is_approved <> 0) AND {_CLOSED}
        BEGIN SELECT RAISE (ABORT, 'approved and user-made rows are changed by the local user only'); END""",
    f"""CREATE TRIGGER <table>_deleted_locally BEFORE DELETE ON <table>
        WHEN {_CLOSED}
        BEGIN SELECT RAISE (ABORT, 'only the local user deletes'); END""",
)

_ENTITIES = (("projects", "project"), ("tasks", "task"), ("notes", "note"), ("timelines", "timeline"))

_DROP_SUGGESTIONS = """CREATE TRIGGER <table>_suggestions_dropped AFTER DELETE ON <table>
    BEGIN DELETE FROM suggestions WHERE entity_type = '<type>' AND entity_id = OLD.id; END"""

MIGRATIONS: tuple[Migration, ...] = (
    (
        *_TABLES,
        _GATE,
        *(
            guard.replace("<table>", table)
            for table in ("projects", "tasks", "task_comments", "notes", "timelines")
            for guard in _GUARDS
        ),
        *(_DROP_SUGGESTIONS.replace("<table>", table).replace("<type>", kind) for table, kind in _ENTITIES),
    ),
)
"""Migration n (from 1) brings a database of version n - 1 to version n."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a database to the newest version; do nothing when it is there.

    `connection` is in autocommit mode. Every migration commits by itself together with its number, so a crash leaves
    a whole version behind, and two processes that start at once do each one once.

    Raises:
        WorkspaceTooNew: The database has a version that this program does not know.
    """
    while (version := _version(connection)) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    if version > len(migrations):
        raise WorkspaceTooNew(version, len(migrations))


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
