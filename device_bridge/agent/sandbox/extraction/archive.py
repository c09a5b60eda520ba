"""The guard in front of Word and Excel files, which are ZIP archives of XML."""

from __future__ import annotations

import io
import zipfile

from device_bridge.agent.sandbox.extraction.bounds import (
    MAX_ARCHIVE_BYTES,
    MAX_ARCHIVE_PARTS,
    Fault,
    Unconvertible,
)

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def check(data: bytes) -> None:
    """Refuse an archive before anything in it is unpacked.

    The sizes are those that the archive claims; `zipfile` unpacks no part further than its claim.

    Raises:
        Unconvertible: it is no archive, is encrypted, or would unpack to more than the bounds.
    """
    if data.startswith(_OLE):
        # Office wraps a document with a password in its old container.
        raise Unconvertible(Fault.PROTECTED)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except zipfile.BadZipFile:
        raise Unconvertible(Fault.BROKEN) from None
    if len(parts) > MAX_ARCHIVE_PARTS or sum(part.file_size for part in parts) > MAX_ARCHIVE_BYTES:
        raise Unconvertible(Fault.TOO_LARGE)
    if any(part.flag_bits & 1 for part in parts):
        raise Unconvertible(Fault.PROTECTED)
