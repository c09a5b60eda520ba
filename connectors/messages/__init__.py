"""New messages of a connection, incrementally."""
