"""Reading a part of a file as text, in bounded memory, whatever the file is or becomes meanwhile.

At most the limit and the context of the masking are read, from the open descriptor, by position: a file that claims a
tebibyte, grows, shrinks or is deleted while it is read costs the same as any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from device_bridge.agent.domain import JsonObject, Reason, ToolError
from device_bridge.agent.sandbox.access import FileAccess, Opened
from device_bridge.agent.sandbox.decoding import HEAD_BYTES, detect
from device_bridge.agent.sandbox.masking import CONTEXT, mask
from device_bridge.agent.sandbox.media import PLAIN_TEXT, DocumentKind, document_kind, media_type
from device_bridge.agent.sandbox.opening import Want
from device_bridge.agent.sandbox.paths import parse
from device_bridge.agent.sandbox.refusals import invalid, not_a_file

MAX_TEXT_BYTES = 256 * 1024
"""The most text (as UTF-8) that one call hands out, and the default."""
MIN_TEXT_BYTES = 16
"""What a smaller limit counts as, so that each call gets on by a character."""
MAX_DOCUMENT_BYTES = 20 * 1024 * 1024
"""The largest document that is converted."""

_MAX_OFFSET = 2**62

PositionalRead = Callable[[int, int, int], bytes]
"""`os.pread`: (descriptor, bytes, offset) -> bytes, empty at the end of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole file that has to be converted before it can be read."""

    kind: DocumentKind
    data: bytes = field(repr=False)
    identity: tuple[int, ...]
    """Equal only for the same content: device, inode, size, modification and change time."""
    facts: JsonObject
    """The part of the answer that is known already."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a file's text is wanted."""

    offset: int
    """Bytes of a text file, characters of a converted document."""
    limit: int
    """Bytes of UTF-8."""


def part(offset: int, max_bytes: int | None) -> Part:
    """Return the checked part; a limit beyond MIN_TEXT_BYTES or MAX_TEXT_BYTES means that, and None the larger.

    Raises:
        ToolError: INVALID_ARGUMENT.
    """
    if not 0 <= offset <= _MAX_OFFSET:
        raise invalid("The offset must be 0 or more, and within a file.")
    limit = MAX_TEXT_BYTES if max_bytes is None else max_bytes
    if limit < 1:
        raise invalid("max_bytes must be 1 or more.")
    return Part(offset, min(max(limit, MIN_TEXT_BYTES), MAX_TEXT_BYTES))


def read_file(
    access: FileAccess, path: str, wanted: Part, *, pread: PositionalRead = os.pread
) -> JsonObject | Document:
    """Return the answer of `read_file_content`, or the document to convert for it. Blocks.

    Raises:
        ToolError: as `FileAccess.opened`; BINARY, UNSUPPORTED_ENCODING; RESULT_TOO_LARGE for a document.
        OSError: the disk failed.
    """
    wire = parse(path)
    if not wire.root:
        raise not_a_file()
    with access.opened(wire, Want.FILE) as opened:
        kind = document_kind(wire.names[-1])
        if kind is None:
            answer = _read_text(opened, wanted, pread)
        else:
            data = read_range(opened.descriptor, 0, MAX_DOCUMENT_BYTES + 1, pread)
            answer = {}
        after = os.fstat(opened.descriptor)
    before = opened.status
    facts: JsonObject = {
        "path": str(wire),
        "media_type": media_type(wire.names[-1], PLAIN_TEXT),
        "size_bytes": after.st_size,
        "modified_at": timestamp(after.st_mtime_ns),
    }
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        facts["changed_during_read"] = True
    if kind is None:
        return facts | answer
    if len(data) > MAX_DOCUMENT_BYTES:
        message = f"Documents of more than {MAX_DOCUMENT_BYTES // 2**20} MiB are not converted to text."
        raise ToolError(Reason.RESULT_TOO_LARGE, message)
    identity = (before.st_dev, before.st_ino, len(data), before.st_mtime_ns, before.st_ctime_ns)
    return Document(kind=kind, data=data, identity=identity, facts=facts)


def document_part(document: Document, text: str, wanted: Part, *, complete: bool) -> JsonObject:
    """Return the answer of `read_file_content` for a converted document.

    Args:
        document: what was converted.
        text: its text, without lone surrogates.
        wanted: the part; its offset counts characters of `text`.
        complete: False when the conversion stopped at a bound: then the last part is `truncated` without a
            `next_offset`.
    """
    start = min(wanted.offset, len(text))
    chunk = text[start : start + wanted.limit].encode()[: wanted.limit].decode("utf-8", "ignore")
    end = start + len(chunk)
    first = max(0, start - CONTEXT)
    masked, secrets = mask(text[first : end + CONTEXT], start - first, end - first)
    answer = document.facts | {"text": masked, "encoding": "extracted", "offset": start}
    answer |= _ending(end if end < len(text) else None, truncated=end < len(text) or not complete)
    return answer | ({"masked_secrets": secrets} if secrets else {})


def read_range(descriptor: int, offset: int, size: int, pread: PositionalRead) -> bytes:
    """Return up to `size` bytes from `offset`; fewer only at the end of the file."""
    blocks: list[bytes] = []
    while size > 0:
        block = pread(descriptor, size, offset)
        if not block:
            break
        blocks.append(block)
        offset += len(block)
        size -= len(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def timestamp(nanoseconds: int) -> str:
    """Return a file's time as RFC 3339 in UTC, to the second; times beyond the calendar as its nearest end."""
    seconds = min(max(nanoseconds // 10**9, _FIRST_SECOND), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_FIRST_SECOND = int(datetime(1000, 1, 1, tzinfo=UTC).timestamp())
_LAST_SECOND = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


def _read_text(opened: Opened, wanted: Part, pread: PositionalRead) -> JsonObject:
    encoding = detect(read_range(opened.descriptor, 0, HEAD_BYTES, pread))
    start = max(wanted.offset, encoding.mark)
    lead = min(start - encoding.mark, CONTEXT)
    limit = encoding.raw_limit(wanted.limit)
    # Three bytes more than the limit, for the end of a character that `offset` cut.
    data = read_range(opened.descriptor, start - lead, lead + 3 + limit + CONTEXT, pread)
    skipped = encoding.misalignment(data[lead : lead + 4], start)
    lead, start = lead + skipped, start + skipped
    more = len(data) > lead + limit
    text, used = encoding.decode(data[lead : lead + limit], more=more)
    before = encoding.decode_context(data[lead % encoding.unit : lead])
    after = encoding.decode_context(data[lead + used :]) if more else ""
    masked, secrets = mask(before + text + after, len(before), len(before) + len(text))
    answer: JsonObject = {"text": masked, "encoding": encoding.name, "offset": start if wanted.offset else 0}
    answer |= _ending(start + used if more else None, truncated=more)
    return answer | ({"masked_secrets": secrets} if secrets else {})


def _ending(next_offset: int | None, *, truncated: bool) -> JsonObject:
    return {"truncated": truncated} | ({} if next_offset is None else {"next_offset": next_offset})
