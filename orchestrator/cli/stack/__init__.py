"""Everything on one machine: a private PostgreSQL, the services with generated credentials, and a device agent."""
