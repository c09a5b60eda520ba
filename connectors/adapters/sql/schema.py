"""Brings the schema up to date at the start of a replica; replicas that start together take turns."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.tables import SCHEMA

MIGRATIONS = Path(__file__).parents[1] / "migrations"
LOCK = 4_418_907_262_915_337
"""Of this schema, among the advisory locks of the database."""


async def upgrade(engine: AsyncEngine) -> None:
    """Run the steps that are missing, all in one transaction. Safe to repeat, and from several replicas at once."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
