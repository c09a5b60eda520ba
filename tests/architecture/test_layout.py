"""What the repository promises about itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEST_DATA = {"files", "golden"}
"""Folders of data below tests/: no Python in them."""


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_the_stubs_are_what_the_contracts_make() -> None:
    checked = subprocess.run(
        [sys.executable, "protos/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("command", [["lint"], ["format", "--diff", "--exit-code"]], ids=["lint", "format"])
def test_the_contracts_keep_the_house_style(command: list[str]) -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).parent / "buf"), *command], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in tracked() if path.suffix == ".py" and (ROOT / "tests") in path.parents}

    assert not sorted(str(folder) for folder in folders if not (folder / "__init__.py").is_file())


def test_no_file_names_an_address_of_a_package_registry() -> None:
    # Written apart, so that this file does not name them either.
    hosts = re.compile(
        "|".join(["pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npmjs", "proxy" + r"\.golang"])
    )

    assert not [str(path) for path, text in texts() if hosts.search(text)]


def test_every_dependency_is_pinned_with_a_hash_and_without_an_index() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE)

    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "--index" not in lock
    assert "--find-links" not in lock


def test_the_lock_covers_what_the_project_asks_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = "".join(
        (ROOT / name).read_text(encoding="utf-8").lower() for name in ("requirements.lock", "requirements-clients.lock")
    )
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = [re.split(r"[\[><=]", one)[0].lower().replace("_", "-") for one in wanted]

    assert not [name for name in names if not re.search(rf"^{re.escape(name)}==", lock, flags=re.MULTILINE)]
