"""Tests of what reads the providers."""
