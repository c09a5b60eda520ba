"""P46 to P51: large folders, changing folders, and names that are hard to show."""

from __future__ import annotations

import os
from itertools import chain

from device_bridge.agent.sandbox.listing import PAGE_ENTRIES, names_after
from tests.device_bridge.agent.sandbox.cases import case
from tests.device_bridge.agent.sandbox.memory import memory_growth
from tests.device_bridge.agent.sandbox.stage import Stage


@case(46, "a folder with very many entries")
async def _(stage: Stage) -> None:
    folder = stage.root / "many"
    folder.mkdir()
    wanted = sorted(f"n{number}" for number in range(2500))
    for name in wanted:
        (folder / name).touch()

    pages: list[list[str]] = []
    token: str | None = None
    while token is not None or not pages:
        assert await stage.list("root/many", token) == "OK"
        pages.append(list(stage.entries()))
        token = stage.answer.get("next_page_token")
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert list(chain.from_iterable(pages)) == wanted

    # A million names pass through one page's memory.
    with memory_growth() as growth:
        names = (b"n%07d" % (number * 7919 % 1_000_000) for number in range(1_000_000))
        page = names_after(names, b"n05", PAGE_ENTRIES)
    assert page == [b"n%07d" % number for number in range(500_000, 501_000)]
    assert growth.peak_bytes < 4 * 2**20


@case(47, "a folder that changes between two pages")
async def _(stage: Stage) -> None:
    for number in range(1500):
        (stage.root / f"n{number:04}").touch()
    assert await stage.list("root") == "OK"
    first = list(stage.entries())
    for name in ("n0000", first[-1], "n1200"):
        (stage.root / name).unlink()
    (stage.root / "a_new").touch()
    (stage.root / "n1300b").touch()

    assert await stage.list("root", stage.answer["next_page_token"]) == "OK"
    second = list(stage.entries())

    assert second == sorted({f"n{number:04}" for number in range(1000, 1500)} - {"n1200"} | {"n1300b"})
    assert not set(first) & set(second)


@case(48, "a name that is no UTF-8")
async def _(stage: Stage) -> None:
    stage.write(b"bad_\xff\xfe.txt")
    stage.write("good.txt")

    assert await stage.list("root") == "OK"
    assert list(stage.entries()) == ["bad_\\xff\\xfe.txt", "good.txt"]
    path = stage.entries()["bad_\\xff\\xfe.txt"]["path"]
    path.encode("utf-8")
    assert await stage.read(path) == "OK"
    # A lone surrogate is not how to ask for it.
    assert await stage.read("root/bad_\udcff\udcfe.txt") == "INVALID_ARGUMENT"


@case(49, "names with line ends, tabs and escape sequences")
async def _(stage: Stage) -> None:
    for name in ("a\nINFO forged line", "b\tc", "d\x1b[2J", "e\x7f\x85", "back\\slash"):
        stage.write(name)

    assert await stage.list("root") == "OK"
    for entry in stage.answer["entries"]:
        assert entry["path"].isprintable()
        assert await stage.read(entry["path"]) == "OK"
        assert stage.answer["path"] == entry["path"]


@case(50, "names with bidirectional, zero-width and tag characters")
async def _(stage: Stage) -> None:
    names = {"a\u202etxt.md": "a\\u{202e}txt.md", "b\u200bc": "b\\u{200b}c", "d\U000e0041": "d\\u{e0041}"}
    for name in names:
        stage.write(name)

    assert await stage.list("root") == "OK"
    assert list(stage.entries()) == list(names.values())
    for name, shown in names.items():
        assert await stage.read(f"root/{name}") == "OK"
        assert stage.answer["path"] == f"root/{shown}"
        assert await stage.read(f"root/{shown}") == "OK"


@case(51, "one name composed and decomposed, both there")
async def _(stage: Stage) -> None:
    composed, decomposed = "caf\u00e9.txt", "cafe\u0301.txt"
    stage.write(composed, "composed")
    stage.write(decomposed, "decomposed")
    assert len(os.listdir(stage.root)) == 2  # noqa: PTH208 - the names, as they are

    for name, text in ((composed, "composed"), (decomposed, "decomposed")):
        assert await stage.read(f"root/{name}") == "OK"
        assert stage.answer["text"] == stage.nonce + text
