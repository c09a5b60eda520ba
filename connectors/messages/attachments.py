"""Attachments: their bytes, bounded, in pieces of one size."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adiuva_rpc.errors import AdiuvaError, InvalidArgument
from connectors.errors import AttachmentTooLarge
from connectors.messages.access import Access, Entered
from connectors.messages.ports import Now, Sleep
from connectors.messages.reading import unforeseen_error

MAX_BYTES: Final = 25 << 20
PIECE_BYTES: Final = 256 << 10
MAX_ID_CHARS: Final = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRequest:
    """Which attachment.

    Raises:
        InvalidArgument: no attachment can be so.
    """

    user_id: str
    connection_id: str
    provider_id: str
    attachment_id: str
    deadline: datetime
    """When the caller stops waiting."""

    def __post_init__(self) -> None:
        """Check the fields."""
        for name, value in (("provider_id", self.provider_id), ("attachment_id", self.attachment_id)):
            if not 0 < len(value) <= MAX_ID_CHARS or not value.isprintable():
                raise InvalidArgument(name, f"must be 1 to {MAX_ID_CHARS} printable characters")


class AttachmentService:
    """Fetches attachments.

    Args:
        access: To the connections.
        now: The present time.
        sleep: Waits.
    """

    def __init__(self, *, access: Access, now: Now, sleep: Sleep) -> None:
        self._access = access
        self._now = now
        self._sleep = sleep

    async def fetch(self, request: AttachmentRequest, emit: Callable[[bytes], Awaitable[None]]) -> None:
        """Give the bytes to `emit`, 256 KiB at a time; it says by returning that there is room for more.

        Raises:
            NotFound: the user has no such connection.
            AttachmentGone: the message has no such attachment any more.
            AttachmentTooLarge: it has more than 25 MiB.
            adiuva_rpc.errors.AdiuvaError: as `FetchService.fetch`, about the connection and the provider.
        """
        entered = await self._access.enter(request.user_id, request.connection_id)
        until = self._access.pause_of(entered.connection, deadline=request.deadline)
        if until is not None:
            await self._sleep((until - self._now()).total_seconds())
        try:
            await self._carry(request, entered, emit)
        except AdiuvaError as error:
            await self._access.failed(entered.connection, error)
            raise
        await self._access.worked(entered.connection)

    async def _carry(
        self, request: AttachmentRequest, entered: Entered, emit: Callable[[bytes], Awaitable[None]]
    ) -> None:
        session = entered.session(deadline=request.deadline, on_wait=lambda _until: None)
        source = entered.provider.attachment(session, request.provider_id, request.attachment_id)
        waiting, carried = bytearray(), 0
        async with _closing(source):
            while (piece := await _next(source, connection_id=request.connection_id)) is not None:
                carried += len(piece)
                if carried > MAX_BYTES:
                    raise AttachmentTooLarge(retry_after=None)
                waiting += piece
                while len(waiting) >= PIECE_BYTES:
                    await emit(bytes(waiting[:PIECE_BYTES]))
                    del waiting[:PIECE_BYTES]
        if waiting:
            await emit(bytes(waiting))


async def _next(source: AsyncIterator[bytes], *, connection_id: str) -> bytes | None:
    try:
        return await anext(source, None)
    except AdiuvaError:
        raise
    except Exception as surprise:  # noqa: BLE001 - its text may be the attachment's
        raise unforeseen_error(surprise, connection_id=connection_id) from None


@contextlib.asynccontextmanager
async def _closing(source: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """End a provider's generator here and now, also when the caller has left."""
    try:
        yield
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
