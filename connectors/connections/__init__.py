"""The users' grants: how they begin, stay alive and end."""
