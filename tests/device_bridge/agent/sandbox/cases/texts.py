"""P65 to P68: what is text."""

from __future__ import annotations

import codecs

from device_bridge.agent.sandbox.reading import MAX_TEXT_BYTES
from tests.device_bridge.agent.sandbox.cases import case
from tests.device_bridge.agent.sandbox.stage import Stage

TEXT = "Perché no? Größe 5 €, 日本, 🙂\n"


@case(65, "UTF-8, with and without a byte order mark")
async def _(stage: Stage) -> None:
    for mark in (b"", codecs.BOM_UTF8):
        stage.write("a.txt").write_bytes(mark + (stage.nonce + TEXT).encode())

        assert await stage.read("root/a.txt") == "OK"
        assert stage.answer["text"] == stage.nonce + TEXT
        assert stage.answer["encoding"] == "utf-8"


@case(66, "UTF-16 and UTF-32 with a byte order mark; without one nothing says so")
async def _(stage: Stage) -> None:
    marks = {
        "utf-16-le": codecs.BOM_UTF16_LE,
        "utf-16-be": codecs.BOM_UTF16_BE,
        "utf-32-le": codecs.BOM_UTF32_LE,
        "utf-32-be": codecs.BOM_UTF32_BE,
    }
    for encoding, mark in marks.items():
        stage.write("a.txt").write_bytes(mark + (stage.nonce + TEXT).encode(encoding))
        assert await stage.read("root/a.txt") == "OK"
        assert stage.answer["text"] == stage.nonce + TEXT
        assert stage.answer["encoding"] == encoding

        stage.write("a.txt").write_bytes((stage.nonce + TEXT).encode(encoding))
        assert await stage.read("root/a.txt") == "BINARY"
        stage.write("a.txt").write_bytes("plain ascii".encode(encoding))
        assert await stage.read("root/a.txt") == "BINARY"


@case(67, "legacy code pages are named, never guessed")
async def _(stage: Stage) -> None:
    for encoding, text in (("latin-1", "Perché"), ("cp1252", "5 €"), ("shift_jis", "日本"), ("cp1251", "Привет")):
        stage.write("a.txt").write_bytes(text.encode(encoding))

        assert await stage.read("root/a.txt") == "UNSUPPORTED_ENCODING"
    assert "UTF-8" in stage.message


@case(68, "binaries, invalid UTF-8, and a character cut by the limit")
async def _(stage: Stage) -> None:
    binaries = {
        "png": b"\x89PNG\r\n\x1a\nxxxx",
        "pdf": b"%PDF-1.7\nxx",
        "elf": b"\x7fELF\x02\x01\x01",
        "zip": b"PK\x03\x04xxxx",
        "nul": b"text\0text",
        "late nul": b"x" * (MAX_TEXT_BYTES - 1) + b"\0",
        "controls": b"\x01\x02\x03abc",
    }
    for name, content in binaries.items():
        stage.write(f"{name}.txt").write_bytes(content)
        assert await stage.read(f"root/{name}.txt") == "BINARY"
    for content in (b"a\xc0\xafb", b"a\xed\xa0\x80b", b"a\xf5b", b"whole file ends in \xe2\x82"):
        stage.write("invalid.txt").write_bytes(content)
        assert await stage.read("root/invalid.txt") == "UNSUPPORTED_ENCODING"

    euros = "€" * 20
    stage.write("cut.txt", euros)
    limit = len(stage.nonce) + 4
    assert await stage.read("root/cut.txt", 0, limit) == "OK_TRUNCATED"
    assert stage.answer["text"] == stage.nonce + "€"
    assert stage.answer["next_offset"] == len(stage.nonce) + 3
    # An offset inside a character is moved to the next one.
    assert await stage.read("root/cut.txt", len(stage.nonce) + 1) == "OK"
    assert stage.answer["offset"] == len(stage.nonce) + 3
    assert stage.answer["text"] == euros[1:]
