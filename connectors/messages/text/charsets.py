"""Bytes of a mail to text, whatever its label says.

Labels lie: what calls itself UTF-8 is often Windows-1252 and the other way round, and some name nothing at all. A
label is believed as long as the bytes fit it; else the likeliest charset is taken and said to be guessed.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from connectors.messages.text.cleaning import clean

FALLBACK = "cp1252"
"""What undeclared bytes are when they are not UTF-8: the commonest legacy code page of western mail."""

_ALIASES = {
    # Browsers and mail programs read these as the larger set that senders mean.
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "windows-31j": "cp932",
    "big5": "big5hkscs",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    # The direction of Hebrew text, which the letters do not depend on.
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "utf8mb4": "utf-8",
    "unicode": "utf-16",
    "iso2022_jp": "iso2022_jp_ext",
    "iso2022_jp_1": "iso2022_jp_ext",
    "cp-850": "cp850",
}
_SINGLE = frozenset({
    "cp437", "cp737", "cp775", "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863",
    "cp864", "cp865", "cp866", "cp869", "cp874", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256",
    "cp1257", "cp1258", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8",
    "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-15", "iso8859-16", "koi8-r", "koi8-u", "mac-roman",
    "mac-cyrillic", "mac-greek", "mac-latin2",
})  # fmt: skip
_DOUBLE = frozenset({"gb18030", "big5hkscs", "cp932", "cp949", "cp950", "euc_jp", "euc_jis_2004", "johab"})
_ESCAPED = frozenset({"iso2022_jp_ext", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_2004", "iso2022_kr", "hz"})
_UNICODE = frozenset({"utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
# Only these: Python also calls escapes, Punycode and UTF-7 text, in which letters may hide anything.
_READ = _SINGLE | _DOUBLE | _ESCAPED | _UNICODE

_LABEL = re.compile(r"[a-z0-9][a-z0-9._:+-]{0,39}")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:+-]{1,40})", re.IGNORECASE)
_META_BYTES = 2_048


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text out of bytes."""

    text: str
    """Cleaned: \\n line ends, no controls, no lone surrogates."""
    charset: str
    """The codec that was used, by Python's name."""
    guessed: bool
    """Whether the label was missing or unknown, or did not fit the bytes."""


def decode(data: bytes, charset: str | None) -> Decoded:
    """Return `data` as text; never raises. `charset` is the label that came with it, if any."""
    declared = _known(charset)
    for mark, codec in _MARKS:
        if data.startswith(mark):
            fits = declared is not None and codec.startswith(declared)
            return Decoded(clean(data[len(mark) :].decode(codec, "replace")), codec, guessed=not fits)
    if declared not in _ESCAPED and data.isascii() and b"\x1b$" in data:
        japanese = _strict(data, "iso2022_jp_ext")
        if japanese is not None:
            return Decoded(clean(japanese), "iso2022_jp_ext", guessed=True)
    if declared is None:
        return _guess(data)
    if declared in _SINGLE and _is_utf8(data):
        return Decoded(clean(data.decode("utf-8")), "utf-8", guessed=True)
    text = _strict(data, declared)
    if text is not None:
        return Decoded(clean(text), declared, guessed=False)
    return _not_as_declared(data, declared)


def charset_of_html(data: bytes) -> str | None:
    """Return the charset that an HTML document names in its first 2 KiB, for mails that do not name one themselves."""
    found = _META.search(data[:_META_BYTES])
    return found[1].decode("ascii") if found else None


def _known(label: str | None) -> str | None:
    """Return the codec that `label` means, or None when it names none that is read."""
    name = (label or "").strip().strip("\"'").strip().lower()
    if not _LABEL.fullmatch(name):
        return None
    name = _ALIASES.get(name, name)
    try:
        codec = codecs.lookup(name.removeprefix("x-")).name
    except (LookupError, ValueError):
        return None
    codec = _ALIASES.get(codec, codec)
    return codec if codec in _READ else None


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeError:
        # What Windows-1252 leaves undefined are controls to everyone, and those are cleaned away.
        return data.decode(codec, "ignore") if codec == "cp1252" else None


def _is_utf8(data: bytes) -> bool:
    """Whether `data` has characters beyond ASCII and all of them are valid UTF-8: that is no accident."""
    return not data.isascii() and _strict(data, "utf-8") is not None


def _guess(data: bytes) -> Decoded:
    if data.isascii():
        return Decoded(clean(data.decode("ascii")), "ascii", guessed=False)
    codec = "utf-8" if _mostly_utf8(data) else FALLBACK
    return Decoded(clean(data.decode(codec, "replace")), codec, guessed=True)


def _not_as_declared(data: bytes, declared: str) -> Decoded:
    if declared in _ESCAPED and data.isascii():
        # A damaged shift sequence. Every line begins in ASCII (RFC 1468), so the other lines are still to be read.
        lines = (line.decode(declared, "replace") for line in data.split(b"\n"))
        return Decoded(clean("\n".join(lines)), declared, guessed=True)
    if _is_utf8(data):
        return Decoded(clean(data.decode("utf-8")), "utf-8", guessed=True)
    if declared.startswith("iso2022_jp"):
        for codec in ("cp932", "euc_jp"):
            text = _strict(data, codec)
            if text is not None:
                return Decoded(clean(text), codec, guessed=True)
    if declared == "utf-8" and not _mostly_utf8(data):
        return Decoded(clean(data.decode(FALLBACK, "replace")), FALLBACK, guessed=True)
    return Decoded(clean(data.decode(declared, "replace")), declared, guessed=True)


def _mostly_utf8(data: bytes) -> bool:
    """Whether `data` is UTF-8 with some damaged bytes, such as a text that was cut in mid-character."""
    beyond_ascii = len(data.translate(None, bytes(range(128))))
    kept = data.decode("utf-8", "ignore").encode("utf-8")
    valid = len(kept.translate(None, bytes(range(128))))
    return valid * 2 > beyond_ascii
