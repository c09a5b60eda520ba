"""P52 to P64: names that are refused, on this platform and, by the pure name layer, on the others."""

from __future__ import annotations

import os

from device_bridge.agent.sandbox.names import Platform, is_denied
from tests.device_bridge.agent.sandbox.cases import case, elsewhere
from tests.device_bridge.agent.sandbox.stage import Stage
from tests.device_bridge.agent.sandbox.verdict import verdict

ALL_PLATFORMS = tuple(Platform)


@case(52, "a decomposed request for a composed name")
async def _(stage: Stage) -> None:
    # No name of the built-in list has an accent; `K` as the Kelvin sign decomposes to the letter.
    assert is_denied([".\N{KELVIN SIGN}ube"])
    assert is_denied(["\u212aey.PEM"])
    assert await stage.read("root/.\u212aube/config") == "DENIED_BY_POLICY"


@case(53, "another case of letters")
async def _(stage: Stage) -> None:
    stage.write("a.txt")

    assert await stage.read("root/A.TXT") == "NOT_FOUND"
    for path in ("root/.SSH/ID_RSA", "root/.EnV", "root/Server.PEM", "root/sub/.GIT/Config", "root/.\u017fsh/x"):
        assert await stage.read(path) == "DENIED_BY_POLICY"


@case(54, "a private key in its usual place")
async def _(stage: Stage) -> None:
    stage.write(".ssh/id_ed25519")
    stage.write(".ssh/known_hosts")

    assert await stage.read("root/.ssh/id_ed25519") == "DENIED_BY_POLICY"
    assert await stage.read("root/.ssh/known_hosts") == "DENIED_BY_POLICY"
    assert await stage.list("root/.ssh") == "DENIED_BY_POLICY"
    assert await stage.tell("root/.ssh") == "DENIED_BY_POLICY"
    assert await stage.list("root") == "OK"
    assert stage.entries()[".ssh"]["denied"] is True


@case(55, "an innocent link to a denied file")
async def _(stage: Stage) -> None:
    stage.write(".env")
    stage.write(".ssh/id_rsa")
    stage.link("notes.txt", ".env")
    stage.link("folder", ".ssh")

    for path in ("root/notes.txt", "root/folder", "root/folder/id_rsa"):
        assert await stage.read(path) == "DENIED_BY_POLICY"
        assert await stage.tell(path) == "DENIED_BY_POLICY"
    assert await stage.list("root") == "OK"
    assert {name for name, entry in stage.entries().items() if entry.get("denied")} == {
        ".env",
        ".ssh",
        "notes.txt",
        "folder",
    }


@case(56, "spellings that Windows takes for a denied name")
async def _(stage: Stage) -> None:
    for name in (".env.", ".env ", ".env . .", ".env::$DATA", ".env:x", "ENV~1", "env~12.loc", "SSH~1", "GIT-CR~1"):
        for platform in ALL_PLATFORMS:
            assert verdict(f"root/{name}", platform) == "DENIED_BY_POLICY"
        stage.write(name)
        assert await stage.read(f"root/{name}") == "DENIED_BY_POLICY"
    assert verdict("root/GIT~1/config", Platform.WINDOWS) == "DENIED_BY_POLICY"


@case(57, "ignorable characters inside a denied name")
async def _(stage: Stage) -> None:
    for path in (
        ".\u200cgit/config",
        ".g\u200cit/config",
        ".e\u2060nv",
        ".\ufeffssh/x",
        "id_\u00adrsa",
        ".en\U000e0041v",
    ):
        stage.write(path)
        assert await stage.read(f"root/{path}") == "DENIED_BY_POLICY"


@case(58, "the agent's own data, through a root that holds it")
async def _(stage: Stage) -> None:
    for name in ("workspace.db", "workspace.db-wal", "credential", "deep/settings.json"):
        (stage.own / name).parent.mkdir(exist_ok=True)
        (stage.own / name).write_text("OUTSIDE", encoding="utf-8")
    (stage.base / "beside.txt").write_text(stage.nonce, encoding="utf-8")
    os.link(stage.own / "workspace.db", stage.root / "linked.txt")
    stage.restart(directories=[stage.base])
    name = stage.sandbox.root_names()[0]

    for path in ("own/workspace.db", "own/workspace.db-wal", "own/credential", "own/deep/settings.json", "own"):
        assert await stage.tell(f"{name}/{path}") == "DENIED_BY_POLICY"
        assert await stage.read(f"{name}/{path}") == "DENIED_BY_POLICY"
    # A second name of the same file.
    assert await stage.read(f"{name}/root/linked.txt") == "DENIED_BY_POLICY"
    assert await stage.read(f"{name}/beside.txt") == "OK"
    assert await stage.list(name) == "OK"
    assert stage.entries()["own"]["denied"] is True

    stage.own.rename(stage.base / "moved")
    assert await stage.read(f"{name}/moved/credential") == "DENIED_BY_POLICY"


@case(59, "streams: a way into a file on Windows, a name on POSIX")
async def _(stage: Stage) -> None:
    for name in ("file.txt:payload", "dir::$INDEX_ALLOCATION", "file.txt::$DATA"):
        stage.write(name)
        assert verdict(f"root/{name}", Platform.WINDOWS) == "INVALID_ARGUMENT"
        assert await stage.read(f"root/{name}") == "OK"


@case(60, "UNC paths, refused before anything could ask a server")
async def _(stage: Stage) -> None:
    for path in ("\\\\server\\share\\x", "//server/share", "\\\\server/share"):
        for platform in ALL_PLATFORMS:
            assert verdict(path, platform) == "INVALID_ARGUMENT"
        assert await stage.read(path) == "INVALID_ARGUMENT"
    assert verdict("root/\\\\server\\share\\x", Platform.WINDOWS) == "INVALID_ARGUMENT"


@case(61, "device paths and drives")
async def _(stage: Stage) -> None:
    for path in ("\\\\?\\C:\\x", "\\\\.\\PhysicalDrive0", "C:rel.txt", "D:\\x", "C:/x", "c:"):
        for platform in ALL_PLATFORMS:
            assert verdict(path, platform) == "INVALID_ARGUMENT"
        assert verdict(f"root/{path}", Platform.WINDOWS) == "INVALID_ARGUMENT"
        assert await stage.read(path) == "INVALID_ARGUMENT"


@case(62, "device names: refused on Windows, names on POSIX")
async def _(stage: Stage) -> None:
    devices = ("CON", "NUL.txt", "COM1", "LPT1", "CONIN$", "COM\u00b9", "aux.tar.gz", "con .txt", "sub/prn", "nul/x")
    for name in devices:
        assert verdict(f"root/{name}", Platform.WINDOWS) == "INVALID_ARGUMENT"
    for name in ("CON", "aux.md", "COM\u00b9"):
        stage.write(name)
        assert await stage.read(f"root/{name}") == "OK"
    for name in ("console.md", "com.md", "lpt10", "null", "Con te partirò.md"):
        assert verdict(f"root/{name}", Platform.WINDOWS) == "OK"
    for name in ("a.txt.", "a.txt ", "a?.txt", "a\x01.txt", 'a"b', "a|b"):
        assert verdict(f"root/{name}", Platform.WINDOWS) == "INVALID_ARGUMENT"


elsewhere(
    63, "junctions, mount points and WSL links", "reparse points exist only on NTFS, and there is no Windows back end"
)


@case(64, "magic names of macOS")
async def _(stage: Stage) -> None:
    for path in ("root/file/..namedfork/rsrc", "root/file/..NamedFork/data", "root/..named\u200cfork"):
        assert verdict(path, Platform.MACOS) == "INVALID_ARGUMENT"
    for path in ("/.vol/1/2", "/.nofollow/etc/passwd", "/.resolve/1/etc"):
        assert verdict(path, Platform.MACOS) == "INVALID_ARGUMENT"
        assert await stage.read(path) == "INVALID_ARGUMENT"
    assert await stage.read("root/file/..namedfork/rsrc") == "NOT_FOUND"
