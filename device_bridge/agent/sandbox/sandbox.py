"""The sandbox as the tools see it: four questions about files, each answered in a bounded time and amount."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from device_bridge.agent.domain import JsonObject, Reason, ToolError
from device_bridge.agent.sandbox.access import FileAccess
from device_bridge.agent.sandbox.extraction.converter import CONVERSION_SECONDS, Converter
from device_bridge.agent.sandbox.listing import file_metadata, list_directory
from device_bridge.agent.sandbox.opening import Opener, choose_opener
from device_bridge.agent.sandbox.pool import FilePool
from device_bridge.agent.sandbox.reading import Document, PositionalRead, document_part, part, read_file
from device_bridge.agent.sandbox.refusals import from_os_error
from device_bridge.agent.sandbox.roots import Root, RootHealth
from device_bridge.agent.sandbox.walking import Known, find_changed_files

T = TypeVar("T")

_log = logging.getLogger(__name__)

_AUDITED = {Reason.PATH_DENIED, Reason.DENIED_BY_POLICY}


class Sandbox:
    """Reads below the roots and nowhere else. Safe to use from many tasks at once.

    Every method raises `ToolError` with what the caller may know, and nothing else but for cancellation. Paths are wire
    paths, and every path in an answer is in its normalised spelling (`paths.normalise`).
    """

    def __init__(
        self,
        roots: Sequence[Root],
        *,
        own_directory: Path,
        opener: Opener | None = None,
        pool: FilePool | None = None,
        converter: Converter | None = None,
        pread: PositionalRead = os.pread,
    ) -> None:
        """Serve `roots`, with the agent's own data in `own_directory` always denied.

        Args:
            roots: from `open_roots`.
            own_directory: must exist.
            opener: the back end; the best that the kernel has when None.
            pool: the threads for file work; its deadline is that of each call.
            converter: of documents.
            pread: as `os.pread`.

        Raises:
            OSError: `own_directory` cannot be opened.
        """
        self._own_directory = own_directory
        self._access = FileAccess(roots, own_directory=own_directory, opener=opener or choose_opener())
        self._pool = pool or FilePool()
        self._converter = converter or Converter()
        # Apart from the file work, so that slow documents hold up only each other.
        self._conversions = FilePool(threads=2, deadline_seconds=CONVERSION_SECONDS + 10, max_waiting=32)
        self._pread = pread

    def root_names(self) -> tuple[str, ...]:
        """Return the names of the roots, in the order of their configuration."""
        return tuple(root.name for root in self._access.roots)

    async def list_directory(self, path: str = ".", page_token: str | None = None) -> JsonObject:
        """Return `{path, entries: [{name, path, kind, size_bytes, modified_at, denied?}], next_page_token?}`.

        Raises:
            ToolError: PATH_DENIED, DENIED_BY_POLICY, NOT_FOUND, NOT_A_DIRECTORY, INVALID_ARGUMENT or UNAVAILABLE.
        """
        return await self._run(path, lambda: list_directory(self._access, path, page_token))

    async def get_file_metadata(self, path: str) -> JsonObject:
        """Return `{path, kind, size_bytes, modified_at, media_type}`.

        Raises:
            ToolError: PATH_DENIED, DENIED_BY_POLICY, NOT_FOUND, NOT_A_DIRECTORY, INVALID_ARGUMENT or UNAVAILABLE.
        """
        return await self._run(path, lambda: file_metadata(self._access, path))

    async def read_file_content(self, path: str, offset: int = 0, max_bytes: int | None = None) -> JsonObject:
        """Return up to `max_bytes` of the file's text, from `offset` on.

        `{path, text, media_type, encoding, size_bytes, modified_at, offset, next_offset?, truncated,
        changed_during_read?, masked_secrets?}`. Documents are converted to text first; `truncated` without
        `next_offset` means that a document holds more than is ever converted.

        Args:
            path: a regular file.
            offset: 0, or a `next_offset`: bytes of a text file, characters of a converted document. One that falls
                inside a character is moved to the next, and the answer's `offset` tells.
            max_bytes: of UTF-8; at most, and by default, 256 KiB. Less than 16 counts as 16.

        Raises:
            ToolError: PATH_DENIED, DENIED_BY_POLICY, NOT_FOUND, NOT_A_FILE, NOT_A_DIRECTORY, BINARY,
                UNSUPPORTED_ENCODING, INVALID_ARGUMENT, UNAVAILABLE; RESULT_TOO_LARGE or TIMEOUT for a document.
        """
        wanted = part(offset, max_bytes)
        found = await self._run(path, lambda: read_file(self._access, path, wanted, pread=self._pread))
        if not isinstance(found, Document):
            return found
        document = found
        converted = await self._conversions.run(
            lambda: self._converter.text(document.identity, document.kind, document.data)
        )
        return document_part(document, converted.text, wanted, complete=converted.complete)

    async def find_changed_files(
        self,
        paths: Sequence[str],
        extensions: Collection[str],
        known: Known,
        page_token: str | None = None,
        page_size: int | None = None,
    ) -> JsonObject:
        """Return the files below `paths` that are not as `known` has them, page by page.

        `{files: [{path, size_bytes, modified_at, mtime_ns}], unreadable: [{path, reason}], next_page_token?}`. A page
        may be empty and still have a token. See `walking.find_changed_files`.

        Args:
            paths: wire paths of folders or files.
            extensions: such as ".md"; empty for all that may hold text.
            known: what is recorded of a file, by its wire path: (size_bytes, mtime_ns) or None. Called in a worker
                thread, once for each file: pass the `get` of a dict, not a query.
            page_token: of the page before.
            page_size: at most 1,000.

        Raises:
            ToolError: as `list_directory` for any of `paths`; NOT_A_FILE for one that is neither file nor folder.
        """
        first = paths[0] if paths else ""
        return await self._run(
            first,
            lambda: find_changed_files(
                self._access, paths, extensions, known, page_token=page_token, page_size=page_size
            ),
        )

    async def health(self) -> dict[str, RootHealth]:
        """Return whether each root still is the folder that was configured; for the device's own status.

        Raises:
            ToolError: UNAVAILABLE when the file system does not answer.
        """
        return await self._run("", lambda: {root.name: root.health() for root in self._access.roots})

    async def reopen_roots(self) -> None:
        """Open the roots that are gone or changed again, after someone at the device asked for it.

        Raises:
            RootRefused: one of them cannot be shared as it is now; it stays as it was.
        """

        def reopen() -> None:
            for root in self._access.roots:
                if root.health() is not RootHealth.OK:
                    self._access.replace(root.reopened(own_directory=self._own_directory))

        await self._run("", reopen)

    async def _run(self, path: str, work: Callable[[], T]) -> T:
        try:
            return await self._pool.run(work)
        except OSError as error:
            raise from_os_error(error) from None
        except ToolError as error:
            if error.reason in _AUDITED:
                # ascii(): a path may hold line ends and escape sequences.
                _log.info("refused with %s: %s", error.reason.value, ascii(path))
            raise
