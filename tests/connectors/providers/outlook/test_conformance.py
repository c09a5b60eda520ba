"""Outlook keeps the suite of all providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import pytest

from connectors.messages.domain import MessageFilter
from connectors.providers.port import Account, Provider
from tests.conformance.connectors.provider_lab import ProviderLab, Said
from tests.conformance.connectors.providers import ProviderConformance
from tests.connectors.providers.outlook.lab import MIA, OutlookLab, outlook_lab
from tests.emulator.core import Emulator, Fault
from tests.emulator.mails import Attachment


class ConformanceLab:
    """Keeps `ProviderLab`."""

    has_attachments = True
    # Now and then a listing also looks through the last days.
    calls_when_idle = 2
    api = r"^/v1\.0/"
    wanted = MessageFilter()
    refused: Mapping[str, Sequence[MessageFilter]] = {
        "filter.senders": [MessageFilter(senders=(one,)) for one in ("ada", "a b@example.com")],
        "filter.recipients": [MessageFilter(recipients=("nobody",))],
        "filter.subject_contains": [MessageFilter(subject_contains=(" ",))],
        "filter.containers": [MessageFilter(containers=(one,)) for one in ("chat:19:abc", "Projects", "../inbox")],
        "filter.provider_query": [MessageFilter(provider_query="from:ada")],
    }

    def __init__(self, outlook: OutlookLab) -> None:
        self._outlook = outlook

    @property
    def core(self) -> Emulator:
        return self._outlook.emulator

    @property
    def provider(self) -> Provider:
        return self._outlook.outlook

    @property
    def account(self) -> Account:
        return self._outlook.account

    def token(self) -> str:
        return self.core.microsoft.link(MIA).access_token

    async def deliver(self, said: Said) -> str:
        files = [Attachment("report.bin", said.attachment)] if said.attachment is not None else []
        return self._outlook.mail(text=said.text, at=said.at, attachments=files)

    async def remove(self, provider_id: str) -> None:
        self._outlook.mailbox.remove(provider_id)

    async def spoil(self, provider_id: str) -> None:
        self.core.faults.add(Fault(route=f"/messages/{provider_id}$", times=0, status=200, body={"id": provider_id}))

    async def forget(self) -> bool:
        self.core.microsoft.expire_delta(MIA)
        return True


class TestOutlook(ProviderConformance):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[ProviderLab]:
        async with outlook_lab() as outlook:
            # Time passes only where somebody waits: a token must not expire in the many minutes of a test.
            outlook.emulator.microsoft.login.grants.access_lifetime = timedelta(days=365)
            yield ConformanceLab(outlook)
