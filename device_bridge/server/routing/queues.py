"""The calls of one device: those that wait for it and those that it has. They outlive its sessions."""

from __future__ import annotations

from dataclasses import dataclass, field

from device_bridge.server.routing.domain import Call, OfflinePolicy, Parcel
from device_bridge.server.routing.ports import DeviceLink, Waiter


@dataclass(slots=True, eq=False)
class Entry:
    """A call that has not ended, and who waits for it."""

    parcel: Parcel
    waiters: list[Waiter]
    patient: bool
    """It waits for a device that is offline."""
    size_bytes: int
    """Of its call."""
    device_id: str = ""
    """Empty until it is known."""

    @property
    def call(self) -> Call:
        """The call."""
        return self.parcel.call

    def join(self, call: Call, waiter: Waiter) -> None:
        """Somebody else waits for it too."""
        self.waiters.append(waiter)
        self.patient = self.patient or call.offline_policy is OfflinePolicy.WAIT


@dataclass(slots=True, eq=False)
class DeviceQueue:
    """The calls of one device. A call is in `waiting` or in `sent`."""

    max_calls: int
    """Calls that may wait."""
    max_bytes: int
    """Their bytes."""
    link: DeviceLink | None = None
    waiting: dict[str, Entry] = field(default_factory=dict)
    """In the order in which they came, by key."""
    sent: dict[str, Entry] = field(default_factory=dict)
    """Given to a session; the device may have them, or the session's outbox."""
    waiting_bytes: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether it can be forgotten."""
        return self.link is None and not self.waiting and not self.sent

    def has_room_for(self, entry: Entry) -> bool:
        """Tell whether the entry may wait here."""
        return len(self.waiting) < self.max_calls and self.waiting_bytes + entry.size_bytes <= self.max_bytes

    def add(self, entry: Entry) -> None:
        """Let the entry wait."""
        self.waiting[entry.parcel.key] = entry
        self.waiting_bytes += entry.size_bytes

    def next(self) -> Entry | None:
        """Move the first waiting entry to the sent ones and return it; None when none waits."""
        for key, entry in self.waiting.items():
            del self.waiting[key]
            self.waiting_bytes -= entry.size_bytes
            self.sent[key] = entry
            return entry
        return None

    def remove(self, entry: Entry) -> bool:
        """Take the entry out. Returns whether it had been given to a session."""
        key = entry.parcel.key
        if self.sent.pop(key, None) is not None:
            return True
        if self.waiting.pop(key, None) is not None:
            self.waiting_bytes -= entry.size_bytes
        return False

    def unsend(self) -> None:
        """The session is over: what it had not written waits again, before everything else and in its order."""
        back = {key: entry for key, entry in self.sent.items() if not entry.parcel.written}
        for key, entry in back.items():
            del self.sent[key]
            self.waiting_bytes += entry.size_bytes
        self.waiting = {**back, **self.waiting}
