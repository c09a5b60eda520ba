"""Small documents of each kind, made when they are needed."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time

import docx
import openpyxl
from docx.oxml import parse_xml
from pypdf import PdfReader, PdfWriter

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line of text on each page."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode("latin-1")
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(kids), len(kids))
    return _numbered(objects)


def _numbered(objects: list[bytes]) -> bytes:
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return data + end % (size, table, size, len(data))


def protected_pdf(*, user_password: str) -> bytes:
    """Return a PDF that is encrypted; an empty user password protects it against changes only."""
    writer = PdfWriter(PdfReader(io.BytesIO(pdf("for your eyes"))))
    writer.encrypt(user_password, owner_password="owner", algorithm="AES-256")
    into = io.BytesIO()
    writer.write(into)
    return into.getvalue()


def word() -> bytes:
    """Return a Word document with all that the converter knows."""
    document = docx.Document()
    document.add_heading("Offer", 0)
    document.add_heading("Scope", 2)
    document.add_paragraph("Three pages,\ttwo rounds\nof changes")
    document.add_paragraph("Send the draft", style="List Bullet")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Price", "1,200\nEUR"
    body = document.element.body
    control = "<w:sdt {w}><w:sdtContent>{inside}</w:sdtContent></w:sdt>"
    run = "<w:r><w:t>{}</w:t></w:r>"
    gone = "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
    moved = f"<w:moveFrom>{run.format('moved away')}</w:moveFrom>"
    for xml in (
        control.format(w=_W, inside=f"<w:p>{run.format('in a control')}</w:p>"),
        f"<w:p {_W}>{gone}<w:ins>{run.format('added')}</w:ins></w:p>",
        f"<w:p {_W}>{moved}{control.format(w='', inside=run.format(chr(0x2610) + ' box'))}</w:p>",
    ):
        body.insert(len(body) - 1, parse_xml(xml))
    return _saved(document)


def word_with_entity(url: str) -> bytes:
    """Return a Word document whose XML asks for the content of `url`."""
    entity = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{url}">]>'
    source, into = io.BytesIO(word()), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(into, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "word/document.xml":
                content = content.replace(b"<w:document", entity.encode() + b"<w:document", 1)
                content = content.replace(b"in a control", b"in a control &x;")
            new.writestr(name, content)
    return into.getvalue()


def excel() -> bytes:
    """Return a workbook of two sheets."""
    workbook = openpyxl.Workbook()
    first = workbook.worksheets[0]
    first.title = "Plan"
    first.append(["Task", "Due", "Hours"])
    first.append(["Draft", date(2026, 3, 1), 2.0])
    first.append([])
    first.append(["Call", datetime(2026, 3, 2, 9, 30), 0.5])  # noqa: DTZ001 - a workbook knows no zones
    first.append(["Lunch", time(12, 0), "=1+1"])
    workbook.create_sheet("Notes").append(["two\nlines", None, "a\tb"])
    into = io.BytesIO()
    workbook.save(into)
    return into.getvalue()


def excel_with_row(number: int) -> bytes:
    """Return a workbook whose only row is the one of this number."""
    workbook = openpyxl.Workbook()
    workbook.worksheets[0].cell(number, 1, "far down")
    into = io.BytesIO()
    workbook.save(into)
    return into.getvalue()


def archive(parts: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return into.getvalue()


def _saved(document: docx.document.Document) -> bytes:
    into = io.BytesIO()
    document.save(into)
    return into.getvalue()
