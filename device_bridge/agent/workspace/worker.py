"""A thread that owns one SQLite connection and does jobs on it in order, as many as wait in one transaction.

Blocking work stays off the event loop, there is one writer by construction, and a commit (an fsync) is shared by
all jobs that came in during the one before. A caller hears of its job only after the commit.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import structlog

from adiuva_rpc.failpoints import failpoint
from device_bridge.agent.domain import Reason, ToolError

T = TypeVar("T")

MAX_WAITING_JOBS = 512
MAX_JOBS_A_COMMIT = 64
_STOP_TIMEOUT_SECONDS = 10.0

_PASSING = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: Future[Any]


class Worker:
    """Runs jobs on one connection. Start it before the first job and stop it after the last."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        name: str,
        transaction: Literal["IMMEDIATE", "DEFERRED"],
    ) -> None:
        """Prepare the worker.

        Args:
            connect: Opens the connection; called on the worker's thread, again after a failed commit.
            name: Of the thread, for logs and dumps.
            transaction: IMMEDIATE for writing, DEFERRED for reading.
        """
        self._connect = connect
        self._begin = f"BEGIN {transaction}"
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=MAX_WAITING_JOBS)
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one job inside a transaction and return its answer once that is committed.

        A job that raises leaves nothing behind, and its exception comes out here. A caller that is cancelled before
        its job began takes it back; after that the job is done and committed all the same.

        Raises:
            ToolError: UNAVAILABLE, when too many jobs wait, the worker has stopped, or the database cannot commit.
        """
        job = _Job(work, Future())
        if self._stopped:
            raise ToolError(Reason.UNAVAILABLE, "The device is shutting down.", retryable=True)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise ToolError(Reason.UNAVAILABLE, "The device has too much to do: try later.", retryable=True) from None
        answer: T = await asyncio.wrap_future(job.done)
        return answer

    async def stop(self) -> None:
        """Do the jobs that wait, close the connection and end the thread; at most 10 s."""
        self._stopped = True
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        try:
            self._jobs.put(None, timeout=_STOP_TIMEOUT_SECONDS)
        except queue.Full:
            return
        self._thread.join(_STOP_TIMEOUT_SECONDS)

    def _serve(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            jobs = [job for job in batch if job.done.set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)
        self._discard_connection()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == MAX_JOBS_A_COMMIT:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute(self._begin)
            answers = [_attempt(self._connection, job.work) for job in jobs]
            failpoint("device.before_commit")
            self._connection.execute("COMMIT")
            failpoint("device.after_commit")
        except Exception:
            # After a failed commit SQLite's own state is not to be trusted with a retry: start from a new connection.
            log.exception("workspace_commit_failed", jobs=len(jobs))
            self._discard_connection()
            for job in jobs:
                job.done.set_exception(_unavailable())
            return
        for job, (answer, error) in zip(jobs, answers, strict=True):
            if error is None:
                job.done.set_result(answer)
            else:
                job.done.set_exception(_unavailable() if _is_passing(error) else error)

    def _discard_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _attempt(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Exception | None]:
    connection.execute("SAVEPOINT job")
    try:
        answer = work(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise  # SQLite gave up the whole transaction (disk full, I/O error): the other jobs are undone too
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return None, error
    connection.execute("RELEASE job")
    return answer, None


def _is_passing(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _PASSING


def _unavailable() -> ToolError:
    return ToolError(Reason.UNAVAILABLE, "The device's database cannot be used just now: try later.", retryable=True)
