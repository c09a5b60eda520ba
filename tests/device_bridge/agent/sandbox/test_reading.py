"""Reading in parts: what the offsets mean, and what the answer says of the file."""

from __future__ import annotations

import codecs
import os

import pytest

from device_bridge.agent.sandbox.reading import MAX_TEXT_BYTES, timestamp
from tests.device_bridge.agent.sandbox.stage import Stage

TEXT = "Größe, 日本語, 🙂🙂, fine.\n" * 400


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("limit", [16, 61, 1000, 4096])
async def test_the_parts_of_a_file_are_the_file(stage: Stage, mark: bytes, encoding: str, limit: int) -> None:
    text = TEXT[: limit * 20]
    (stage.root / "a.txt").write_bytes(mark + text.encode(encoding))

    parts: list[str] = []
    offset: int | None = 0
    while offset is not None:
        answer = await stage.sandbox.read_file_content("root/a.txt", offset, limit)
        parts.append(answer["text"])
        assert len(answer["text"].encode()) <= limit
        assert answer["encoding"] == encoding
        offset = answer.get("next_offset")

    assert "".join(parts) == text


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_LE, "utf-32-le")],
)
async def test_an_offset_inside_a_character_is_moved_to_the_next(stage: Stage, mark: bytes, encoding: str) -> None:
    text = "aé日🙂b"
    data = mark + text.encode(encoding)
    (stage.root / "a.txt").write_bytes(data)

    for offset in range(1, len(data) + 1):
        answer = await stage.sandbox.read_file_content("root/a.txt", offset)
        assert text.endswith(answer["text"])
        assert answer["offset"] >= offset
        assert data[answer["offset"] :].decode(encoding) == answer["text"]


async def test_an_answer_describes_the_file(stage: Stage) -> None:
    os.utime(stage.write("plan.md", "\n# Plan"), ns=(0, 1_767_225_600_500_000_000))

    answer = await stage.sandbox.read_file_content("root/plan.md")

    assert answer == {
        "path": "root/plan.md",
        "text": f"{stage.nonce}\n# Plan",
        "media_type": "text/markdown",
        "encoding": "utf-8",
        "size_bytes": 23,
        "modified_at": "2026-01-01T00:00:00Z",
        "offset": 0,
        "truncated": False,
    }


async def test_an_empty_file_is_empty_text(stage: Stage) -> None:
    (stage.root / "empty").touch()

    assert (await stage.sandbox.read_file_content("root/empty"))["text"] == ""
    assert stage.sandbox.root_names() == ("root",)


async def test_the_limit_of_a_call_is_bounded_on_both_sides(stage: Stage) -> None:
    stage.write("big.txt", "x" * 2 * MAX_TEXT_BYTES)

    assert await stage.read("root/big.txt", 0, 10 * MAX_TEXT_BYTES) == "OK_TRUNCATED"
    assert len(stage.answer["text"]) == MAX_TEXT_BYTES
    assert await stage.read("root/big.txt", 0, 1) == "OK_TRUNCATED"
    assert stage.answer["text"] == stage.nonce
    for max_bytes in (0, -1):
        assert await stage.read("root/big.txt", 0, max_bytes) == "INVALID_ARGUMENT"


async def test_a_read_that_comes_in_pieces_is_put_together(stage: Stage) -> None:
    stage.write("a.txt", TEXT)

    stage.restart(pread=lambda descriptor, size, offset: os.pread(descriptor, min(size, 7), offset))

    assert await stage.read("root/a.txt", 0, 4096) == "OK_TRUNCATED"
    assert stage.answer["text"].startswith(stage.nonce + TEXT[:500])


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (10**30, "9999-12-31T00:00:00Z"),
        (-(10**30), "1000-01-01T00:00:00Z"),
    ],
)
def test_any_time_of_a_file_can_be_told(nanoseconds: int, text: str) -> None:
    assert timestamp(nanoseconds) == text
