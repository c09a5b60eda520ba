"""How grants of Google's stay alive, and how they end, against the emulator."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from connectors.errors import OperatorFault, ProviderUnavailable, Throttled
from connectors.providers.google.config import GMAIL_READONLY
from connectors.providers.google.identity import GoogleIdentity
from connectors.providers.port import GrantRefused
from tests.connectors.providers.google.consenting import EMAIL, begin, consent, identity_of, linked, refresh_token_of
from tests.emulator.core import Emulator, Fault
from tests.emulator.oauth import RefreshMode


async def test_a_refresh_gives_a_new_access_token_and_keeps_the_refresh_token(
    emulator: Emulator, identity: GoogleIdentity
) -> None:
    granted = await linked(identity)
    assert granted.tokens.refresh_token
    emulator.clock.advance(timedelta(hours=2))

    tokens = await identity.refresh(granted.tokens.refresh_token, scopes=granted.tokens.scopes)

    assert tokens.refresh_token is None
    assert tokens.access_token != granted.tokens.access_token
    assert emulator.google.grants.bearer(tokens.access_token) is not None
    assert tokens.expires_at == emulator.now() + timedelta(seconds=3599)
    assert tokens.scopes == {GMAIL_READONLY}


@pytest.mark.parametrize("mode", [RefreshMode.ROTATE_KEEP_OLD, RefreshMode.STRICT])
async def test_a_new_refresh_token_is_returned(emulator: Emulator, identity: GoogleIdentity, mode: RefreshMode) -> None:
    emulator.google.grants.mode = mode
    first = await refresh_token_of(identity)

    second = (await identity.refresh(first, scopes=identity.required_scopes)).refresh_token
    assert second not in {None, first}
    assert second is not None
    third = (await identity.refresh(second, scopes=identity.required_scopes)).refresh_token

    assert third not in {None, first, second}


async def test_a_revoked_grant_is_told_as_refused(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)
    emulator.google.grants.revoke(EMAIL)

    with pytest.raises(GrantRefused) as caught:
        await identity.refresh(token, scopes=identity.required_scopes)

    assert (caught.value.reason, caught.value.claims) == ("GRANT_REVOKED", "")
    assert emulator.counters.count("/token", status=400) == 1


async def test_a_bad_client_secret_says_nothing_about_the_grant(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)

    async with identity_of(emulator, secret="an-old-one") as broken:
        with pytest.raises(OperatorFault):
            await broken.refresh(token, scopes=identity.required_scopes)
        begun = await begin(broken)
        with pytest.raises(OperatorFault):
            await broken.complete_redirect(begun.secret, await consent(begun.url))

    assert (await identity.refresh(token, scopes=identity.required_scopes)).access_token


async def test_three_failures_are_waited_out(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)
    emulator.counters.reset()
    emulator.faults.add(Fault(route="/token", status=503, times=3))
    begun_at = emulator.now()

    tokens = await identity.refresh(token, scopes=identity.required_scopes)

    assert emulator.counters.count("/token") == 4
    assert emulator.now() - begun_at == timedelta(seconds=1 + 2 + 4)
    assert tokens.expires_at == emulator.now() + timedelta(seconds=3599)


@pytest.mark.parametrize(
    "failing", [Fault(route="/token", status=503, times=0), Fault(route="/token", drop=True, times=0)]
)
async def test_a_server_that_stays_away_says_nothing_about_the_grant(
    emulator: Emulator, identity: GoogleIdentity, failing: Fault
) -> None:
    token = await refresh_token_of(identity)
    emulator.counters.reset()
    emulator.faults.add(failing)

    with pytest.raises(ProviderUnavailable):
        await identity.refresh(token, scopes=identity.required_scopes)
    assert emulator.counters.count("/token") == 5
    await emulator.faults.clear()

    assert (await identity.refresh(token, scopes=identity.required_scopes)).access_token


async def test_a_throttle_beyond_thirty_seconds_is_told(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)
    emulator.faults.add(Fault(route="/token", status=429, headers={"Retry-After": "31"}, body={"error": "x"}))

    with pytest.raises(Throttled) as caught:
        await identity.refresh(token, scopes=identity.required_scopes)

    assert caught.value.retry_after == 31


async def test_an_answer_that_was_lost_is_asked_for_again(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)
    emulator.counters.reset()
    emulator.faults.add(Fault(route="/token", reset_after_bytes=0))

    assert (await identity.refresh(token, scopes=identity.required_scopes)).access_token
    assert emulator.counters.count("/token") == 2


async def test_an_answer_that_was_lost_after_a_strict_rotation_costs_the_grant(
    emulator: Emulator, identity: GoogleIdentity
) -> None:
    emulator.google.grants.mode = RefreshMode.STRICT
    token = await refresh_token_of(identity)
    emulator.faults.add(Fault(route="/token", reset_after_bytes=20))

    with pytest.raises(GrantRefused):
        await identity.refresh(token, scopes=identity.required_scopes)


LIVES: tuple[object, ...] = ("soon", -1, 0, True, 1.5, 10**30, None, [])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        {"access_token": "", "expires_in": 1},
        {"access_token": "a"},
        {"expires_in": 3599},
        *({"access_token": "a", "expires_in": life} for life in LIVES),
    ],
)
async def test_a_reply_that_cannot_be_used_is_no_answer(
    emulator: Emulator, identity: GoogleIdentity, body: object
) -> None:
    token = await refresh_token_of(identity)
    emulator.faults.add(Fault(route="/token", status=200, body=body, times=0))

    with pytest.raises(ProviderUnavailable) as caught:
        await identity.refresh(token, scopes=identity.required_scopes)
    with pytest.raises(ProviderUnavailable):
        await linked(identity)

    assert caught.value.metadata == {"cause": "NOT_JSON"}


async def test_a_grant_is_revoked_once_and_stays_so(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)

    assert await identity.revoke(token)
    assert emulator.google.grants.grants_of(EMAIL)[0].alive is False
    assert await identity.revoke(token)
    assert await identity.revoke("1//unknown")


async def test_a_revocation_that_fails_is_told(emulator: Emulator, identity: GoogleIdentity) -> None:
    token = await refresh_token_of(identity)
    emulator.faults.add(Fault(route="/revoke", status=503, times=0))

    with pytest.raises(ProviderUnavailable):
        await identity.revoke(token)

    await emulator.faults.clear()
    emulator.faults.add(Fault(route="/revoke", status=400, body={"error": "invalid_request"}))
    with pytest.raises(ProviderUnavailable):
        await identity.revoke(token)


async def test_refreshes_run_beside_each_other_and_the_event_loop(emulator: Emulator, identity: GoogleIdentity) -> None:
    tokens = [await refresh_token_of(identity) for _ in range(4)]
    held = emulator.faults.add(Fault(route="/token", hold=True, times=0))

    async with asyncio.TaskGroup() as tasks:
        for token in tokens:
            tasks.create_task(identity.refresh(token, scopes=identity.required_scopes))
        await emulator.faults.until_held(held, 4)
        await emulator.faults.release(held)

    assert emulator.counters.most_in_flight["path:/token"] == 4
