"""How alembic runs a step: on the connection that `upgrade` gives it, inside its transaction."""

from __future__ import annotations

from alembic import context

from connectors.adapters.sql.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table_schema=SCHEMA
)
with context.begin_transaction():
    context.run_migrations()
