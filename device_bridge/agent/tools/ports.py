"""What the file tools need from the device: files behind wire paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from device_bridge.agent.domain import JsonObject

Known = Callable[[str], tuple[int, int] | None]
"""Wire path to the (size_bytes, mtime_ns) in which a file was processed last; None when it never was."""


class Files(Protocol):
    """The sandboxed file system. Every answer is a JSON object; every refusal a `ToolError` without a local path."""

    async def list_directory(self, path: str, page_token: str | None = None) -> JsonObject:
        """Return a page of a folder's entries, by name; "." lists the roots."""
        ...

    async def get_file_metadata(self, path: str) -> JsonObject:
        """Return kind, size, time and media type of one file."""
        ...

    async def read_file_content(self, path: str, offset: int = 0, max_bytes: int | None = None) -> JsonObject:
        """Return a piece of a file as text, under `text`."""
        ...

    async def find_changed_files(
        self,
        paths: list[str],
        extensions: list[str],
        known: Known,
        page_token: str | None = None,
        page_size: int | None = None,
    ) -> JsonObject:
        """Return a page of the files below `paths` whose state differs from `known`. `known` does not block."""
        ...
