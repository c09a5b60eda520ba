"""A mailbox at the emulator's Gmail that still gets mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.emulator.core import Emulator, Fault
from tests.emulator.mails import Mail, compose


@dataclass(slots=True)
class Mailbox:
    """Make it, then let mails come in."""

    emulator: Emulator
    address: str
    ids: list[str] = field(default_factory=list)
    """Of all mails, which are also the keys that they are delivered under."""
    unreadable: str = ""
    """The one that cannot be read, if there is one."""

    def __post_init__(self) -> None:
        if self.address not in self.emulator.google.accounts:
            self.emulator.google.add_account(self.address)

    def receive(self, count: int, *, over: timedelta = timedelta(0)) -> None:
        """Let mails come in, over the time up to now."""
        now = datetime.now(UTC)
        for number in range(count):
            name = f"{len(self.ids) + 1:03}"
            raw = compose(
                subject=f"Report {name}",
                text=f"Please send the report {name} by Friday.\n",
                message_id=f"<{name}@{self.address}>",
            )
            mail = Mail(raw=raw, received_at=now - over * (count - number) / count)
            self.ids.append(self.emulator.google.mailbox(self.address).deliver(mail).message_id)

    def spoil(self, number: int) -> None:
        """Let one of the mails be no mail whenever it is read."""
        self.unreadable = self.ids[number]
        self.emulator.faults.add(
            Fault(route=f"/messages/{self.unreadable}$", times=0, status=200, body={"id": self.unreadable})
        )
