"""Whatever the path says and however the tree is arranged: what is read was written inside the root."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings, strategies as st

from device_bridge.agent.domain import ToolError
from device_bridge.agent.sandbox.access import FileAccess
from device_bridge.agent.sandbox.escapes import escape, unescape
from device_bridge.agent.sandbox.listing import file_metadata, list_directory
from device_bridge.agent.sandbox.names import Platform
from device_bridge.agent.sandbox.paths import normalise, parse
from device_bridge.agent.sandbox.reading import Document, part, read_file
from tests.device_bridge.agent.sandbox.stage import Stage

WHOLE = part(0, None)

NAMES = ("a.txt", "sub", "l_root", "l_up", "l_in", "l_abs", "l_proc", "link", "root", "root_evil", "s.txt")
FRAGMENTS = st.sampled_from(
    (
        *NAMES,
        "..",
        ".",
        "",
        "/",
        "//",
        "\\",
        "..\\",
        "~",
        "%2e%2e",
        "\0",
        "\u200b",
        "\\x2e",
        "\\u{2e}",
        ":",
        "etc",
        "passwd",
    )
)
PATHS = st.one_of(
    st.text(max_size=60),
    st.lists(FRAGMENTS, max_size=8).map("/".join),
    st.lists(st.one_of(FRAGMENTS, st.text(max_size=3)), max_size=8).map(lambda parts: "root/" + "/".join(parts)),
)

SPOTS = st.sampled_from(("a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/b/c"))
TARGETS = st.sampled_from(("a", "b/a", ".", "..", "../root_evil", "../root_evil/s.txt", "b/../..", "/etc", "a/../a"))
STEPS = st.one_of(
    st.tuples(st.just("mkdir"), SPOTS, SPOTS),
    st.tuples(st.just("write"), SPOTS, SPOTS),
    st.tuples(st.just("unlink"), SPOTS, SPOTS),
    st.tuples(st.just("rename"), SPOTS, SPOTS),
    st.tuples(st.just("link"), SPOTS, TARGETS),
)


def test_no_path_yields_what_is_not_inside(stage: Stage) -> None:
    stage.write("a.txt")
    stage.write("sub/a.txt")
    links = {
        "l_root": "/",
        "l_up": "..",
        "l_in": "sub",
        "l_abs": str(stage.evil),
        "l_proc": "/proc/self/root",
        "link": "sub/a.txt",
    }
    for name, target in links.items():
        stage.link(name, target)
        stage.link(f"sub/{name}", target)
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)

    @settings(max_examples=400, deadline=None, database=None)
    @given(PATHS)
    def check(path: str) -> None:
        assert_nothing_escapes(stage, access, path)

    check()


def test_no_arrangement_of_the_tree_yields_what_is_not_inside(stage: Stage) -> None:
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)
    spots = ("", "a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/b/c", "a/s.txt", "b/s.txt", "c/root_evil/s.txt")

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.lists(STEPS, max_size=12))
    def check(steps: list[tuple[str, str, str]]) -> None:
        for entry in stage.root.iterdir():
            remove(entry)
        for step in steps:
            with suppress(OSError, RuntimeError):
                take(stage, *step)
            for spot in spots:
                assert_nothing_escapes(stage, access, f"root/{spot}")

    check()


def take(stage: Stage, step: str, spot: str, other: str) -> None:
    """Do one thing to the tree, as anyone who may write into the root can."""
    place = stage.root / spot
    if step == "mkdir":
        place.mkdir()
    elif step == "write":
        if not place.parent.resolve().is_relative_to(stage.root):
            return  # only what is really written inside holds the nonce
        if not place.is_symlink():
            place.write_text(stage.nonce, encoding="utf-8")
    elif step == "unlink":
        if place.parent.resolve().is_relative_to(stage.root):
            remove(place)
    elif step == "rename":
        inside = all(path.parent.resolve().is_relative_to(stage.root) for path in (place, stage.root / other))
        if inside:
            place.rename(stage.root / other)
    elif place.parent.resolve().is_relative_to(stage.root):
        place.symlink_to(other)


def remove(place: Path) -> None:
    """Remove whatever is there, without following a link."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def assert_nothing_escapes(stage: Stage, access: FileAccess, path: str) -> None:
    """Ask every question about `path`; whatever is answered must be about the inside."""
    with suppress(ToolError):
        answer = read_file(access, path, WHOLE)
        assert not isinstance(answer, Document)
        assert answer["text"] == stage.nonce
    with suppress(ToolError):
        file_metadata(access, path)
    with suppress(ToolError):
        listed = list_directory(access, path)
        names = {entry["name"] for entry in listed["entries"]}
        assert "passwd" not in names
        assert "s.txt" not in names


@settings(database=None)
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_every_name_has_a_spelling_of_its_own(name: bytes) -> None:
    shown = escape(name)

    assert unescape(shown) == name
    assert shown.isprintable()
    shown.encode("utf-8")


@settings(database=None)
@given(PATHS, st.sampled_from(Platform))
def test_a_path_is_refused_or_has_one_normal_spelling(path: str, platform: Platform) -> None:
    with suppress(ToolError):
        wire = parse(path, platform=platform)
        assert not {b"", b".", b"..", b"/"} & set(wire.names)
        if platform is Platform.POSIX and wire.is_writable():
            assert normalise(str(wire)) == str(wire)
