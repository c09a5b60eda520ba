"""Agent definitions: what a user wants done."""
