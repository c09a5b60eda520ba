"""Grants over time: one refresh for all, nothing that comes back late, and no loop when one has died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import grpc
import pytest

from tests.connectors.cases.lab import (
    ACTIVE,
    DISCONNECTED,
    NEEDS_REAUTH,
    Lab,
    Person,
    failure_of,
    outcome_of,
)
from tests.emulator.core import Fault
from tests.emulator.oauth import RefreshMode

PROVIDERS = pytest.mark.parametrize("provider", ["gmail", "outlook"])
TOKEN = r"/token$"


async def until(lab: Lab, person: Person, action: str) -> None:
    """Wait until something was done to a grant."""
    with anyio.fail_after(10):
        while action not in await lab.audited(person):  # noqa: ASYNC110 - it happens in the database
            await anyio.sleep(0.01)


@asynccontextmanager
async def refreshing(lab: Lab, person: Person) -> AsyncIterator[asyncio.Task[str]]:
    """Have the first replica ask for new tokens, and hold the request until the block ends."""
    lab.grants(person.provider).expire_access(person.address)
    lab.emulator.counters.reset()
    held = lab.emulator.faults.add(Fault(route=TOKEN, hold=True))
    async with asyncio.TaskGroup() as tasks:
        use = tasks.create_task(outcome_of(lab.use(person)))
        await lab.emulator.faults.until_held(held)
        yield use
        await lab.emulator.faults.release(held)


# --- one for all


@PROVIDERS
async def test_fifty_who_use_an_expired_grant_at_two_replicas_cost_one_refresh(lab: Lab, provider: str) -> None:
    grants, person = lab.grants(provider), await lab.linked(provider)
    grants.mode = RefreshMode.STRICT
    lab.emulator.latencies[TOKEN] = 30

    for _ in range(3):
        lab.emulator.counters.reset()
        grants.expire_access(person.address)
        outcomes = await asyncio.gather(
            *(outcome_of(lab.use(person, at=(lab.service, lab.other)[number % 2])) for number in range(50))
        )

        assert set(outcomes) == {"OK"}
        assert lab.token_calls == 1

    assert lab.grant(person).alive
    assert (await lab.connection(person)).state == ACTIVE


@PROVIDERS
@pytest.mark.parametrize("mode", list(RefreshMode))
async def test_a_grant_lives_through_every_kind_of_rotation(lab: Lab, provider: str, mode: RefreshMode) -> None:
    grants, person = lab.grants(provider), await lab.linked(provider)
    grants.mode = mode

    for number in range(4):
        grants.expire_access(person.address)
        await lab.use(person, at=(lab.service, lab.other)[number % 2])

    assert lab.grant(person).refreshes == 4
    assert (await lab.audited(person)).count("REFRESHED") == 4


async def test_a_fetch_whose_token_ends_in_the_middle_goes_on_with_a_new_one(lab: Lab) -> None:
    person = await lab.linked("gmail")
    subjects = lab.many(person, 30)
    held = lab.emulator.faults.add(Fault(route=r"/messages/[^/]+$", account=person.address, skip=5, hold=True))

    async with asyncio.TaskGroup() as tasks:
        fetch = tasks.create_task(lab.fetch(person))
        await lab.emulator.faults.until_held(held)
        lab.grants("gmail").expire_access(person.address)
        await lab.emulator.faults.release(held)

    assert fetch.result().subjects == subjects
    assert lab.token_calls == 1 + 1, "one for the consent, and one for all the requests that were refused"


# --- whoever comes late


@PROVIDERS
async def test_tokens_that_arrive_after_the_lease_do_not_replace_what_came_meanwhile(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).mode = RefreshMode.ROTATE_KEEP_OLD

    async with refreshing(lab, person) as late:
        lab.end_lease(person)
        await lab.use(person, at=lab.other)
        stored = lab.sql(
            "SELECT grant_version, refresh_token FROM connectors.connections WHERE connection_id = %s",
            person.connection_id,
        )

    assert late.result() == "OK"
    assert stored == lab.sql(
        "SELECT grant_version, refresh_token FROM connectors.connections WHERE connection_id = %s",
        person.connection_id,
    )
    assert (await lab.audited(person)).count("REFRESHED") == 1
    assert lab.token_calls == 2


@PROVIDERS
async def test_a_refusal_that_comes_after_a_new_consent_does_not_count(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    old = lab.grant(person)

    async with refreshing(lab, person) as late:
        assert (await lab.reauthorize(person)).state == ACTIVE
        old.alive = False

    assert late.result() == "OK"
    assert (await lab.connection(person)).state == ACTIVE
    assert "REFRESH_REFUSED" not in await lab.audited(person)


async def test_a_fetch_that_failed_with_the_old_grant_does_not_end_the_new_one(lab: Lab) -> None:
    person = await lab.linked("gmail")
    oldest = lab.receive(person, "Oldest", at=lab.emulator.now() - timedelta(hours=1))
    lab.many(person, 11)
    first = lab.emulator.faults.add(Fault(route=f"/messages/{oldest}$", account=person.address, hold=True))
    others = lab.emulator.faults.add(Fault(route=r"/messages/[^/]+$", account=person.address, times=0, hold=True))

    async with asyncio.TaskGroup() as tasks:
        fetch = tasks.create_task(lab.fetch(person))
        await lab.emulator.faults.until_held(first)
        await lab.emulator.faults.until_held(others, 11)
        lab.grants("gmail").revoke(person.address)
        await lab.emulator.faults.release(others)
        # The oldest message is still on its way; those behind it have failed for good.
        await until(lab, person, "REFRESH_REFUSED")
        assert (await lab.connection(person)).state == NEEDS_REAUTH
        assert (await lab.reauthorize(person)).state == ACTIVE
        await lab.emulator.faults.release(first)

    assert (fetch.result().failure or pytest.fail("it went on")).reason == "NEEDS_REAUTH"
    assert (await lab.connection(person)).state == ACTIVE
    assert lab.grant(person).alive
    await lab.use(person)


@PROVIDERS
async def test_a_connection_that_is_ended_during_a_refresh_stays_ended(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).mode = RefreshMode.ROTATE_KEEP_OLD

    async with refreshing(lab, person) as late:
        ended = await lab.disconnect(person)

    assert ended.connection.state == DISCONNECTED
    assert late.result() in {"DISCONNECTED", "NEEDS_REAUTH"}
    assert (await lab.connection(person)).state == DISCONNECTED
    assert lab.sql(
        "SELECT wrapped_key, refresh_token, access_token FROM connectors.connections WHERE connection_id = %s",
        person.connection_id,
    ) == [(None, None, None)]
    if provider == "gmail":
        assert not lab.grant(person).alive


@PROVIDERS
async def test_a_refresh_comes_to_its_end_though_nobody_waits_for_it(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).mode = RefreshMode.STRICT
    lab.grants(provider).expire_access(person.address)
    lab.emulator.counters.reset()
    held = lab.emulator.faults.add(Fault(route=TOKEN, hold=True))

    failure = await failure_of(lab.use(person, timeout=0.3))
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await lab.emulator.faults.release(held)
    await until(lab, person, "REFRESHED")

    await lab.use(person, at=lab.other)
    assert lab.token_calls == 1


# --- ends


@PROVIDERS
async def test_a_grant_that_was_revoked_is_asked_for_once_and_never_again(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.many(person, 2)
    lab.grants(provider).revoke(person.address)
    lab.emulator.counters.reset()

    outcomes = await asyncio.gather(
        *(outcome_of(lab.use(person, at=(lab.service, lab.other)[number % 2])) for number in range(10))
    )
    fetched = [await lab.fetch(person, at=(lab.service, lab.other)[number % 2]) for number in range(4)]

    assert set(outcomes) == {"NEEDS_REAUTH"}
    assert {heard.failure.reason for heard in fetched if heard.failure} == {"NEEDS_REAUTH"}
    assert lab.token_calls == 1
    connection = await lab.connection(person)
    assert (connection.state, connection.reason) == (NEEDS_REAUTH, "GRANT_REVOKED")
    assert (await lab.audited(person)).count("REFRESH_REFUSED") == 1


@PROVIDERS
async def test_an_answer_that_is_lost_after_a_strict_rotation_ends_the_grant_once(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).mode = RefreshMode.STRICT
    lab.grants(provider).expire_access(person.address)
    lab.emulator.counters.reset()
    lab.emulator.faults.add(Fault(route=TOKEN, reset_after_bytes=0))

    outcomes = [await outcome_of(lab.use(person)) for _ in range(5)]

    assert set(outcomes) <= {"NEEDS_REAUTH", "PROVIDER_UNAVAILABLE"}
    assert outcomes[-1] == "NEEDS_REAUTH"
    assert lab.token_calls == 2
    assert (await lab.reauthorize(person)).state == ACTIVE


@PROVIDERS
async def test_an_answer_that_is_lost_where_old_tokens_stay_good_costs_nothing(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).mode = RefreshMode.ROTATE_KEEP_OLD
    lab.grants(provider).expire_access(person.address)
    lab.emulator.faults.add(Fault(route=TOKEN, reset_after_bytes=0))

    await outcome_of(lab.use(person))
    await lab.use(person)

    assert (await lab.connection(person)).state == ACTIVE


@PROVIDERS
async def test_a_provider_in_trouble_and_then_a_bad_secret_of_ours_end_no_grant(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.grants(provider).expire_access(person.address)
    trouble = Fault(route=TOKEN, times=3, status=503, headers={"Retry-After": "3600"})
    lab.emulator.faults.add(trouble)

    outcomes = [await outcome_of(lab.use(person, at=(lab.service, lab.other)[number % 2])) for number in range(3)]

    assert not {"NEEDS_REAUTH", "OK"} & set(outcomes)
    lab.sql(
        "UPDATE connectors.connections SET state = 'ACTIVE', next_allowed_at = NULL WHERE connection_id = %s",
        person.connection_id,
    )
    await lab.emulator.faults.clear()
    reject_clients(lab, rejected=True)
    try:
        outcomes = [await outcome_of(lab.use(person)) for _ in range(3)]
        connection = await lab.connection(person)
    finally:
        reject_clients(lab, rejected=False)

    assert outcomes == ["OPERATOR_FAULT"] * 3
    assert connection.state == ACTIVE
    audited = await lab.audited(person)
    assert (audited.count("OPERATOR_FAULT"), "REFRESH_REFUSED" in audited) == (1, False)
    await lab.use(person)
    assert lab.grant(person).alive


def reject_clients(lab: Lab, *, rejected: bool) -> None:
    """Let the providers refuse the service itself, or take that back."""
    lab.emulator.google.switches.reject_clients = rejected
    login = lab.emulator.microsoft.login
    login.expired_secrets = set(login.clients) if rejected else set()


@PROVIDERS
async def test_a_token_that_is_refused_though_it_is_new_ends_in_no_loop(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.emulator.counters.reset()
    api = r"^/gmail/v1/|^/v1\.0/"
    lab.emulator.faults.add(Fault(route=api, account=person.address, times=0, status=401, body={}))

    outcomes = [await outcome_of(lab.use(person)) for _ in range(4)]

    assert outcomes == ["NEEDS_REAUTH"] * 4
    assert lab.token_calls == 1
    assert lab.emulator.counters.count(api) == 2
    assert (await lab.connection(person)).reason == "ACCESS_REFUSED"


async def test_a_grant_that_is_used_every_week_gets_its_tokens_anew_and_keeps_them(lab: Lab) -> None:
    """Microsoft's tokens live for ninety days, whatever is done with them: each new one has to be kept."""
    person = await lab.linked("outlook")
    grants = lab.grants("outlook")
    known = dict(grants._refresh)

    for _ in range(13):
        for token in grants._refresh.values():
            token.expires_at -= timedelta(days=7)
        grants.expire_access(person.address)
        await lab.use(person)

    first = next(token for token in known.values() if token.grant is lab.grant(person))
    assert first.expires_at < lab.emulator.now()
    assert (await lab.connection(person)).state == ACTIVE
