"""P1 to P17: what a path says."""

from __future__ import annotations

import os
from pathlib import Path

from device_bridge.agent.sandbox.names import Platform
from device_bridge.agent.sandbox.paths import normalise
from tests.device_bridge.agent.sandbox.cases import case
from tests.device_bridge.agent.sandbox.stage import Stage
from tests.device_bridge.agent.sandbox.verdict import verdict


@case(1, "the empty path")
async def _(stage: Stage) -> None:
    assert await stage.read("") == "INVALID_ARGUMENT"
    assert await stage.list("") == "INVALID_ARGUMENT"


@case(2, "a dot is the list of the roots, and no file")
async def _(stage: Stage) -> None:
    for dot in (".", "./", "././/."):
        assert await stage.list(dot) == "OK"
        assert list(stage.entries()) == ["root"]
        assert await stage.read(dot) == "NOT_A_FILE"
    assert await stage.list("root/.") == "OK"
    assert await stage.read("root/.") == "NOT_A_FILE"


@case(3, "dot dot alone")
async def _(stage: Stage) -> None:
    for path in ("..", "root/..", "../", "root/./.."):
        assert await stage.read(path) == "PATH_DENIED"
        assert await stage.list(path) == "PATH_DENIED"


@case(4, "a sibling whose name begins with the root's")
async def _(stage: Stage) -> None:
    for path in ("../root_evil/s.txt", "root/../root_evil/s.txt", "root_evil/s.txt"):
        assert await stage.read(path) == "PATH_DENIED"


@case(5, "dot dot that stays inside is refused all the same")
async def _(stage: Stage) -> None:
    stage.write("a.txt")
    stage.write("sub/b.txt")

    assert await stage.read("root/sub/../a.txt") == "PATH_DENIED"


@case(6, "dot dot through a folder and out")
async def _(stage: Stage) -> None:
    stage.write("sub/b.txt")

    assert await stage.read("root/sub/../../root_evil/s.txt") == "PATH_DENIED"


@case(7, "an absolute path")
async def _(stage: Stage) -> None:
    for path in ("/etc/passwd", "//etc/passwd", str(stage.write("a.txt"))):
        assert await stage.read(path) == "INVALID_ARGUMENT"


@case(8, "a NUL, behind which the kernel would not look")
async def _(stage: Stage) -> None:
    stage.write("a.txt")

    for path in ("root/a.txt\0../../etc/passwd", "root/a.txt\\u{0}", "\0"):
        assert await stage.read(path) == "INVALID_ARGUMENT"
        assert await stage.list(path) == "INVALID_ARGUMENT"


@case(9, "a file written like a folder")
async def _(stage: Stage) -> None:
    stage.write("a.txt")

    for path in ("root/a.txt/", "root/a.txt/.", "root/a.txt/x"):
        assert await stage.read(path) == "NOT_A_DIRECTORY"
        assert await stage.tell(path) == "NOT_A_DIRECTORY"


@case(10, "dots and doubled slashes are dropped once, and leave one name for the records")
async def _(stage: Stage) -> None:
    stage.write("a/a.txt")

    assert await stage.read("./root/./a//.///a.txt") == "OK"
    assert stage.answer["path"] == "root/a/a.txt" == normalise("./root/./a//.///a.txt")


@case(11, "percent signs are never decoded")
async def _(stage: Stage) -> None:
    stage.write("a%20b.txt")

    for path in ("root/%2e%2e/etc/passwd", "root/..%2f", "root/%2e%2e%2froot_evil%2fs.txt", "root/a b.txt"):
        assert await stage.read(path) == "NOT_FOUND"
    assert await stage.read("root/a%20b.txt") == "OK"


@case(12, "backslashes: a name on POSIX, a way out on Windows")
async def _(stage: Stage) -> None:
    assert await stage.read("root/..\\..\\etc\\passwd") == "NOT_FOUND"
    assert await stage.read("..\\..\\etc\\passwd") == "INVALID_ARGUMENT"
    assert verdict("root/..\\..\\etc\\passwd", Platform.WINDOWS) == "PATH_DENIED"
    assert verdict("..\\..\\etc\\passwd", Platform.WINDOWS) == "PATH_DENIED"


@case(13, "homes and variables are never expanded")
async def _(stage: Stage) -> None:
    for path in ("root/~/a.txt", "root/~root/a.txt", "root/$HOME/x", "root/${HOME}/x", "root/%USERPROFILE%\\x"):
        assert await stage.read(path) == "NOT_FOUND"
    assert await stage.read("~/a.txt") == "PATH_DENIED"
    # Literal, and then on the deny list like any other such name.
    assert await stage.read("root/~/.ssh/id_rsa") == "DENIED_BY_POLICY"


@case(14, "URLs")
async def _(stage: Stage) -> None:
    for url in ("file:///etc/passwd", "http://127.0.0.1/x", "smb://server/share"):
        assert await stage.read(url) == "INVALID_ARGUMENT"
        assert await stage.read(f"root/{url}") == "NOT_FOUND"


@case(15, "a component of 256 bytes")
async def _(stage: Stage) -> None:
    for name in ("n" * 256, "\N{EURO SIGN}" * 86):
        assert await stage.read(f"root/{name}") == "NOT_FOUND"
        assert await stage.list(f"root/{name}") == "NOT_FOUND"


@case(16, "too many bytes, too many components")
async def _(stage: Stage) -> None:
    for path in ("root/" + "a" * 4200, "root" + "/a" * 1000, "root/" + "\N{EURO SIGN}" * 400, "root" + "/." * 64):
        assert await stage.read(path) == "INVALID_ARGUMENT"
        assert await stage.list(path) == "INVALID_ARGUMENT"
    assert await stage.read("root" + "/a" * 63) == "NOT_FOUND"


@case(17, "a real tree deeper than PATH_MAX")
async def _(stage: Stage) -> None:
    name = "d" * 100
    folder = os.open(stage.root, os.O_RDONLY)
    for _ in range(60):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    stage.link("l", "/".join([name] * 30))
    stage.link(f"{'/'.join([name] * 30)}/m", "/".join([name] * 20))

    assert await stage.list("root/" + "/".join([name] * 9)) == "OK"
    assert await stage.list("root/" + "/".join([name] * 11)) == "INVALID_ARGUMENT"
    assert await stage.list("root/l") == "OK"
    # Below this the kernel cannot name the folder any more, and what has no name is not handed out.
    assert await stage.list("root/l/m") in {"NOT_FOUND", "OK"}
    changed = await stage.sandbox.find_changed_files(["root"], [], lambda _: None)
    assert [entry["reason"] for entry in changed["unreadable"]] == ["INVALID_ARGUMENT"]
    _remove_deep(stage.root, name)


def _remove_deep(root: Path, name: str) -> None:
    """Remove the chain of folders, which no path is long enough for."""
    folders = [os.open(root, os.O_RDONLY)]
    try:
        while True:
            folders.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folders[-1]))
    except FileNotFoundError:
        while len(folders) > 1:
            os.close(folders.pop())
            if "m" in os.listdir(folders[-1]):  # noqa: PTH208 - a descriptor is no path
                os.unlink("m", dir_fd=folders[-1])
            os.rmdir(name, dir_fd=folders[-1])
    finally:
        os.close(folders[0])
