"""A link and a waiter that remember, for tests of the call table."""

from __future__ import annotations

import itertools
from typing import Any

from device_bridge.server.routing.calls import CallTable, TableLimits
from device_bridge.server.routing.domain import Answer, Call, Finished, Outcome, Parcel, Rejected
from device_bridge.server.routing.memory import OutcomeMemory


class FakeLink:
    """A session that delivers at once, as a device that reads would have it."""

    def __init__(self, device_id: str = "laptop", *, user_id: str = "anna", epoch: int = 1, room: int = 2) -> None:
        self.device_id = device_id
        self.user_id = user_id
        self.epoch = epoch
        self.slots = room
        self.writes = True
        self.delivered: list[Parcel] = []
        self.withdrawn: list[str] = []
        self.answered: set[str] = set()

    @property
    def room(self) -> int:
        return self.slots - sum(parcel.key not in self.answered for parcel in self.delivered)

    def deliver(self, parcel: Parcel) -> None:
        assert self.room > 0
        self.delivered.append(parcel)
        parcel.written = parcel.written or self.writes

    def withdraw(self, key: str) -> None:
        self.withdrawn.append(key)
        self.answered.add(key)

    @property
    def calls(self) -> list[str]:
        return [parcel.call.call_id for parcel in self.delivered]


class Answers:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}

    def ended(self, call: Call, answer: Answer) -> None:
        self.answers.setdefault(call.call_id, []).append(answer)

    def only(self, call_id: str = "c1") -> Answer:
        (answer,) = self.answers[call_id]
        return answer

    def error(self, call_id: str = "c1") -> tuple[str, str]:
        """The reason and the delivery of a rejection."""
        answer = self.only(call_id)
        assert isinstance(answer, Rejected)
        assert answer.error.metadata["delivery"] == answer.delivery.value
        return answer.error.reason, answer.delivery.value


class Table:
    """A table under test, with a clock that moves by hand."""

    def __init__(self, **limits: int) -> None:
        self.now = 100.0
        self.memory = OutcomeMemory()
        self.table = CallTable(
            limits=TableLimits(**limits),
            keys=(f"key-{number}" for number in itertools.count(1)),
            memory=self.memory,
            now=self.now,
        )
        self.waiter = Answers()

    def connect(self, link: FakeLink) -> dict[str, Parcel]:
        wanted = self.table.attach(link)
        self.table.resume(link)
        return wanted

    def submit(self, call_id: str = "c1", *, waiter: Answers | None = None, **changes: Any) -> Answers:
        waiter = waiter or self.waiter
        self.table.submit(call(call_id, **changes), waiter, self.now)
        return waiter

    def answer(self, link: FakeLink, call_id: str = "c1") -> Finished:
        parcel = next(each for each in reversed(link.delivered) if each.call.call_id == call_id)
        link.answered.add(parcel.key)
        answer = Finished(Outcome(b"outcome"), link.device_id, link.epoch)
        self.table.answered(link, parcel.key, answer)
        return answer

    def find(self, device_id: str = "laptop") -> None:
        """Answer every look-up with this device."""
        for entry in self.table.take_unresolved():
            self.table.resolve(entry, device_id)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.table.sweep(self.now)


def call(call_id: str = "c1", **changes: Any) -> Call:
    fields: dict[str, Any] = {
        "user_id": "anna",
        "call_id": call_id,
        "device_id": "laptop",
        "tool": "echo",
        "arguments_json": "{}",
        **changes,
    }
    return Call(**fields)
