"""What a file is, by its name and by its first bytes. Our own table: the operating system's differs between laptops."""

from __future__ import annotations

from enum import Enum, unique
from pathlib import PurePosixPath

from device_bridge.agent.sandbox.escapes import to_text

UNKNOWN_MEDIA_TYPE = "application/octet-stream"
DIRECTORY_MEDIA_TYPE = "inode/directory"
PLAIN_TEXT = "text/plain"


@unique
class DocumentKind(Enum):
    """A format that is converted to text before it is read. The value is the suffix of its files."""

    PDF = ".pdf"
    WORD = ".docx"
    EXCEL = ".xlsx"
    MAIL = ".eml"


_TEXT = {
    ".txt": PLAIN_TEXT,
    ".text": PLAIN_TEXT,
    ".log": PLAIN_TEXT,
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/x-rst",
    ".org": "text/org",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".html": "text/html",
    ".htm": "text/html",
    ".ics": "text/calendar",
    ".vcf": "text/vcard",
    ".xml": "application/xml",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
}

_DOCUMENTS = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".eml": "message/rfc822",
}

_BINARY = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".ico": "image/vnd.microsoft.icon",
    ".heic": "image/heic",
    ".psd": "image/vnd.adobe.photoshop",
    ".ai": "application/postscript",
    ".indd": "application/x-indesign",
    ".sketch": "application/x-sketch",
    ".fig": "application/x-figma",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
    ".gz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar",
    ".tar": "application/x-tar",
    ".dmg": "application/x-apple-diskimage",
    ".iso": "application/x-iso9660-image",
    ".exe": "application/vnd.microsoft.portable-executable",
    ".dll": "application/vnd.microsoft.portable-executable",
    ".so": "application/x-sharedlib",
    ".pyc": "application/x-python-bytecode",
    ".class": "application/java-vm",
    ".sqlite": "application/vnd.sqlite3",
    ".db": "application/vnd.sqlite3",
    ".doc": "application/msword",
    ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".msg": "application/vnd.ms-outlook",
}

_ALL = _TEXT | _DOCUMENTS | _BINARY

# (offset, bytes). Formats that a NUL gives away anyway are here only when their start is unmistakable.
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"%PDF-"),
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"\x7fELF"),
    (0, b"\xca\xfe\xba\xbe"),
    (0, b"\xcf\xfa\xed\xfe"),
    (0, b"\x1f\x8b"),
    (0, b"BZh91AY&SY"),
    (0, b"\xfd7zXZ\x00"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    (0, b"SQLite format 3\x00"),
    (0, b"OggS\x00"),
    (0, b"ID3\x03"),
    (0, b"ID3\x04"),
    (8, b"WEBPVP8"),
    (8, b"WAVEfmt "),
    (8, b"AVI LIST"),
    (4, b"ftyp"),
)


def suffix(name: bytes) -> str:
    """Return the suffix of a file name, lower case, with its dot; empty when it has none."""
    return PurePosixPath(to_text(name)).suffix.lower()


def media_type(name: bytes, default: str = UNKNOWN_MEDIA_TYPE) -> str:
    """Return the media type that the name promises, else `default`."""
    return _ALL.get(suffix(name), default)


def document_kind(name: bytes) -> DocumentKind | None:
    """Return the format to convert a file of this name from, or None when it is read as it is."""
    ending = suffix(name)
    return DocumentKind(ending) if ending in _DOCUMENTS else None


def is_readable(name: bytes) -> bool:
    """Return whether a file of this name may hold text to read: false for what is known to be binary."""
    return suffix(name) not in _BINARY


def has_binary_magic(head: bytes) -> bool:
    """Return whether a file that begins with `head` is of a known binary format."""
    return any(head[offset:].startswith(magic) for offset, magic in _MAGIC)
