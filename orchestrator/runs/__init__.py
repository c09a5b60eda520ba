"""Runs: the journal, the loop, triage and processing."""
