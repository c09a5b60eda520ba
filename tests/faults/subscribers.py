"""Somebody who reads a mailbox as an agent does: what came is stored under its key, and then the cursor is moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, unique

import grpc
import grpc.aio

from adiuva.connectors.v1 import message_service_pb2 as pb
from adiuva_rpc.status import from_rpc_error
from tests.faults.mailboxes import Mailbox
from tests.system.connectors_service import Client

OnStep = Callable[[str], None]
"""Told of each step: the kind of an event, once what it brought is stored, or `commit` before one is sent."""


@unique
class Left(Enum):
    """What becomes of a place that was told before a crash, and not committed. All three are a caller's right."""

    COMMITTED = "committed"
    BEGUN_AT = "begun at"
    """The next fetch begins there, which commits what is before it."""
    GIVEN_UP = "given up"
    """The same messages come again."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that may be committed, and what is before it."""

    token: str
    keys: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Subscriber:
    """What it knows outlives every crash of the connectors."""

    connection_id: str
    name: str
    max_messages: int
    processed: list[str] = field(default_factory=list)
    """The keys of the messages, in the order in which they were worked on; each is there once."""
    unreadable: set[str] = field(default_factory=set)
    """The keys of those that cannot be read."""
    delivered: Counter[str] = field(default_factory=Counter)
    """How often each message came, the unreadable ones too."""
    _committed: set[str] = field(default_factory=set)
    """The keys that were before a commit that was answered: they must not come again."""
    _mark: Mark | None = None
    """The last place that was told and is not known to be committed."""
    _is_newest: bool = True
    """Whether no fetch can have begun since the mark was told."""

    async def catch_up(self, client: Client, *, left: Left = Left.COMMITTED, on_step: OnStep) -> pb.Completed:
        """Fetch and commit until nothing is left, and return the end of the last fetch.

        Args:
            client: Of the connectors.
            left: What becomes of the place that is left from the last time.
            on_step: See there.

        Raises:
            grpc.aio.AioRpcError: The connectors are gone.
        """
        if left is Left.COMMITTED:
            await self._commit(client, on_step)
        completed = await self._read(client, on_step, at_mark=left is Left.BEGUN_AT)
        while completed.delivered or completed.unreadable or completed.has_more:
            await self._commit(client, on_step)
            completed = await self._read(client, on_step)
        return completed

    def check(self, mailbox: Mailbox) -> None:
        """Check that every message was worked on once, and none was lost."""
        assert self.unreadable == ({mailbox.unreadable} if mailbox.unreadable else set())
        assert sorted(self.processed) == sorted(set(mailbox.ids) - self.unreadable)

    async def _read(self, client: Client, on_step: OnStep, *, at_mark: bool = False) -> pb.Completed:
        request = pb.FetchMessagesRequest(
            connection_id=self.connection_id, subscriber=self.name, max_messages=self.max_messages
        )
        begun_at = self._mark if at_mark else None
        self._mark = begun_at
        if begun_at is not None:
            request.cursor_token = begun_at.token
        was_newest, self._is_newest = self._is_newest, False
        try:
            return await self._events(client, request, on_step)
        except grpc.aio.AioRpcError as error:
            # The round of the mark can be over only when a fetch that began at it has come so far.
            if begun_at is None or was_newest or from_rpc_error(error).reason != "CURSOR_INVALID":
                raise
        self._mark = None
        return await self._read(client, on_step)

    async def _events(self, client: Client, request: pb.FetchMessagesRequest, on_step: OnStep) -> pb.Completed:
        received: list[int] = []
        keys: list[str] = []
        async for event in client.messages.FetchMessages(request):
            kind = event.WhichOneof("event") or ""
            if kind == "started":
                self._move()
            elif kind == "message":
                received.append(event.message.received_at.ToNanoseconds())
                keys.append(event.message.key)
                self._store(event.message.key)
            elif kind == "item_error":
                keys.append(event.item_error.key)
                self._store(event.item_error.key, is_readable=False)
            elif kind in {"checkpoint", "completed"}:
                token = event.checkpoint.cursor_token or event.completed.cursor_token
                self._mark, self._is_newest = Mark(token, tuple(keys)), True
            on_step(kind)
            if kind == "completed":
                assert received == sorted(received), "the oldest come first"
                return event.completed
        raise AssertionError("a fetch ended without its last event")

    async def _commit(self, client: Client, on_step: OnStep) -> None:
        if self._mark is None:
            return
        on_step("commit")
        request = pb.CommitCursorRequest(connection_id=self.connection_id, cursor_token=self._mark.token)
        try:
            await client.messages.CommitCursor(request)
        except grpc.aio.AioRpcError as error:
            if self._is_newest or error.code() is not grpc.StatusCode.ABORTED:
                raise
            self._mark = None
        self._move()

    def _store(self, key: str, *, is_readable: bool = True) -> None:
        assert key not in self._committed, f"{key} was committed, and came again"
        self.delivered[key] += 1
        if not is_readable:
            self.unreadable.add(key)
        elif self.delivered[key] == 1:
            self.processed.append(key)

    def _move(self) -> None:
        if self._mark is not None:
            self._committed.update(self._mark.keys)
        self._mark = None
