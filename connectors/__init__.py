"""The users' grants at their mail and chat providers, and the messages that they let this service read."""
