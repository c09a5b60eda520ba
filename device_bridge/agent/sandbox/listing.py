"""Listing a folder page by page, and telling what one path is.

A page is cut by name, not by count: names that come and go between two pages are neither an error nor a reason to list
another one twice. Only one page of names is held at a time, however many there are.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterable

from device_bridge.agent.domain import JsonObject, Reason, ToolError
from device_bridge.agent.sandbox.access import FileAccess, Opened
from device_bridge.agent.sandbox.escapes import escape
from device_bridge.agent.sandbox.media import DIRECTORY_MEDIA_TYPE, UNKNOWN_MEDIA_TYPE, media_type
from device_bridge.agent.sandbox.opening import Want
from device_bridge.agent.sandbox.pagination import PAGE_TEXT_BYTES, decode_token, encode_token, text_bytes
from device_bridge.agent.sandbox.paths import WirePath, parse
from device_bridge.agent.sandbox.reading import timestamp
from device_bridge.agent.sandbox.roots import Root

PAGE_ENTRIES = 1000


def list_directory(access: FileAccess, path: str, page_token: str | None = None) -> JsonObject:
    """Return the answer of `list_directory`: up to PAGE_ENTRIES entries, in the order of their names' bytes. Blocks.

    Links are followed when they stay below the root; any other entry that is neither file nor folder, a link that leads
    out or nowhere included, is of kind "other". An entry on the deny list has `denied`.

    Raises:
        ToolError: as `FileAccess.opened`; INVALID_ARGUMENT for a bad token.
        OSError: the disk failed.
    """
    wire = parse(path)
    place = decode_token(page_token)
    if not wire.root:
        return {"path": ".", "entries": [_root_entry(root) for root in access.roots]}
    after = place[1][-1] if place and place[1] else None
    entries: list[JsonObject] = []
    room = PAGE_TEXT_BYTES
    with access.opened(wire, Want.DIRECTORY) as folder:
        names = names_after(entry_names(folder.descriptor), after, PAGE_ENTRIES + 1)
        for name in names[:PAGE_ENTRIES]:
            after = name
            entry = _entry(access, folder, name)
            if entry is not None:
                entries.append(entry)
                room -= text_bytes(entry)
            if room <= 0:
                break
    answer: JsonObject = {"path": str(wire), "entries": entries}
    if names and after != names[-1]:
        answer["next_page_token"] = encode_token(0, (after or b"",))
    return answer


def file_metadata(access: FileAccess, path: str) -> JsonObject:
    """Return the answer of `get_file_metadata`. Blocks.

    Raises:
        ToolError: as `FileAccess.opened`.
        OSError: the disk failed.
    """
    wire = parse(path)
    if not wire.root:
        newest = max((os.fstat(root.descriptor).st_mtime_ns for root in access.roots), default=0)
        facts: JsonObject = {"kind": "directory", "size_bytes": 0, "modified_at": timestamp(newest)}
    else:
        with access.opened(wire, Want.ANYTHING) as opened:
            facts = _facts(opened.status)
    if facts["kind"] == "directory":
        kind = DIRECTORY_MEDIA_TYPE
    else:
        kind = media_type(wire.names[-1]) if facts["kind"] == "file" else UNKNOWN_MEDIA_TYPE
    return {"path": str(wire)} | facts | {"media_type": kind}


def entry_names(descriptor: int) -> Iterable[bytes]:
    """Yield the names in the folder that `descriptor` holds, in no order; raises OSError."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            yield os.fsencode(entry.name)


def names_after(names: Iterable[bytes], after: bytes | None, limit: int) -> list[bytes]:
    """Return the first `limit` of those `names` that come after `after`, in order; holds no more than those."""
    return heapq.nsmallest(limit, names if after is None else (name for name in names if name > after))


def _entry(access: FileAccess, folder: Opened, name: bytes) -> JsonObject | None:
    """Return what is told of one entry; None when it is gone already."""
    try:
        status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError:
        # Such as a folder that may be listed but not entered: the name is all there is to tell.
        status = None
    path = folder.path.child(name)
    facts = _UNKNOWN if status is None else _facts(status)
    denied = access.is_denied_child(folder, name)
    if status is not None and stat.S_ISLNK(status.st_mode):
        # What a link that leads out says of its target's length is nobody's business.
        facts |= {"size_bytes": 0}
        if not denied:
            target, denied = _target(access, path)
            facts = target or facts
    entry = {"name": escape(name), "path": str(path)} | facts
    return entry | {"denied": True} if denied else entry


_UNKNOWN: JsonObject = {"kind": "other", "size_bytes": 0, "modified_at": timestamp(0)}


def _target(access: FileAccess, path: WirePath) -> tuple[JsonObject | None, bool]:
    """Return what the link at `path` leads to, if it may be told, and whether that is on the deny list."""
    try:
        with access.opened(path, Want.ANYTHING) as opened:
            return _facts(opened.status), False
    except ToolError as error:
        return None, error.reason is Reason.DENIED_BY_POLICY


def _facts(status: os.stat_result) -> JsonObject:
    if stat.S_ISDIR(status.st_mode):
        kind, size = "directory", 0
    else:
        kind, size = "file" if stat.S_ISREG(status.st_mode) else "other", status.st_size
    return {"kind": kind, "size_bytes": size, "modified_at": timestamp(status.st_mtime_ns)}


def _root_entry(root: Root) -> JsonObject:
    return {"name": root.name, "path": root.name} | _facts(os.fstat(root.descriptor))
