"""How alembic runs a step: on the connection that `upgrade` gives it."""

from __future__ import annotations

from alembic import context

from orchestrator.adapters.sql.tables import SCHEMA, metadata

connection = context.config.attributes["connection"]
connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")
context.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
