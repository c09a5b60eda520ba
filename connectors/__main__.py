"""`python -m connectors`: the connectors."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from adiuva_rpc.server import InsecureListenerError, PortInUseError
from adiuva_rpc.settings import load_or_exit
from adiuva_rpc.supervision import end_with_supervisor
from adiuva_rpc.telemetry import configure_logging
from adiuva_rpc.tls import TlsFileError
from adiuva_rpc.tokens import TokenFileError
from connectors.app import serve
from connectors.errors import StoreUnavailable
from connectors.settings import ConnectorsSettings
from connectors.vault.key_file import KeyFileError


def main() -> None:
    """Run the connectors. Exit codes: 0 stopped in order, 1 it could not start, 2 a setting is wrong."""
    end_with_supervisor()
    settings = load_or_exit(ConnectorsSettings)
    configure_logging("connectors", level=settings.log_level)
    try:
        asyncio.run(serve(settings))
    except* (PortInUseError, InsecureListenerError, TlsFileError, TokenFileError, KeyFileError) as group:
        _end(str(group.exceptions[0]))
    except* (SQLAlchemyError, asyncpg.PostgresError, StoreUnavailable, OSError) as group:
        _end(f"the database cannot be used ({type(group.exceptions[0]).__name__}); check ADIUVA_DATABASE_URL")


def _end(sentence: str) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
