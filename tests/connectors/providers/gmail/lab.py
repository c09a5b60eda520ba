"""Gmail with one linked account, and the emulator behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from email.mime.multipart import MIMEMultipart
from typing import Any

from connectors.messages.domain import MessageFilter
from connectors.providers.gmail.config import GmailConfig
from connectors.providers.gmail.provider import Gmail
from connectors.providers.http import Bounds
from connectors.providers.port import Account
from connectors.providers.quotas import Rate
from tests.conformance.connectors.provider_lab import Said
from tests.connectors.providers.emulated import http_of
from tests.emulator.core import Emulator
from tests.emulator.google.mailbox import Mailbox
from tests.emulator.google.state import GoogleState
from tests.emulator.mails import Attachment, Folder, Mail, compose
from tests.emulator.running import running
from tests.fakes.identity import FakeIdentity

ME = "me@example.com"
_TOO_DEEP = 60
_REFUSED: Mapping[str, Sequence[MessageFilter]] = {
    "filter.senders": [
        MessageFilter(senders=(one,)) for one in ("ada", "ada@example.com OR in:spam", 'a"b@example.com', "(a)@b.c")
    ],
    "filter.recipients": [MessageFilter(recipients=("{x}@example.com",)), MessageFilter(recipients=("a@b|c@d",))],
    "filter.subject_contains": [MessageFilter(subject_contains=(one,)) for one in ('"', 'a" OR "b', "\n", "  ")],
    "filter.containers": [MessageFilter(containers=(one,)) for one in ("SPAM", "trash", "Draft", 'x" in:spam "')],
    "filter.provider_query": [MessageFilter(provider_query="a\x00b")],
    "filter": [MessageFilter(senders=tuple(f"a{number}@example.com" for number in range(101)))],
}


class GmailLab:
    """Keeps `ProviderLab`."""

    has_attachments = True
    calls_when_idle = 1
    api = r"^/gmail/v1/"
    wanted = MessageFilter()
    account = Account(account_id=ME, address=ME)
    refused = _REFUSED

    def __init__(self, core: Emulator, provider: Gmail) -> None:
        self.core = core
        self.provider = provider

    @property
    def google(self) -> GoogleState:
        return self.core.google

    @property
    def mailbox(self) -> Mailbox:
        return self.google.mailbox(ME)

    def token(self) -> str:
        return self.google.link(ME).access_token

    def mail(self, *, at: datetime | None = None, **wishes: Any) -> str:
        """Deliver a mail; `folder`, `labels`, `unread` and `thread` are the mailbox's, all else is composed."""
        placed = {name: wishes.pop(name) for name in ("folder", "labels", "unread", "thread") if name in wishes}
        return self.raw(compose(**wishes), at=at, **placed)

    def raw(self, raw: bytes, *, at: datetime | None = None, folder: Folder = "inbox", **placed: Any) -> str:
        """Deliver a mail as it is."""
        mail = Mail(raw=raw, received_at=at or self.core.now(), folder=folder, **placed)
        return self.mailbox.deliver(mail).message_id

    async def deliver(self, said: Said) -> str:
        files = [Attachment("report.bin", said.attachment)] if said.attachment is not None else []
        return self.mail(at=said.at, subject="A subject", text=said.text, attachments=files)

    async def remove(self, provider_id: str) -> None:
        self.mailbox.remove(provider_id)

    async def spoil(self, provider_id: str) -> None:
        message = self.mailbox.messages[provider_id]
        message.mail = Mail(raw=nested(_TOO_DEEP), received_at=message.mail.received_at)

    async def forget(self) -> bool:
        self.mailbox.expire_history()
        return True


def nested(levels: int) -> bytes:
    """Return a mail of parts within parts."""
    outer = inner = MIMEMultipart()
    outer["Subject"] = "bad"
    for _ in range(levels):
        part = MIMEMultipart()
        inner.attach(part)
        inner = part
    return outer.as_bytes()


@asynccontextmanager
async def gmail_lab(config: GmailConfig | None = None, *, bounds: Bounds | None = None) -> AsyncIterator[GmailLab]:
    """Serve the emulator with one account, and give a Gmail that works against it."""
    config = config or GmailConfig()
    async with running() as emulator:
        emulator.google.add_account(ME)
        # Time passes only where somebody waits: a token must not expire in the many minutes of a test.
        emulator.google.grants.access_lifetime = timedelta(days=365)
        http = http_of(
            emulator,
            emulator.base_url,
            "gmail.googleapis.com",
            concurrency=config.concurrency,
            per_connection=[Rate.per_minute(6_000)],
            bounds=bounds,
        )
        async with http:
            yield GmailLab(emulator, Gmail(http, FakeIdentity(emulator.clock.now), config))
