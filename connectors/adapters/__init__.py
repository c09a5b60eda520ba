"""How this service meets its database."""
