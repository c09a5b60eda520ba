"""The text of a PDF, page by page."""

from __future__ import annotations

import io

from pypdf import PasswordType, PdfReader

from device_bridge.agent.sandbox.extraction.bounds import MAX_PAGES, Fault, TextBuilder, Unconvertible


def convert(data: bytes, into: TextBuilder) -> None:
    """Add the text of each page, pages apart by an empty line; scanned pages have none.

    Raises:
        Unconvertible: PROTECTED when the document asks for a password. Any other exception means it is broken.
    """
    reader = PdfReader(io.BytesIO(data))
    # An empty user password is the common case of a document that is only protected against changes.
    if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
        raise Unconvertible(Fault.PROTECTED)
    for number, page in enumerate(reader.pages):
        if number == MAX_PAGES:
            into.cut()
            return
        if not into.add(page.extract_text().strip() + "\n"):
            return
