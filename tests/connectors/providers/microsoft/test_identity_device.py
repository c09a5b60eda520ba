"""Consents with a code that the user types in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.errors import (
    CodeRefused,
    ConsentRefused,
    OperatorFault,
    ProviderUnavailable,
    ScopeMissing,
    StateInvalid,
)
from connectors.providers.port import DeviceBegun
from tests.connectors.providers.microsoft.lab import ANN, MIA, LoginLab, login_lab
from tests.emulator.core import Fault
from tests.emulator.microsoft.login import Decision
from tests.emulator.microsoft.people import CLIENT, CONTOSO, PUBLIC_CLIENT
from tests.emulator.oauth import Client, Consent

SLOW_DOWN = {"error": "slow_down", "error_description": "AADSTS70016: too often."}


def decide(lab: LoginLab, begun: DeviceBegun, decision: Decision, address: str = "") -> None:
    lab.emulator.microsoft.login.decide_device(begun.user_code, decision, address)


async def test_a_device_code_tells_the_user_what_to_do() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        now = lab.time.now()

    assert begun.user_code
    assert begun.verification_uri.startswith("https://")
    assert begun.interval == timedelta(seconds=5)
    assert begun.expires_at == now + timedelta(minutes=15)


@pytest.mark.parametrize("client", [CLIENT, PUBLIC_CLIENT], ids=["confidential", "public"])
async def test_an_approved_code_gives_tokens_and_says_whose_they_are(client: Client) -> None:
    async with login_lab(client=client) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.APPROVED, MIA)
        granted = await lab.identity.poll_device(begun.secret)
        object_id = lab.emulator.microsoft.login.accounts[MIA].object_id

    assert granted is not None
    assert granted.account.account_id == f"{object_id}.{CONTOSO}"
    assert granted.account.address == MIA
    assert granted.tokens.refresh_token
    assert granted.tokens.scopes >= {"user.read", "mail.read"}


async def test_a_poll_is_one_request_and_does_not_wait() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        answers = [await lab.identity.poll_device(begun.secret) for _ in range(3)]

    assert answers == [None, None, None]
    assert lab.posts() == 3
    assert lab.time.slept == []


async def test_being_told_to_slow_down_is_no_decision() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        lab.emulator.faults.add(Fault(route="/token$", status=400, body=SLOW_DOWN))
        assert await lab.identity.poll_device(begun.secret) is None


async def test_a_declined_code_is_a_refused_consent() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.DECLINED)
        with pytest.raises(ConsentRefused):
            await lab.identity.poll_device(begun.secret)


async def test_a_policy_against_device_codes_says_so() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.BLOCKED)
        with pytest.raises(ConsentRefused, match="policy of your organization"):
            await lab.identity.poll_device(begun.secret)


async def test_a_code_that_microsoft_calls_expired_is_over() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.EXPIRED)
        with pytest.raises(StateInvalid):
            await lab.identity.poll_device(begun.secret)


async def test_a_code_whose_time_is_over_is_not_asked_about() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        lab.emulator.clock.advance(timedelta(minutes=15))
        with pytest.raises(StateInvalid):
            await lab.identity.poll_device(begun.secret)

    assert lab.posts() == 0


async def test_a_code_that_microsoft_does_not_know_is_refused() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.APPROVED, MIA)
        await lab.identity.poll_device(begun.secret)
        with pytest.raises(CodeRefused):
            await lab.identity.poll_device(begun.secret)


async def test_an_account_of_the_wrong_kind_is_told_so() -> None:
    scopes = ("User.Read", "Chat.Read")
    async with login_lab(client=PUBLIC_CLIENT, tenant="organizations", scopes=scopes) as lab:
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.APPROVED, ANN)
        with pytest.raises(ConsentRefused, match="account of this kind"):
            await lab.identity.poll_device(begun.secret)


async def test_a_consent_without_lasting_access_is_not_enough() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        lab.emulator.microsoft.login.consent = Consent(without_scopes=("offline_access",))
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.APPROVED, MIA)
        with pytest.raises(ScopeMissing):
            await lab.identity.poll_device(begun.secret)


async def test_an_id_token_for_another_application_is_refused() -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        lab.emulator.microsoft.login.id_token_claims = {"aud": CLIENT.client_id}
        begun = await lab.identity.begin_device()
        decide(lab, begun, Decision.APPROVED, MIA)
        with pytest.raises(CodeRefused):
            await lab.identity.poll_device(begun.secret)


async def test_an_unknown_application_is_the_operators_fault() -> None:
    async with login_lab(client=Client(client_id="00000000-0000-0000-0000-00000000dead")) as lab:
        with pytest.raises(OperatorFault):
            await lab.identity.begin_device()


@pytest.mark.parametrize(
    "answer",
    [
        {"user_code": "X"},
        {
            "user_code": "X",
            "device_code": "d",
            "verification_uri": "javascript:alert(1)",
            "expires_in": 9,
            "interval": 5,
        },
        {"user_code": "X", "device_code": "d", "verification_uri": "https://x", "expires_in": "soon", "interval": 5},
    ],
    ids=["incomplete", "no address", "no number"],
)
async def test_an_answer_that_cannot_be_used_is_unavailable(answer: dict[str, object]) -> None:
    async with login_lab(client=PUBLIC_CLIENT) as lab:
        lab.emulator.faults.add(Fault(route="/devicecode$", status=200, body=answer))
        with pytest.raises(ProviderUnavailable):
            await lab.identity.begin_device()
