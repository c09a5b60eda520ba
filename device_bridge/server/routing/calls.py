"""The table of calls that have not ended: who waits for what, on which device, until when. No I/O, and nothing waits.

A call enters with `submit` and leaves exactly once, with an answer to everybody who waits for it. Its device is looked
up by somebody else (`unresolved`, `resolve`) unless its session is here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.errors import (
    BridgeStopping,
    CallCancelled,
    CallIdReused,
    CallTimeout,
    DeviceLost,
    DeviceOffline,
    DeviceUnknown,
    TooManyCalls,
)
from device_bridge.server.routing.deadlines import Deadlines
from device_bridge.server.routing.domain import (
    Answer,
    Call,
    OfflinePolicy,
    Parcel,
    rejection,
)
from device_bridge.server.routing.memory import OutcomeMemory
from device_bridge.server.routing.ports import DeviceLink, Waiter
from device_bridge.server.routing.queues import DeviceQueue, Entry

RETRY_AFTER = 1.0
"""Seconds after which a refused call may be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLimits:
    """How much may wait."""

    max_calls: int = 20_000
    """Calls in the whole table."""
    max_bytes: int = 256 << 20
    """Their arguments together."""
    waiting_calls: int = 256
    """Calls that wait for one device, beside those that it has."""
    waiting_bytes: int = 8 << 20


@unique
class Stage(Enum):
    """How far a call is."""

    WAITING = "waiting"
    RUNNING = "running"


class CallTable:
    """The calls of this replica.

    Args:
        limits: How much may wait.
        keys: Numbers for calls, never repeated, also not by an earlier process.
        memory: How calls ended.
        now: Monotonic seconds at the start.
    """

    def __init__(self, *, limits: TableLimits, keys: Iterator[str], memory: OutcomeMemory, now: float) -> None:
        self._limits = limits
        self._keys = keys
        self._memory = memory
        self._now = now
        self._by_id: dict[tuple[str, str], Entry] = {}
        self._by_key: dict[str, Entry] = {}
        self._queues: dict[str, DeviceQueue] = {}
        self._deadlines = Deadlines(now)
        self._bytes = 0
        self._unresolved: deque[Entry] = deque()
        self._stopping = False
        self.lookup_wanted = asyncio.Event()
        """Set when a call waits for its device to be looked up."""
        self.idle = asyncio.Event()
        """Set while the table is empty."""
        self.idle.set()

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def devices(self) -> int:
        """Devices that are connected or have calls."""
        return len(self._queues)

    # --- callers

    def submit(self, call: Call, waiter: Waiter, now: float) -> None:
        """Take a call. Its answer, a refusal too, comes through `waiter`, perhaps before this returns."""
        known = self._by_id.get((call.user_id, call.call_id))
        if known is not None and known.call.same_work(call) and call.epoch > known.call.epoch:
            # A newer worker has taken over the run: the device would refuse the older one's epoch.
            self._abandon(known, CallCancelled("A newer worker of the run submitted this call."))
            known = None
        if refusal := self._refusal(call, known):
            waiter.ended(call, rejection(refusal))
        elif known is not None:
            known.join(call, waiter)
        else:
            self._route(self._add(call, waiter, now))

    def cancel(self, user_id: str, call_id: str) -> bool:
        """End a call because somebody asked for it. Returns whether it was under way."""
        entry = self._by_id.get((user_id, call_id))
        if entry is None:
            return False
        self._abandon(entry, CallCancelled())
        return True

    def leave(self, user_id: str, call_id: str, waiter: Waiter) -> None:
        """Somebody does not wait any more. A call that nobody waits for is cancelled."""
        entry = self._by_id.get((user_id, call_id))
        if entry is None or waiter not in entry.waiters:
            return
        entry.waiters.remove(waiter)
        if not entry.waiters:
            self._abandon(entry, CallCancelled("Everybody who waited for the call has left."))

    def standing(self, user_id: str, call_id: str, now: float) -> Stage | Answer | None:
        """Return how far a call is, how it ended, or None when it is not known here."""
        entry = self._by_id.get((user_id, call_id))
        if entry is not None:
            return Stage.RUNNING if entry.parcel.written else Stage.WAITING
        return self._memory.recall(user_id, call_id, now)

    # --- looking devices up

    def take_unresolved(self) -> list[Entry]:
        """Return the calls whose device is to be looked up, each once."""
        self.lookup_wanted.clear()
        entries = [entry for entry in self._unresolved if not entry.parcel.dropped]
        self._unresolved.clear()
        return entries

    def resolve(self, entry: Entry, found: str | AdiuvaError) -> None:
        """The device of a call is known, or there is none."""
        if entry.parcel.dropped:
            return
        if isinstance(found, AdiuvaError):
            self._end(entry, rejection(found))
            return
        entry.parcel.call = entry.call.on(found)
        self._enqueue(entry, found)

    # --- devices (the CallDesk of sessions)

    def attach(self, link: DeviceLink) -> dict[str, Parcel]:
        """A session takes over a device. Returns the calls that were written before and have no answer yet, by key."""
        queue = self._queue(link.device_id)
        queue.link = link
        queue.unsend()
        return {key: entry.parcel for key, entry in queue.sent.items()}

    def resume(self, link: DeviceLink) -> None:
        """Welcome is on its way: calls that wait may be delivered."""
        self.room_made(link)

    def detach(self, link: DeviceLink) -> None:
        """A session is over: calls that do not wait for their device fail. Nothing changes for a stale session."""
        queue = self._queues.get(link.device_id)
        if queue is None or queue.link is not link:
            return
        queue.link = None
        queue.unsend()
        for entry in [*queue.sent.values(), *queue.waiting.values()]:
            if not entry.patient:
                self._end(entry, rejection(DeviceLost(), entry.parcel.delivery))
        self._forget_if_idle(link.device_id)

    def answered(self, link: DeviceLink, key: str, answer: Answer) -> None:
        """A call has ended. Nothing changes when `link` is not the device's session any more."""
        queue = self._queues.get(link.device_id)
        if queue is None or queue.link is not link:
            return
        if (entry := queue.sent.get(key)) is not None:
            self._end(entry, answer)
        self._dispatch(queue)

    def room_made(self, link: DeviceLink) -> None:
        """The device can take another call."""
        queue = self._queues.get(link.device_id)
        if queue is not None and queue.link is link:
            self._dispatch(queue)

    # --- time, and the end

    def sweep(self, now: float) -> None:
        """End the calls whose time is over, and forget old answers."""
        self._now = now
        for key in self._deadlines.take_due(now):
            if (entry := self._by_key.get(key)) is not None:
                self._abandon(entry, CallTimeout())
        self._memory.expire(now)

    def stop_accepting(self) -> None:
        """Refuse new calls, and end those that no device has; the others may still finish."""
        self._stopping = True
        for entry in list(self._by_id.values()):
            if not entry.parcel.written:
                self._abandon(entry, BridgeStopping())

    def end_all(self) -> None:
        """End what is left."""
        for entry in list(self._by_id.values()):
            self._abandon(entry, BridgeStopping())

    # --- helpers

    def _refusal(self, call: Call, known: Entry | None) -> AdiuvaError | None:
        if self._stopping:
            return BridgeStopping()
        if known is not None:
            return None if known.call.same_work(call) else CallIdReused()
        if len(self._by_id) >= self._limits.max_calls or self._bytes + call.size_bytes > self._limits.max_bytes:
            return TooManyCalls("The bridge has too many calls waiting.", retry_after=RETRY_AFTER)
        return None

    def _add(self, call: Call, waiter: Waiter, now: float) -> Entry:
        parcel = Parcel(next(self._keys), call, now + call.timeout)
        entry = Entry(parcel, [waiter], call.offline_policy is OfflinePolicy.WAIT, call.size_bytes)
        self._by_id[call.user_id, call.call_id] = entry
        self._by_key[parcel.key] = entry
        self._deadlines.add(parcel.key, parcel.deadline)
        self._bytes += entry.size_bytes
        self.idle.clear()
        return entry

    def _route(self, entry: Entry) -> None:
        call = entry.call
        queue = self._queues.get(call.device_id) if call.device_id else None
        if queue is None or queue.link is None:
            self._unresolved.append(entry)
            self.lookup_wanted.set()
        elif queue.link.user_id != call.user_id:
            self._end(entry, rejection(DeviceUnknown()))
        else:
            self._enqueue(entry, call.device_id)

    def _enqueue(self, entry: Entry, device_id: str) -> None:
        queue = self._queue(device_id)
        if queue.link is None and not entry.patient:
            self._forget_if_idle(device_id)
            self._end(entry, rejection(DeviceOffline()))
        elif not queue.has_room_for(entry):
            self._end(entry, rejection(TooManyCalls(retry_after=RETRY_AFTER)))
        else:
            entry.device_id = device_id
            queue.add(entry)
            self._dispatch(queue)

    def _dispatch(self, queue: DeviceQueue) -> None:
        while queue.link is not None and queue.link.room > 0 and (entry := queue.next()) is not None:
            queue.link.deliver(entry.parcel)

    def _abandon(self, entry: Entry, error: AdiuvaError) -> None:
        """End a call before its device answered, and tell the device if it may have it."""
        queue = self._queues.get(entry.device_id)
        link = queue.link if queue is not None and entry.parcel.key in queue.sent else None
        self._end(entry, rejection(error, entry.parcel.delivery))
        if link is not None and queue is not None:
            link.withdraw(entry.parcel.key)
            self._dispatch(queue)

    def _end(self, entry: Entry, answer: Answer) -> None:
        call = entry.call
        entry.parcel.dropped = True
        del self._by_id[call.user_id, call.call_id]
        del self._by_key[entry.parcel.key]
        self._deadlines.remove(entry.parcel.key, entry.parcel.deadline)
        self._bytes -= entry.size_bytes
        if queue := self._queues.get(entry.device_id):
            queue.remove(entry)
            self._forget_if_idle(entry.device_id)
        self._memory.remember(call, answer, self._now)
        if not self._by_id:
            self.idle.set()
        for waiter in entry.waiters:
            waiter.ended(call, answer)

    def _queue(self, device_id: str) -> DeviceQueue:
        if device_id not in self._queues:
            self._queues[device_id] = DeviceQueue(self._limits.waiting_calls, self._limits.waiting_bytes)
        return self._queues[device_id]

    def _forget_if_idle(self, device_id: str) -> None:
        queue = self._queues.get(device_id)
        if queue is not None and queue.is_idle:
            del self._queues[device_id]
