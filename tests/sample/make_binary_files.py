"""Make the Word, PDF and Excel files of the sample folder: `python -m tests.sample.make_binary_files`.

The made files are checked in. They hold no clock: every date is `MADE_AT`, in the documents and in their zip entries,
so that the same library versions give the same files again.
"""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import docx
import openpyxl
from openpyxl.worksheet.worksheet import Worksheet

from tests.sample import FILES

MADE_AT = datetime(2026, 2, 16, 9, 0, tzinfo=UTC)
AUTHOR = "Livia Montanari"

WORD = "atelier-tournebulle-catalogue/compte-rendu-2026-02-05.docx"
PDF = "luz-menuda-festival/encargo.pdf"
EXCEL = "zweiblatt-onlineshop/zeitplan.xlsx"

_PDF_LINES = (
    "Encargo: cartel y programa del Festival Luz Menuda",
    "",
    "Cliente: Asociación Luz Menuda, Valencia (hola@luzmenuda.test)",
    "Contactos: Nuria para los textos, Pau para el programa",
    "",
    "El festival llena de farolillos tres plazas durante dos noches de junio.",
    "Hacen falta un cartel, un programa plegable y cuatro banderolas.",
    "El cartel debe leerse de noche y desde la otra acera.",
    "",
    "Entrega del cartel: 27/03/2026",
    "Entrega del programa: 17 de abril de 2026",
    "",
    "Pendiente: Pedir los logotipos de los patrocinadores antes del 6 de marzo de 2026 @nuria",
    "",
    "Los textos llegan en castellano y en valenciano, ya corregidos.",
)


def word() -> bytes:
    """Return the minutes of the first meeting about the catalogue, in French."""
    document = docx.Document()
    document.add_heading("Compte rendu \N{EN DASH} première réunion du catalogue", level=1)
    document.add_paragraph("Date : 05/02/2026")
    document.add_paragraph("Présents : Héloïse, Livia (à l'atelier)")
    document.add_paragraph(
        "Nous avons posé les vingt-quatre pièces sur la grande table. L'ordre sera celui des couleurs, "
        "du blanc au noir, et non celui des années."
    )
    document.add_heading("Décisions", level=2)
    for text in ("Papier non couché, 150 g.", "Pas de prix dans le catalogue.", "Une seule police pour tout."):
        document.add_paragraph(text, style="List Bullet")
    document.add_heading("Format", level=2)
    table = document.add_table(rows=0, cols=2)
    for name, value in (("Format fermé", "21 x 27 cm"), ("Pages", "48"), ("Reliure", "cousue")):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = name, value
    document.add_heading("Suite", level=2)
    document.add_paragraph("À faire : Choisir les 24 pièces du catalogue avant le 27 février 2026 @heloise")
    document.add_paragraph("À faire : Envoyer trois propositions de couverture pour le 13 février 2026 @livia")
    properties = document.core_properties
    properties.author = properties.last_modified_by = AUTHOR
    properties.title = properties.comments = ""
    properties.created = properties.modified = MADE_AT
    stream = io.BytesIO()
    document.save(stream)
    return _without_clock(stream.getvalue())


def excel() -> bytes:
    """Return the plan of the shop: a sheet with tasks, whose dates are date cells, and a sheet without any."""
    book = openpyxl.Workbook()
    plan = book.active
    assert isinstance(plan, Worksheet)
    plan.title = "Plan"
    plan.append(["Task", "Owner", "Due", "Status"])
    plan.append(["Photograph the new notebooks", "Jonas", date(2026, 3, 13), "todo"])
    plan.append(["Write the size guide", "Livia", date(2026, 3, 20), "in progress"])
    plan.append(["Order sample boxes", "Jonas", None, "done"])
    plan.append(["Send the invoice for the second half", "Livia", date(2026, 6, 5), "todo"])
    colours = book.create_sheet("Colours")
    for row in (["Name", "Hex"], ["Moss", "#5B6B3A"], ["Paper", "#F4EFE6"], ["Ink", "#22262B"]):
        colours.append(row)
    book.properties.creator = AUTHOR
    book.properties.created = MADE_AT.replace(tzinfo=None)
    stream = io.BytesIO()
    book.save(stream)
    return _without_clock(stream.getvalue())


def pdf() -> bytes:
    """Return the order for poster and programme, in Spanish: one page, one standard font, uncompressed text."""
    text = "\n".join(f"({_escaped(line)}) Tj T*" for line in _PDF_LINES)
    content = f"BT /F1 11 Tf 16 TL 50 780 Td\n{text}\nET".encode("cp1252")
    made = MADE_AT.strftime("D:%Y%m%d%H%M%SZ").encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
        b" /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Author (%b) /CreationDate (%b) >>" % (AUTHOR.encode(), made),
    )
    body = b"%PDF-1.4\n"
    offsets = []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n%b%b" % (size, table, trailer)


def write_all(folder: Path) -> None:
    """Write the three files below `folder`, which has the project folders already."""
    for path, made in ((WORD, word()), (PDF, pdf()), (EXCEL, excel())):
        (folder / path).write_bytes(made)


def _escaped(text: str) -> str:
    return re.sub(r"([()\\])", r"\\\1", text)


def _without_clock(archive: bytes) -> bytes:
    """Return the same zip with fixed entry dates; openpyxl also writes the time of saving, whatever it is told."""
    stamp = MADE_AT.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in sorted(old.namelist()):
            content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, old.read(name))
            entry = zipfile.ZipInfo(name, date_time=MADE_AT.timetuple()[:6])
            # The system that made the entry is part of the bytes: 3 is Unix, whatever this runs on.
            entry.create_system = 3
            new.writestr(entry, content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    return stream.getvalue()


if __name__ == "__main__":
    write_all(FILES)
