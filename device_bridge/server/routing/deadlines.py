"""Many deadlines at little cost: a hashed wheel of slots. Adding and removing take constant time."""

from __future__ import annotations

from collections import defaultdict

SLOT_SECONDS = 0.05
"""A deadline is noticed at most this much late, beside the pause between two sweeps."""


class Deadlines:
    """Keys that are due at some time. Time is passed in.

    Args:
        now: Where the wheel begins.
    """

    def __init__(self, now: float) -> None:
        self._next_slot = _slot(now)
        self._slots: defaultdict[int, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self, key: str, due: float) -> None:
        """Remember a key until it is due; one that is overdue comes with the next sweep."""
        self._slots[max(_slot(due), self._next_slot)].add(key)

    def remove(self, key: str, due: float) -> None:
        """Forget a key; `due` is what it was added with."""
        for slot in (_slot(due), self._next_slot):
            keys = self._slots.get(slot)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._slots[slot]

    def take_due(self, now: float) -> list[str]:
        """Return and forget the keys that are due."""
        last = _slot(now)
        due: list[str] = []
        if last - self._next_slot > len(self._slots):
            passed = sorted(slot for slot in self._slots if slot < last)
        else:
            passed = [slot for slot in range(self._next_slot, last) if slot in self._slots]
        for slot in passed:
            due += self._slots.pop(slot)
        self._next_slot = max(self._next_slot, last)
        return due


def _slot(moment: float) -> int:
    return int(moment / SLOT_SECONDS) + 1
