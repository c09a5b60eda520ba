"""The bridge's store on PostgreSQL: SQLAlchemy Core on asyncpg, schema `device_bridge`."""
