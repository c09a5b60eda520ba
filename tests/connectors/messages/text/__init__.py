"""Tests of mails and chat messages as text."""
