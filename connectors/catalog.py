"""Which providers there are: one function for each, and the list. A new provider is named here and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from connectors.providers.gmail.config import GmailConfig
from connectors.providers.gmail.provider import Gmail
from connectors.providers.google.config import GoogleConfig
from connectors.providers.google.identity import GoogleIdentity
from connectors.providers.http import ProviderHttp
from connectors.providers.microsoft.config import GRAPH_HOST, MicrosoftConfig
from connectors.providers.microsoft.graph import GraphApi
from connectors.providers.microsoft.identity import OUTLOOK_SCOPES, MicrosoftIdentity
from connectors.providers.network import BaseUrl
from connectors.providers.outlook.config import OutlookConfig
from connectors.providers.outlook.provider import Outlook
from connectors.providers.port import Provider
from connectors.providers.quotas import Now, Quota, Rate, Sleep
from connectors.providers.registry import Registry
from connectors.providers.teams.config import SCOPES as TEAMS_SCOPES, TeamsConfig
from connectors.providers.teams.provider import Teams
from connectors.settings import ConnectorsSettings


class Builder:
    """What a provider is made with. What it opens is closed with `parts`."""

    def __init__(self, settings: ConnectorsSettings, parts: AsyncExitStack, *, now: Now, sleep: Sleep) -> None:
        self.settings = settings
        self.parts = parts
        self.now = now
        self.sleep = sleep

    async def http(self, base_url: BaseUrl, quota: Quota) -> ProviderHttp:
        """Return a client of an API, within a quota."""
        return await self.parts.enter_async_context(ProviderHttp(base_url, quota=quota, now=self.now, sleep=self.sleep))

    async def microsoft(self, tenant: str, scopes: tuple[str, ...]) -> MicrosoftIdentity:
        """Return Microsoft's consent for the accounts of a tenant."""
        secret = self.settings.microsoft_client_secret
        config = MicrosoftConfig(
            client_id=self.settings.microsoft_client_id,
            client_secret=secret.get_secret_value() if secret is not None else None,
            tenant=tenant,
            login_base_url=self.settings.microsoft_login_url,
        )
        return await self.parts.enter_async_context(
            MicrosoftIdentity(config, scopes=scopes, now=self.now, sleep=self.sleep)
        )

    def graph(self) -> BaseUrl:
        """Return where Graph is."""
        return BaseUrl(f"{self.settings.graph_url.rstrip('/')}/v1.0", GRAPH_HOST)


async def gmail(builder: Builder) -> Provider | None:
    """Return Gmail, when Google's client is set."""
    settings = builder.settings
    if settings.google_client_secret is None:
        return None
    google = GoogleConfig(
        client_id=settings.google_client_id,
        client_secret=settings.google_client_secret.get_secret_value(),
        accounts_url=settings.google_accounts_url,
        oauth2_url=settings.google_oauth2_url,
        api_url=settings.gmail_url,
    )
    identity = await builder.parts.enter_async_context(GoogleIdentity(google, now=builder.now, sleep=builder.sleep))
    quota = Quota(
        now=builder.now,
        sleep=builder.sleep,
        concurrency=settings.gmail_concurrency,
        per_connection=[Rate.per_minute(settings.gmail_units_per_minute)],
        per_project=[Rate.per_minute(settings.gmail_project_units_per_minute)],
    )
    config = GmailConfig(
        get_units=settings.gmail_get_units,
        list_units=settings.gmail_list_units,
        history_units=settings.gmail_history_units,
        concurrency=settings.gmail_concurrency,
    )
    return Gmail(await builder.http(google.api, quota), identity, config)


async def outlook(builder: Builder) -> Provider | None:
    """Return Outlook, when Microsoft's client is set."""
    settings = builder.settings
    if not settings.microsoft_client_id:
        return None
    quota = Quota(
        now=builder.now,
        sleep=builder.sleep,
        concurrency=settings.outlook_concurrency,
        per_connection=[Rate.per_minute(settings.outlook_requests_per_minute)],
    )
    identity = await builder.microsoft(settings.microsoft_tenant, OUTLOOK_SCOPES)
    config = OutlookConfig(concurrency=settings.outlook_concurrency)
    return Outlook(GraphApi(await builder.http(builder.graph(), quota)), identity, config)


async def teams(builder: Builder) -> Provider | None:
    """Return Teams, when Microsoft's client is set."""
    settings = builder.settings
    if not settings.microsoft_client_id:
        return None
    config = TeamsConfig()
    quota = Quota(
        now=builder.now,
        sleep=builder.sleep,
        concurrency=config.concurrency,
        per_project=[Rate.per_second(settings.teams_requests_per_second)],
        per_scope=[Rate.per_minute(settings.teams_channel_requests_per_minute)],
    )
    identity = await builder.microsoft(settings.microsoft_teams_tenant, TEAMS_SCOPES)
    return Teams(GraphApi(await builder.http(builder.graph(), quota)), identity, config)


Maker = Callable[[Builder], Awaitable[Provider | None]]
"""Makes a provider, or returns None when the operator has not set it up."""

PROVIDERS: tuple[Maker, ...] = (gmail, outlook, teams)


@asynccontextmanager
async def providers(
    settings: ConnectorsSettings, *, now: Now, sleep: Sleep, makers: Iterable[Maker] = PROVIDERS
) -> AsyncIterator[Registry]:
    """Give the providers that are set up, until the block ends.

    Args:
        settings: What they are made from.
        now: The present time.
        sleep: Waits.
        makers: Who makes them.

    Raises:
        ValueError: Two have the same name, or a setting is not what a provider can work with.
    """
    async with AsyncExitStack() as parts:
        builder = Builder(settings, parts, now=now, sleep=sleep)
        made = [await make(builder) for make in makers]
        yield Registry(one for one in made if one is not None)
