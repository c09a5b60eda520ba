"""Documents are read as text; broken, hostile and slow ones are refused, and the agent goes on."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.sandbox import Sandbox
from device_bridge.agent.sandbox.extraction import archive, mail, pdf, sheet, word, worker
from device_bridge.agent.sandbox.extraction.bounds import (
    MAX_ARCHIVE_BYTES,
    MAX_MEMORY_BYTES,
    MAX_PAGES,
    MAX_ROWS,
    Fault,
    TextBuilder,
    Unconvertible,
)
from device_bridge.agent.sandbox.extraction.converter import Converter
from device_bridge.agent.sandbox.extraction.markup import html_to_text
from device_bridge.agent.sandbox.extraction.worker import convert
from device_bridge.agent.sandbox.masking import MARKER
from device_bridge.agent.sandbox.media import DocumentKind
from device_bridge.agent.sandbox.opening import WalkOpener
from device_bridge.agent.sandbox.reading import MAX_DOCUMENT_BYTES
from tests.device_bridge.agent.sandbox import documents
from tests.device_bridge.agent.sandbox.stage import Stage

MAIL = """\
From: Clara Webb <clara@acme.test>
To: livia@example.test
Subject: =?utf-8?q?Perch=C3=A9_no=3F?=
Date: Tue, 10 Mar 2026 11:42:10 +0000
Content-Type: {type}

{body}"""


@pytest.fixture(scope="module")
def converter() -> Converter:
    """One converter for all, as in the agent."""
    return Converter()


@pytest.fixture
def disk(tmp_path: Path, converter: Converter) -> Stage:
    stage = Stage(tmp_path, WalkOpener())
    stage.sandbox = Sandbox(stage.roots, own_directory=stage.own, opener=stage.opener, converter=converter)
    return stage


async def text_of(disk: Stage, name: str, content: bytes) -> str:
    (disk.root / name).write_bytes(content)
    answer = await disk.sandbox.read_file_content(f"root/{name}")
    assert answer["encoding"] == "extracted"
    assert not answer["truncated"]
    text: str = answer["text"]
    return text


async def test_a_pdf_is_read_page_by_page(disk: Stage) -> None:
    assert (
        await text_of(disk, "a.pdf", documents.pdf("Offer for Acme", "second page"))
        == "Offer for Acme\n\nsecond page\n\n"
    )


async def test_a_word_document_is_read_in_order(disk: Stage) -> None:
    assert await text_of(disk, "a.docx", documents.word()) == (
        "# Offer\n## Scope\nThree pages,\ttwo rounds\nof changes\n- Send the draft\nPrice | 1,200 EUR\n\n"
        "in a control\nadded\n\N{BALLOT BOX} box\n"
    )


async def test_a_workbook_is_read_sheet_by_sheet(disk: Stage) -> None:
    assert await text_of(disk, "a.XLSX", documents.excel()) == (
        "# Plan\nTask\tDue\tHours\nDraft\t2026-03-01\t2\nCall\t2026-03-02 09:30\t0.5\nLunch\t12:00:00\n\n"
        "# Notes\ntwo lines\t\ta b\n\n"
    )


async def test_a_mail_is_read_with_its_headers(disk: Stage) -> None:
    plain = MAIL.format(type='text/plain; charset="utf-8"', body="Ciao,\r\n\r\nperché no?\r\n")

    assert await text_of(disk, "a.eml", plain.encode()) == (
        "Subject: Perché no?\nFrom: Clara Webb <clara@acme.test>\nTo: livia@example.test\n"
        "Date: Tue, 10 Mar 2026 11:42:10 +0000\n\nCiao,\n\nperché no?\n"
    )


async def test_an_html_mail_is_read_as_its_reader_sees_it(disk: Stage) -> None:
    head = "<html><head><title>x</title><style>p{}</style></head>"
    body = f"{head}<body><h2>Plan</h2><p>Please<br>send&nbsp;it.</p><ul><li>one<li>two</ul>"

    text = await text_of(disk, "a.eml", MAIL.format(type="text/html", body=body).encode())

    assert text.endswith("\n\n## Plan\n\nPlease\nsend it.\n\n- one\n- two\n")


async def test_a_mail_with_parts_is_read_once_and_its_attachments_are_named(disk: Stage) -> None:
    body = (
        "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nplain\n"
        "--c\nContent-Type: text/html\n\n<p>html</p>\n--c--\n"
        '--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename="of\n fer.pdf"\n\nxx\n--b--\n'
    )

    text = await text_of(disk, "a.eml", MAIL.format(type="multipart/mixed; boundary=b", body=body).encode())

    assert text.endswith("Attachments: of fer.pdf\n\nplain\n")


@pytest.mark.parametrize(
    ("declared", "body", "shown"),
    [
        ("no-such-charset", b"caf\xc3\xa9", "café"),
        ("utf-8", b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        ("latin-1", b"caf\xe9", "café"),
    ],
)
def test_a_mail_that_lies_about_its_charset_is_still_read(declared: str, body: bytes, shown: str) -> None:
    into = TextBuilder()

    mail.convert(f"Subject: x\nContent-Type: text/plain; charset={declared}\n\n".encode() + body, into)

    assert into.text() == f"Subject: x\n\n{shown}\n"


async def test_a_document_is_read_in_parts_of_characters(disk: Stage) -> None:
    text = "".join(f"line {number} è 日本 🙂\n" for number in range(500))
    (disk.root / "a.eml").write_bytes(MAIL.format(type='text/plain; charset="utf-8"', body=text).encode())
    whole = (await disk.sandbox.read_file_content("root/a.eml"))["text"]

    seen, offset = "", 0
    while offset >= 0:
        answer = await disk.sandbox.read_file_content("root/a.eml", offset, 100)
        assert len(answer["text"].encode()) <= 100
        assert answer["offset"] == offset == len(seen)
        seen += answer["text"]
        offset = answer.get("next_offset", -1)

    assert seen == whole
    assert text.strip() in whole
    assert (await disk.sandbox.read_file_content("root/a.eml", 10**9))["text"] == ""


async def test_secrets_in_documents_are_masked(disk: Stage) -> None:
    text = await text_of(disk, "a.pdf", documents.pdf("the key is AKIA" + "IOSFODNN7EXAMPLE"))

    assert text.startswith(f"the key is {MARKER}")


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.xlsx", "a.eml"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02" * 100,
        b"PK\x03\x04 and no archive",
        b"%PDF-1.7\nnothing more",
        documents.archive({"x": b"x"}),
    ],
    ids=["empty", "noise", "no archive", "no pdf", "other archive"],
)
async def test_a_broken_document_is_an_answer(disk: Stage, name: str, content: bytes) -> None:
    (disk.root / name).write_bytes(content)

    assert await disk.read(f"root/{name}") == "BINARY"
    assert await text_of(disk, "good.pdf", documents.pdf("still here")) == "still here\n\n"


@pytest.mark.parametrize("make", [documents.word, documents.excel, lambda: documents.pdf("one", "two")])
def test_a_document_cut_anywhere_or_changed_anywhere_is_an_answer(make: Callable[[], bytes]) -> None:
    whole = make()
    kind = ".pdf" if whole.startswith(b"%PDF") else ".docx" if b"word/" in whole else ".xlsx"

    for place in range(0, len(whole), max(1, len(whole) // 25)):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            answer = convert(kind, data)
            assert answer.keys() in ({"text", "complete"}, {"fault"})


async def test_documents_with_a_password_say_so(disk: Stage) -> None:
    (disk.root / "a.pdf").write_bytes(documents.protected_pdf(user_password="secret"))
    (disk.root / "a.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000))
    for name in ("a.pdf", "a.docx"):
        assert await disk.read(f"root/{name}") == "BINARY"
        assert "password" in disk.message

    readable = documents.protected_pdf(user_password="")
    assert await text_of(disk, "b.pdf", readable) == "for your eyes\n\n"


@pytest.mark.parametrize("kind", [word, sheet])
def test_an_archive_that_unpacks_to_too_much_is_refused_unopened(kind: ModuleType) -> None:
    bomb = documents.archive({f"part{number}": bytes(MAX_ARCHIVE_BYTES // 4) for number in range(5)})
    assert len(bomb) < MAX_ARCHIVE_BYTES // 100

    with pytest.raises(Unconvertible) as error:
        kind.convert(bomb, TextBuilder())

    assert error.value.fault is Fault.TOO_LARGE


def test_an_archive_of_too_many_parts_is_refused() -> None:
    with pytest.raises(Unconvertible) as error:
        archive.check(documents.archive({f"{number}": b"" for number in range(5001)}))

    assert error.value.fault is Fault.TOO_LARGE


def test_a_document_cannot_ask_for_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("OUTSIDE", encoding="utf-8")

    answer = convert(".docx", documents.word_with_entity((tmp_path / "secret.txt").as_uri()))

    assert "OUTSIDE" not in str(answer)


async def test_a_document_that_is_too_large_is_not_converted(disk: Stage) -> None:
    with (disk.root / "a.pdf").open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)

    assert await disk.read("root/a.pdf") == "RESULT_TOO_LARGE"


def test_pages_and_rows_beyond_the_bounds_are_left_out() -> None:
    pages = TextBuilder()
    pdf.convert(documents.pdf(*["x"] * (MAX_PAGES + 1)), pages)
    assert pages.text().count("x") == MAX_PAGES
    assert not pages.complete

    # One row far down: all the empty ones before it count.
    rows = TextBuilder()
    sheet.convert(documents.excel_with_row(MAX_ROWS + 1), rows)
    assert rows.text() == "# Sheet\n"
    assert not rows.complete


def test_text_beyond_the_bound_is_left_out() -> None:
    into = TextBuilder(limit=10)

    assert into.add("12345")
    assert not into.add("67890")
    assert into.text() == "12345\n6789"
    assert not into.complete


def test_text_is_what_every_encoder_takes() -> None:
    into = TextBuilder()
    into.add("a\0b\ud800c")

    assert into.text() == "ab?c\n"


def test_a_document_that_takes_too_long_is_given_up() -> None:
    impatient = Converter(seconds=0.001)

    with pytest.raises(ToolError) as error:
        impatient.text((1,), DocumentKind.MAIL, b"Subject: x\n\nx")

    assert error.value.reason is Reason.TIMEOUT


def test_the_same_content_is_converted_once(converter: Converter) -> None:
    first = converter.text((1, 2, 3), DocumentKind.MAIL, b"Subject: first\n\nx")

    assert converter.text((1, 2, 3), DocumentKind.MAIL, b"not looked at") is first
    assert converter.text((1, 2, 4), DocumentKind.MAIL, b"Subject: second\n\nx") is not first


def test_a_helper_that_ended_is_replaced() -> None:
    converter = Converter()
    converter.text((1,), DocumentKind.MAIL, b"Subject: one\n\nx")
    process = converter._idle[0]._process
    process.kill()
    process.wait(10)

    assert converter.text((2,), DocumentKind.MAIL, b"Subject: two\n\nx").text == "Subject: two\n\nx\n"


def test_a_helper_ends_with_its_converter() -> None:
    converter = Converter()
    converter.text((1,), DocumentKind.MAIL, b"Subject: one\n\nx")
    process = converter._idle[0]._process

    del converter

    assert process.returncode is not None


def test_a_helper_answers_until_it_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    mail_bytes = b"Subject: x\n\nx"
    request = json.dumps({"kind": ".eml", "size": len(mail_bytes)}).encode() + b"\n" + mail_bytes
    reader, writer = os.pipe()
    answers = io.BytesIO()
    with open(reader, "rb", buffering=0) as requests:  # noqa: PTH123 - a descriptor is no path
        # Nobody asks: it ends although its input is open.
        monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
        worker.serve(requests, answers)
        assert answers.getvalue() == b""

        monkeypatch.undo()
        os.write(writer, request * 2)
        os.close(writer)
        worker.serve(requests, answers)
    assert [json.loads(line)["text"] for line in answers.getvalue().splitlines()] == ["Subject: x\n\nx\n"] * 2


def test_a_helper_may_use_a_bounded_amount_of_memory() -> None:
    converter = Converter()
    converter.text((1,), DocumentKind.MAIL, b"Subject: one\n\nx")

    limits = Path(f"/proc/{converter._idle[0]._process.pid}/limits").read_text(encoding="ascii").splitlines()

    assert next(line for line in limits if line.startswith("Max address space")).split()[3] == str(MAX_MEMORY_BYTES)


def test_a_helper_gets_nothing_of_the_agents_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    converter = Converter()
    converter.text((1,), DocumentKind.MAIL, b"Subject: one\n\nx")
    process = converter._idle[0]._process

    environment = Path(f"/proc/{process.pid}/environ").read_bytes()

    assert b"OPENAI_API_KEY" not in environment


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<script>alert(1)</script>b", "ab"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("a &lt;b&gt; &amp; c", "a <b> & c"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "| 1 | 2"),
        ("line\n  end", "line end"),
        ("</style>a<style>b", "a"),
        ("<<<>>><!-- x --><![CDATA[y]]>", "<<<>>>"),
    ],
)
def test_html_becomes_the_text_it_shows(html: str, text: str) -> None:
    assert html_to_text(html) == text


def test_html_of_any_depth_takes_linear_time() -> None:
    began = time.process_time()
    html_to_text("<div>" * 100_000 + "x")

    assert time.process_time() - began < 5
