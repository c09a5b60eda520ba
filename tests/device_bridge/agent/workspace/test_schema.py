from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device_bridge.agent.workspace.errors import WorkspaceTooNew
from device_bridge.agent.workspace.schema import MIGRATIONS, Migration, migrate

THREE: tuple[Migration, ...] = (
    ("CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"),
    ("ALTER TABLE a ADD COLUMN y DEFAULT 2",),
    ("CREATE TABLE b AS SELECT y FROM a",),
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("start", range(len(MIGRATIONS) + 1))
def test_every_earlier_version_becomes_the_newest(start: int) -> None:
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as old,
    ):
        migrate(fresh)
        migrate(old, MIGRATIONS[:start])

        migrate(old)

        assert version(old) == len(MIGRATIONS)
        assert schema(old) == schema(fresh)
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("start", range(4))
def test_migrations_go_on_from_where_a_database_is(connection: sqlite3.Connection, start: int) -> None:
    migrate(connection, THREE[:start])

    migrate(connection, THREE)

    assert version(connection) == 3
    assert connection.execute("SELECT y FROM b").fetchall() == [(2,)]


def test_migrating_twice_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = schema(connection)

    migrate(connection)

    assert schema(connection) == before


def test_a_migration_that_fails_leaves_the_version_before_it_whole(connection: sqlite3.Connection) -> None:
    broken: Migration = ("INSERT INTO a VALUES (3, 4)", "CREATE TABLE c (z)", "INSERT INTO missing VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*THREE[:2], broken))

    assert version(connection) == 2
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (1,)
    assert "c" not in dict(schema(connection))


def test_a_newer_database_is_refused_and_left_alone(connection: sqlite3.Connection) -> None:
    migrate(connection)
    newer = len(MIGRATIONS) + 1
    connection.execute(f"PRAGMA user_version = {newer}")

    with pytest.raises(WorkspaceTooNew, match=f"version {newer}.*knows only {len(MIGRATIONS)}"):
        migrate(connection)

    assert version(connection) == newer


def test_two_programs_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "workspace.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as first,
        closing(sqlite3.connect(path, isolation_level=None)) as second,
    ):
        migrate(first, THREE[:1])
        migrate(second, THREE)

        migrate(first, THREE)

        assert version(first) == 3
