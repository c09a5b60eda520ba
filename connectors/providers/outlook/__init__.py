"""Outlook mail, by Graph."""
