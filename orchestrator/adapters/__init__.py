"""The outer world behind the ports."""
