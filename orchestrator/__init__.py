"""Runs the agents: definitions, runs and their journal, triage and processing, schedules, and the `adiuva` command."""
