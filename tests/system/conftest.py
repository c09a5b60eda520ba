"""One running stack for the tests that do not harm it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sample import FILES
from tests.system.local_stack import LocalStack, local_stack


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    # Not pytest's tmp_path: a private PostgreSQL needs a short path that another user may walk through.
    with tempfile.TemporaryDirectory(prefix="adiuva-sys-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def sample_root(scratch: Path) -> Path:
    root = scratch / "sample"
    shutil.copytree(FILES, root)
    return root


@pytest.fixture(scope="session")
def stack(scratch: Path, sample_root: Path) -> Iterator[LocalStack]:
    with local_stack(scratch / "stack", sample_root) as running:
        yield running
