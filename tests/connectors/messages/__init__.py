"""Tests of the messages of a connection."""
