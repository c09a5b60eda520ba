"""Which providers there are, by what the operator has set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from adiuva_rpc.settings import load
from connectors.catalog import PROVIDERS, Builder, Maker, providers
from connectors.errors import ProviderUnknown
from connectors.providers.port import Flow, Provider
from connectors.settings import ConnectorsSettings
from tests.connectors.test_settings import GOOGLE, MICROSOFT, NEEDED
from tests.fakes.provider import FakeProvider, ManualClock


def now() -> datetime:
    return datetime.now(UTC)


def settings(variables: Mapping[str, str] | None = None) -> ConnectorsSettings:
    return load(ConnectorsSettings, NEEDED | dict(variables or {}))


def maker_of(name: str) -> Maker:
    async def make(_builder: Builder) -> Provider:
        return FakeProvider(ManualClock(), name=name)

    return make


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, ()),
        (GOOGLE, ("gmail",)),
        (MICROSOFT, ("outlook", "teams")),
        (MICROSOFT | {"ADIUVA_MICROSOFT_CLIENT_SECRET": "secret"}, ("outlook", "teams")),
        (GOOGLE | MICROSOFT, ("gmail", "outlook", "teams")),
    ],
    ids=["nothing", "Google", "a public client of Microsoft", "a confidential one", "both"],
)
async def test_a_provider_is_there_when_its_client_is_set(variables: dict[str, str], names: tuple[str, ...]) -> None:
    async with providers(settings(variables), now=now, sleep=asyncio.sleep) as registry:
        assert registry.names == names
        for name in {"gmail", "outlook", "teams"} - set(names):
            with pytest.raises(ProviderUnknown):
                registry.get(name)


async def test_only_microsoft_has_codes_for_devices() -> None:
    async with providers(settings(GOOGLE | MICROSOFT), now=now, sleep=asyncio.sleep) as registry:
        flows = {name: registry.get(name).identity.flows for name in registry.names}

    both = {Flow.REDIRECT, Flow.DEVICE_CODE}
    assert flows == {"gmail": {Flow.REDIRECT}, "outlook": both, "teams": both}


async def test_the_numbers_of_the_settings_reach_the_providers() -> None:
    numbers = {"ADIUVA_GMAIL_CONCURRENCY": "7", "ADIUVA_OUTLOOK_CONCURRENCY": "3"}
    async with providers(settings(GOOGLE | MICROSOFT | numbers), now=now, sleep=asyncio.sleep) as registry:
        assert (registry.get("gmail").concurrency, registry.get("outlook").concurrency) == (7, 3)


async def test_one_more_provider_is_one_more_maker() -> None:
    async with providers(
        settings(GOOGLE), now=now, sleep=asyncio.sleep, makers=[*PROVIDERS, maker_of("madeup")]
    ) as registry:
        assert registry.names == ("gmail", "madeup")


async def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two providers named 'x'"):
        async with providers(settings(), now=now, sleep=asyncio.sleep, makers=[maker_of("x"), maker_of("x")]):
            pass


async def test_what_a_maker_opened_is_closed_at_the_end_also_when_a_later_one_fails() -> None:
    closed: list[str] = []

    @asynccontextmanager
    async def resource(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.append(name)

    async def opens(builder: Builder) -> Provider | None:
        await builder.parts.enter_async_context(resource("first"))
        return None

    async def fails(_builder: Builder) -> Provider | None:
        raise ValueError("no such tenant")

    with pytest.raises(ValueError, match="no such tenant"):
        async with providers(settings(), now=now, sleep=asyncio.sleep, makers=[opens, fails]):
            pass
    assert closed == ["first"]
    async with providers(settings(), now=now, sleep=asyncio.sleep, makers=[opens]):
        assert closed == ["first"]
    assert closed == ["first", "first"]
