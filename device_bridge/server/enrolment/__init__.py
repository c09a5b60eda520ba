"""How a device joins a user's devices, and how it is known again."""
