"""Which folders can be shared, what they are called, and what is noticed when they change."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from device_bridge.agent.sandbox.roots import RootHealth, RootRefused, open_roots, slug


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "agent" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("sample", "sample"),
        ("My Documents", "my-documents"),
        ("Città & Größe", "citta-groe"),
        ("..hidden", "hidden"),
        ("日本", "root"),
        ("a_b.c-d", "a_b.c-d"),
        ("C:\\x", "c-x"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_root_is_called_by_its_folders_name(name: str, root: str) -> None:
    assert slug(name) == root


def test_two_folders_of_one_name_get_names_of_their_own(tmp_path: Path, own: Path) -> None:
    folders = [tmp_path / parent / "Work" for parent in "abc"]
    for folder in folders:
        folder.mkdir(parents=True)

    assert [root.name for root in open_roots(folders, own_directory=own)] == ["work", "work-2", "work-3"]


@pytest.mark.parametrize(
    "path", ["/", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm", "/proc/self/root", "/proc/1/cwd/.."]
)
def test_the_systems_folders_are_refused(path: str, own: Path) -> None:
    with pytest.raises(RootRefused):
        open_roots([Path(path)], own_directory=own)


def test_the_home_directory_and_what_holds_it_are_refused(tmp_path: Path, own: Path) -> None:
    home = tmp_path / "home" / "livia"
    (home / "documents").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)

    for folder in (home, home.parent, tmp_path / "link"):
        with pytest.raises(RootRefused, match="home"):
            open_roots([folder], own_directory=own, home=home)
    assert open_roots([home / "documents"], own_directory=own, home=home)[0].name == "documents"


def test_the_agents_own_folder_is_refused_and_one_that_holds_it_is_not(own: Path) -> None:
    (own / "deep").mkdir()

    for folder in (own, own / "deep"):
        with pytest.raises(RootRefused, match="own data"):
            open_roots([folder], own_directory=own)
    assert open_roots([own.parent], own_directory=own)[0].name == "agent"


def test_a_folder_that_is_none_is_refused(tmp_path: Path, own: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    for name in ("file", "missing", "loop"):
        with pytest.raises(RootRefused):
            open_roots([tmp_path / name], own_directory=own)


def test_a_root_tells_nothing_local_about_itself(tmp_path: Path, own: Path) -> None:
    (tmp_path / "work").mkdir()

    root = open_roots([tmp_path / "work"], own_directory=own)[0]

    assert str(tmp_path) not in repr(root)


def test_a_root_is_held_as_long_as_someone_has_it(tmp_path: Path, own: Path) -> None:
    (tmp_path / "work").mkdir()
    roots = open_roots([tmp_path / "work"], own_directory=own)
    descriptor = roots[0].descriptor
    os.fstat(descriptor)

    del roots
    gc.collect()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_the_health_of_a_root_follows_what_happens_to_it(tmp_path: Path, own: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    root = open_roots([folder], own_directory=own)[0]
    assert root.health() is RootHealth.OK

    folder.rename(tmp_path / "moved")
    assert root.health() is RootHealth.CHANGED
    (tmp_path / "work").symlink_to("moved")
    assert root.health() is RootHealth.CHANGED
    (tmp_path / "moved").rmdir()
    assert root.health() is RootHealth.GONE
