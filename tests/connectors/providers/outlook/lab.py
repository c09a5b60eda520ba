"""The emulator with one mailbox, its clock as everybody's clock, Outlook on top, and a subscriber that reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors.messages.domain import JsonObject, Listing, Message, MessageFilter, Query, Ref
from connectors.providers.http import Bounds, ProviderHttp
from connectors.providers.microsoft.config import MicrosoftConfig, graph_base
from connectors.providers.microsoft.graph import GraphApi
from connectors.providers.microsoft.identity import OUTLOOK_SCOPES, MicrosoftIdentity
from connectors.providers.outlook.config import OutlookConfig
from connectors.providers.outlook.provider import Outlook
from connectors.providers.port import Account, Provider, Session
from connectors.providers.quotas import Quota, Rate
from tests.connectors.providers.microsoft.lab import EmulatedTime
from tests.connectors.providers.support import FakeTokens, LeastJitter
from tests.emulator.core import Emulator
from tests.emulator.mails import Attachment, Folder, Mail, compose
from tests.emulator.microsoft.mailbox import Mailbox
from tests.emulator.microsoft.people import CLIENT, CONTOSO
from tests.emulator.running import running

MIA = "mia@contoso.example"
WEEK = timedelta(days=7)
EVERYTHING = MessageFilter()
MAX_BODY_CHARS = 8_000


@dataclass(slots=True, kw_only=True)
class OutlookLab:
    """What the tests of Outlook work with."""

    emulator: Emulator
    time: EmulatedTime
    outlook: Provider
    tokens: FakeTokens
    account: Account
    _delivered: int = 0

    @property
    def mailbox(self) -> Mailbox:
        return self.emulator.microsoft.mailbox(MIA)

    def session(self, *, seconds: float = 3600) -> Session:
        return Session(
            connection_id="c-1",
            account=self.account,
            tokens=self.tokens,
            deadline=self.time.now() + timedelta(seconds=seconds),
        )

    def mail(
        self,
        subject: str = "",
        *,
        ago: timedelta = timedelta(minutes=5),
        folder: Folder = "inbox",
        sender: str = "Ada <ada@example.com>",
        to: str = MIA,
        cc: str = "",
        text: str | None = None,
        html: str | None = None,
        attachments: Sequence[Attachment] = (),
        unread: bool = True,
        labels: tuple[str, ...] = (),
        message_id: str = "",
        in_reply_to: str = "",
        at: datetime | None = None,
    ) -> str:
        """Let a mail arrive, and return its immutable id."""
        self._delivered += 1
        subject = subject or f"Mail {self._delivered}"
        raw = compose(
            sender=sender,
            to=to,
            cc=cc,
            subject=subject,
            text=text,
            html=html,
            attachments=attachments,
            message_id=message_id or f"<{self._delivered}@example.com>",
            in_reply_to=in_reply_to,
            sent_at=self.time.now() - ago,
        )
        arrived = Mail(raw=raw, received_at=at or self.time.now() - ago, folder=folder, unread=unread, labels=labels)
        return self.mailbox.deliver(arrived).message_id

    async def list_new(
        self,
        state: JsonObject | None = None,
        *,
        wanted: MessageFilter = EVERYTHING,
        since: datetime | None = None,
        max_refs: int = 50_000,
        session: Session | None = None,
    ) -> Listing:
        now = self.time.now()
        query = Query(filter=wanted, state=state, since=since or now - WEEK, now=now, max_refs=max_refs)
        return await self.outlook.list_new(session or self.session(), query)

    async def read(
        self, ref: Ref, *, wanted: MessageFilter = EVERYTHING, max_body_chars: int = MAX_BODY_CHARS
    ) -> Message:
        return await self.outlook.read(self.session(), ref, wanted, max_body_chars=max_body_chars)

    async def only(self, *, wanted: MessageFilter = EVERYTHING) -> Message:
        """List and read the only mail there is."""
        (ref,) = (await self.list_new(wanted=wanted)).refs
        return await self.read(ref, wanted=wanted)

    def calls(self, route: str = "^/v1.0/") -> int:
        return self.emulator.counters.count(route)


@dataclass(slots=True, kw_only=True)
class Subscriber:
    """Lists again and again, and takes each mail once, by its id and by its Message-ID."""

    lab: OutlookLab
    wanted: MessageFilter = EVERYTHING
    since: datetime
    state: JsonObject | None = None
    got: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    async def fetch(self) -> list[str]:
        """List once; return the ids of the mails that were not got before, oldest first."""
        found = await self.lab.list_new(self.state, wanted=self.wanted, since=self.since)
        self.state = found.state
        fresh = []
        for ref in sorted(found.refs, key=lambda one: one.received_at):
            if not {ref.provider_id, ref.alias} & self._known:
                fresh.append(ref.provider_id)
            self._known |= {ref.provider_id, ref.alias} - {""}
        self.got += fresh
        return fresh


def ids(found: Listing) -> set[str]:
    return {ref.provider_id for ref in found.refs}


@asynccontextmanager
async def outlook_lab(
    config: OutlookConfig | None = None,
    *,
    personal: bool = False,
    requests_per_minute: int = 1_000,
    bounds: Bounds | None = None,
) -> AsyncIterator[OutlookLab]:
    """Serve the emulator with Mia's mailbox, linked."""
    config = config or OutlookConfig()
    async with running() as emulator:
        account = emulator.microsoft.add_account(MIA, personal=personal)
        tokens = FakeTokens(tokens=[emulator.microsoft.link(MIA).access_token for _ in range(2)])
        time = EmulatedTime(emulator.clock)
        quota = Quota(
            now=time.now,
            sleep=time.sleep,
            concurrency=config.concurrency,
            per_connection=[Rate.per_minute(requests_per_minute)],
        )
        microsoft = MicrosoftConfig(
            client_id=CLIENT.client_id, client_secret=CLIENT.secret, login_base_url=emulator.base_url
        )
        async with (
            ProviderHttp(
                graph_base(emulator.base_url),
                quota=quota,
                now=time.now,
                sleep=time.sleep,
                rng=LeastJitter(),
                bounds=bounds,
            ) as http,
            MicrosoftIdentity(microsoft, scopes=OUTLOOK_SCOPES, now=time.now, sleep=time.sleep) as identity,
        ):
            yield OutlookLab(
                emulator=emulator,
                time=time,
                outlook=Outlook(GraphApi(http), identity, config),
                tokens=tokens,
                account=Account(account_id=f"{account.object_id}.{CONTOSO}", address=MIA),
            )
