"""Gmail's quota, in whatever way it says that it is used up, and its refusals."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault, Throttled
from tests.conformance.connectors.provider_lab import Subscriber, session
from tests.connectors.providers.gmail.lab import ME, GmailLab
from tests.connectors.providers.support import FakeTokens
from tests.emulator.core import Fault
from tests.emulator.google.errors import error_body
from tests.emulator.google.quota import Tells
from tests.emulator.google.tables import LABELS

MINUTE = timedelta(minutes=1)


async def test_hundreds_of_mails_are_read_at_once_and_never_more_than_the_quota_allows(lab: GmailLab) -> None:
    for _ in range(400):
        lab.mail()
    refs = await Subscriber(lab).list_new()
    begun, here = lab.core.now(), session(lab)

    async with asyncio.TaskGroup() as tasks:
        for ref in refs:
            tasks.create_task(lab.provider.read(here, ref, lab.wanted, max_body_chars=100))

    assert lab.google.quota.refused == 0
    assert 1 < lab.core.counters.most_in_flight[f"google:{ME}"] <= lab.provider.concurrency
    assert MINUTE <= lab.core.now() - begun <= 2 * MINUTE


@pytest.mark.parametrize("status", [429, 403])
@pytest.mark.parametrize("tells", Tells)
@pytest.mark.parametrize("extends", [False, True])
async def test_a_quota_that_others_have_used_up_is_waited_for(
    lab: GmailLab, status: int, tells: Tells, extends: bool
) -> None:
    lab.mail()
    quota = lab.google.quota
    quota.status, quota.tells = status, tells
    lab.core.throttles.extend_on_early_calls = extends
    quota.charge(ME, "gmail.users.getProfile", lab.core.now(), at_once=1)
    quota.units["other"] = 5_990
    quota.charge(ME, "other", lab.core.now(), at_once=1)
    subscriber = Subscriber(lab)

    if tells is Tells.NOWHERE:
        # Our own waits are zero in these tests: five tries are over at once.
        with pytest.raises(Throttled):
            await subscriber.fetch()
        assert quota.refused == 5
        return
    assert len(await subscriber.fetch()) == 1
    assert lab.core.counters.early == 0
    assert quota.refused == 1


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (403, "insufficientPermissions", NeedsReauth),
        (403, "domainPolicy", ConnectionBlocked),
        (400, "failedPrecondition", ConnectionBlocked),
        (403, "accessNotConfigured", OperatorFault),
    ],
)
async def test_a_refusal_says_who_has_to_act(lab: GmailLab, status: int, reason: str, error: type[Exception]) -> None:
    lab.mail()
    (ref,) = await Subscriber(lab).list_new()
    lab.core.faults.add(Fault(route=lab.api, times=0, status=status, body=error_body(status, reason, "No.")))

    with pytest.raises(error):
        await Subscriber(lab).list_new()
    with pytest.raises(error):
        await lab.provider.read(session(lab), ref, lab.wanted, max_body_chars=100)
    with pytest.raises(error):
        await lab.provider.account(session(lab))


async def test_a_grant_of_less_than_mail_needs_another_consent(lab: GmailLab) -> None:
    lab.mail()
    tokens = FakeTokens(tokens=[lab.google.link(ME, scopes=(LABELS,)).access_token])
    here = session(lab, tokens=tokens)

    with pytest.raises(NeedsReauth):
        await lab.provider.list_new(here, Subscriber(lab).query())


async def test_a_grant_that_was_revoked_needs_another_consent(lab: GmailLab) -> None:
    tokens = FakeTokens(tokens=[lab.token(), lab.token()])
    lab.google.grants.revoke(ME)

    with pytest.raises(NeedsReauth):
        await lab.provider.account(session(lab, tokens=tokens))
