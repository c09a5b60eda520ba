"""A person in front of the emulator's consent screen."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2

from connectors.providers.google.config import GoogleConfig
from connectors.providers.google.identity import GoogleIdentity
from connectors.providers.port import Granted, Identity, RedirectBegun
from tests.connectors.providers.support import MostJitter
from tests.emulator.core import Emulator
from tests.emulator.google.state import CLIENT

EMAIL = "Me@example.com"
REDIRECT = "http://127.0.0.1:49152/callback"


def identity_of(emulator: Emulator, *, secret: str = CLIENT.secret) -> GoogleIdentity:
    async def sleep(seconds: float) -> None:
        emulator.clock.advance(timedelta(seconds=seconds))

    config = GoogleConfig(
        client_id=CLIENT.client_id,
        client_secret=secret,
        accounts_url=emulator.base_url,
        oauth2_url=emulator.base_url,
        api_url=emulator.base_url,
    )
    return GoogleIdentity(config, now=emulator.now, sleep=sleep, rng=MostJitter())


async def begin(identity: Identity) -> RedirectBegun:
    return await identity.begin_redirect(redirect_uri=REDIRECT, state="of-this-flow", login_hint=EMAIL, claims="")


async def consent(url: str) -> dict[str, str]:
    """Open an address as a browser does, and return what comes back to the redirect address."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


async def linked(identity: Identity) -> Granted:
    begun = await begin(identity)
    return await identity.complete_redirect(begun.secret, await consent(begun.url))


async def refresh_token_of(identity: Identity) -> str:
    token = (await linked(identity)).tokens.refresh_token
    assert token is not None
    return token
