"""PostgreSQL behind the ports, by SQLAlchemy on asyncpg."""
