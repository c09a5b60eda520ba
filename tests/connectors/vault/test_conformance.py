"""The fakes keep the suites, and so do keys in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.vault.key_file import FileKeys, add_key, create_key_file, remove_key
from tests.conformance.connectors.key_provider import KeyProviderConformance, KeyProviderLab
from tests.conformance.connectors.key_store import KeyStoreConformance, KeyStoreLab
from tests.fakes.key_provider import InMemoryKeys
from tests.fakes.key_store import InMemoryKeyStore


class FileLab:
    """A key file and its operator, with a clock that has moved on at each look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._time = 0.0
        create_key_file(path)
        self.keys = FileKeys(path, clock=self._later)

    async def add(self) -> str:
        return add_key(self._path)

    async def forget(self, key_id: str) -> None:
        remove_key(self._path, key_id)

    def _later(self) -> float:
        self._time += 10.0
        return self._time


class TestInMemoryKeyStore(KeyStoreConformance):
    @pytest.fixture
    def lab(self) -> KeyStoreLab:
        return InMemoryKeyStore()


class TestInMemoryKeys(KeyProviderConformance):
    @pytest.fixture
    def lab(self) -> KeyProviderLab:
        return InMemoryKeys()


class TestFileKeys(KeyProviderConformance):
    @pytest.fixture
    def lab(self, tmp_path: Path) -> KeyProviderLab:
        return FileLab(tmp_path / "keys.json")
