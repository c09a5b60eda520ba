"""The orchestrator's schema, step by step. `upgrade` brings a database to the newest step."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from orchestrator.adapters.sql.tables import SCHEMA

ADVISORY_LOCK = 7_212_451
"""Two replicas that start together must not migrate together."""


def upgrade(database_url: str) -> None:
    """Bring the database to the newest step. Blocking; safe to call from several processes at once.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached or a step failed; nothing of that step is kept.
    """
    engine = create_engine(database_url.replace("+asyncpg", "+psycopg"))
    try:
        with engine.connect() as guard:
            guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            guard.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            guard.commit()
            with engine.begin() as connection:
                config = Config()
                config.set_main_option("script_location", str(Path(__file__).parent))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
    finally:
        engine.dispose()
