"""Blocking file work in a bounded number of threads, each call with a deadline.

A disk or a network mount can hang a thread for ever, and nothing can end it. What can be promised is that the caller
gets an answer in time and that the event loop, the session and the process's exit do not wait for such a thread.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from device_bridge.agent.sandbox.refusals import unavailable

T = TypeVar("T")

_NO_ANSWER = "The device's file system did not answer in time."


@dataclass(slots=True, kw_only=True)
class _Job:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    started: bool = False
    abandoned: bool = False
    """Nobody waits for the result any more."""
    overdue: bool = False
    """It still runs after its deadline: its thread is lost until it ends."""


@dataclass(slots=True)
class _Shared:
    """What the threads know of the pool. They do not know the pool, so that it can be collected."""

    jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: int = 0
    idle: int = 0
    waiting: int = 0
    overdue: int = 0


class FilePool:
    """Runs blocking functions in at most `threads` daemon threads, made when first needed.

    Attributes:
        deadline_seconds: how long a call may take, waiting for a thread included.
    """

    def __init__(self, *, threads: int = 8, deadline_seconds: float = 5.0, max_waiting: int = 256) -> None:
        self.deadline_seconds = deadline_seconds
        self._limit = threads
        self._max_waiting = max_waiting
        self._shared = _Shared()
        weakref.finalize(self, _dismiss, self._shared)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises.

        A call that is cancelled or late is forgotten: if `work` has not begun it never will, else it ends unheard.

        Raises:
            ToolError: UNAVAILABLE at the deadline; at once when every thread hangs or too many calls wait already.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work=work, loop=loop, future=loop.create_future())
        self._submit(job)
        late = asyncio.timeout(self.deadline_seconds)
        try:
            async with late:
                return await job.future  # type: ignore[no-any-return]  # the future of this job's own T
        except TimeoutError:
            if late.expired():
                raise unavailable(_NO_ANSWER) from None
            raise
        finally:
            self._leave(job, late=late.expired())

    def _submit(self, job: _Job) -> None:
        shared = self._shared
        with shared.lock:
            if shared.overdue >= self._limit or shared.waiting >= self._max_waiting:
                raise unavailable(_NO_ANSWER)
            shared.waiting += 1
            grow = shared.waiting > shared.idle and shared.threads < self._limit
            shared.threads += grow
        shared.jobs.put(job)
        if grow:
            # Daemons: a thread that hangs in the kernel must not keep the process from ending.
            threading.Thread(target=_serve, args=(shared,), name="sandbox-file", daemon=True).start()

    def _leave(self, job: _Job, *, late: bool) -> None:
        with self._shared.lock:
            job.abandoned = True
            if late and job.started and not job.overdue:
                job.overdue = True
                self._shared.overdue += 1


def _serve(shared: _Shared) -> None:
    while True:
        with shared.lock:
            shared.idle += 1
        job = shared.jobs.get()
        with shared.lock:
            shared.idle -= 1
            if job is None:
                shared.threads -= 1
                return
            shared.waiting -= 1
            job.started = not job.abandoned
        if job.started:
            _perform(job)
            with shared.lock:
                shared.overdue -= job.overdue
                job.started = False
        # An idle thread must not hold on to the last call's file.
        del job


def _perform(job: _Job) -> None:
    result, failure = None, None
    try:
        result = job.work()
    except BaseException as error:  # noqa: BLE001 - it belongs to the waiting call, whatever it is
        failure = error
    try:
        job.loop.call_soon_threadsafe(_deliver, job.future, result, failure)
    except RuntimeError:
        # The loop is closed: nobody waits.
        return


def _deliver(future: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _dismiss(shared: _Shared) -> None:
    for _ in range(shared.threads):
        shared.jobs.put(None)
