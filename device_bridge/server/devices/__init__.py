"""Devices as users and services see them: lists, presence, revocation."""
