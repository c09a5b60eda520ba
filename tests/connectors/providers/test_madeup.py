"""The made-up provider keeps the suite of all providers, and its users can consent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from connectors.errors import ConsentRefused
from connectors.messages.domain import MessageFilter
from connectors.providers.network import BaseUrl
from connectors.providers.port import Account, GrantRefused
from tests.conformance.connectors.provider_lab import ProviderLab, Said
from tests.conformance.connectors.providers import ProviderConformance
from tests.connectors.providers.emulated import EmulatedTime, http_of
from tests.connectors.providers.madeup.provider import Postbox, PostboxIdentity
from tests.connectors.providers.postbox_service import ADDRESS, Letter, PostboxService, postbox_service

HOST = "postbox.example"


class PostboxLab:
    """Keeps `ProviderLab`."""

    has_attachments = True
    calls_when_idle = 1
    api = "^/(me|letters)"
    wanted = MessageFilter()
    account = Account(account_id="1", address=ADDRESS)
    refused: Mapping[str, Sequence[MessageFilter]] = {
        "filter.senders": [MessageFilter(senders=("ada@example.com",))],
        "filter.containers": [MessageFilter(containers=("inbox",))],
        "filter.unread_only": [MessageFilter(unread_only=True)],
        "filter.provider_query": [MessageFilter(provider_query="hello")],
    }

    def __init__(self, service: PostboxService, provider: Postbox) -> None:
        self.service = service
        self.core = service.core
        self.provider = provider

    def token(self) -> str:
        return self.service.token()

    async def deliver(self, said: Said) -> str:
        return str(self.service.put(Letter(at=said.at, text=said.text, file=said.attachment)))

    async def remove(self, provider_id: str) -> None:
        del self.service.letters[int(provider_id)]

    async def spoil(self, provider_id: str) -> None:
        self.service.letters[int(provider_id)].text = None

    async def forget(self) -> bool:
        self.service.oldest_start = self.service.last
        return True


@pytest.fixture
async def service() -> AsyncIterator[PostboxService]:
    async with postbox_service() as service:
        yield service


@pytest.fixture
async def identity(service: PostboxService) -> AsyncIterator[PostboxIdentity]:
    time = EmulatedTime(service.core.clock)
    identity = PostboxIdentity(BaseUrl(service.base_url, HOST), now=time.now, sleep=time.sleep)
    yield identity
    await identity.aclose()


class TestPostbox(ProviderConformance):
    @pytest.fixture
    async def lab(self, service: PostboxService, identity: PostboxIdentity) -> AsyncIterator[ProviderLab]:
        async with http_of(service.core, service.base_url, HOST, concurrency=4) as http:
            yield PostboxLab(service, Postbox(http, identity))


async def test_a_user_consents_and_the_grant_is_renewed(service: PostboxService, identity: PostboxIdentity) -> None:
    begun = await identity.begin_redirect(redirect_uri="http://127.0.0.1/back", state="s-1", login_hint="", claims="")
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(begun.url)
    back = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}

    granted = await identity.complete_redirect(begun.secret, back)
    refreshed = await identity.refresh(granted.tokens.refresh_token or "", scopes=identity.required_scopes)

    assert back["state"] == "s-1"
    assert granted.account == Account(account_id="1", address=ADDRESS)
    assert refreshed.access_token != granted.tokens.access_token
    with pytest.raises(ConsentRefused):
        await identity.complete_redirect(begun.secret, {"error": "access_denied"})
    with pytest.raises(GrantRefused):
        await identity.refresh("unknown", scopes=identity.required_scopes)
