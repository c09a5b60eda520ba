"""Tests of Google's part."""
