from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest

from tests.emulator.client import ControlClient, control_client
from tests.emulator.core import Emulator, Fault
from tests.emulator.microsoft.flows import begin_device, poll, refresh
from tests.emulator.microsoft.login import Decision
from tests.emulator.microsoft.login_errors import Death
from tests.emulator.microsoft.people import CLIENT, PUBLIC_CLIENT
from tests.emulator.oauth import RefreshMode
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
ANN = "ann@outlook.example"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        for address, personal in ((MIA, False), (LEO, False), (ANN, True)):
            emulator.microsoft.add_account(address, personal=personal)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=emulator.base_url, trust_env=False) as http:
        yield http


@pytest.fixture
async def control(emulator: Emulator) -> AsyncIterator[ControlClient]:
    async with control_client(emulator.base_url) as control:
        yield control


@pytest.mark.parametrize(
    ("form", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"client_id": PUBLIC_CLIENT.client_id}, 401, "invalid_client", 700025),
        ({"client_id": "unknown"}, 400, "unauthorized_client", 700016),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"refresh_token": "unknown"}, 400, "invalid_grant", 70000),
        ({"surprise": "1"}, 400, "invalid_request", 90023),
        ({"scope": "Mail.Everything"}, 400, "invalid_scope", 70011),
    ],
)
async def test_the_token_endpoint_says_what_is_wrong(
    emulator: Emulator, http: httpx2.AsyncClient, form: dict[str, str], status: int, error: str, code: int
) -> None:
    issued = emulator.microsoft.link(MIA)

    answer = await refresh(http, issued.refresh_token, **form)

    assert (answer[0], answer[1]["error"], answer[1]["error_codes"]) == (status, error, [code])
    assert answer[1]["error_description"].startswith(f"AADSTS{code}: ")
    assert {"timestamp", "trace_id", "correlation_id"} <= set(answer[1])


async def test_an_operators_expired_secret_is_no_fault_of_the_grant(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    issued = emulator.microsoft.link(MIA)
    emulator.microsoft.login.expired_secrets.add(CLIENT.client_id)
    expired = await refresh(http, issued.refresh_token)
    emulator.microsoft.login.expired_secrets.clear()

    assert (expired[1]["error"], expired[1]["error_codes"]) == ("invalid_client", [7000222])
    assert (await refresh(http, issued.refresh_token))[0] == 200


async def test_a_refresh_gives_a_new_token_and_the_old_one_goes_on(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    issued = emulator.microsoft.link(MIA)

    first = await refresh(http, issued.refresh_token, scope="Mail.Read")
    second = await refresh(http, issued.refresh_token)
    wider = await refresh(http, issued.refresh_token, scope="Mail.Read Chat.Read")

    assert first[1]["refresh_token"] != issued.refresh_token
    assert "User.Read" not in first[1]["scope"]
    assert "User.Read" in second[1]["scope"]
    assert (wider[1]["error"], wider[1]["suberror"]) == ("invalid_grant", "consent_required")


async def test_when_tokens_are_single_use_a_second_use_kills_the_whole_grant(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    emulator.microsoft.login.grants.mode = RefreshMode.STRICT
    issued = emulator.microsoft.link(MIA)

    first = await refresh(http, issued.refresh_token)
    again = await refresh(http, issued.refresh_token)
    rotated = await refresh(http, first[1]["refresh_token"])

    assert first[0] == 200
    assert (again[1]["error_codes"], rotated[1]["error_codes"]) == ([50173], [50173])


async def test_a_lost_answer_has_rotated_the_token_all_the_same(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.microsoft.login.grants.mode = RefreshMode.STRICT
    issued = emulator.microsoft.link(MIA)
    emulator.faults.add(Fault(route="/oauth2/v2.0/token$", reset_after_bytes=0))

    with pytest.raises(httpx2.TransportError):
        await refresh(http, issued.refresh_token)
    retried = await refresh(http, issued.refresh_token)

    assert retried[1]["error"] == "invalid_grant"


async def test_a_refresh_token_dies_ninety_days_after_it_was_given_out_even_if_it_is_used(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    issued = emulator.microsoft.link(MIA)
    emulator.clock.advance(timedelta(days=60))
    rotated = await refresh(http, issued.refresh_token)
    emulator.clock.advance(timedelta(days=31))

    old = await refresh(http, issued.refresh_token)
    new = await refresh(http, rotated[1]["refresh_token"])

    assert (old[1]["error_codes"], new[0]) == ([700082], 200)


@pytest.mark.parametrize(
    ("death", "error", "code"),
    [
        (Death.REVOKED, "invalid_grant", 50173),
        (Death.EXPIRED, "invalid_grant", 700082),
        (Death.DISABLED, "invalid_grant", 50057),
        (Death.CONSENT_MISSING, "invalid_grant", 65001),
        (Death.CONSENT_REQUIRED, "consent_required", 65001),
        (Death.INTERACTION_REQUIRED, "interaction_required", 50076),
        (Death.BLOCKED, "invalid_grant", 53003),
    ],
)
async def test_a_grant_can_die_of_many_things_until_the_next_consent(
    emulator: Emulator, http: httpx2.AsyncClient, death: Death, error: str, code: int
) -> None:
    issued = emulator.microsoft.link(MIA)
    emulator.microsoft.login.refuse_refresh(MIA, death)

    refused = await refresh(http, issued.refresh_token)
    alive = await http.get("/v1.0/me", headers={"Authorization": f"Bearer {issued.access_token}"})
    anew = await refresh(http, emulator.microsoft.link(MIA).refresh_token)

    assert (refused[1]["error"], refused[1]["error_codes"]) == (error, [code])
    assert ("claims" in refused[1]) == (death is Death.INTERACTION_REQUIRED)
    assert (alive.status_code, anew[0]) == (200, 200)


async def test_a_device_code_waits_for_the_person_and_works_once(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    begun = await begin_device(http)

    pending = await poll(http, begun["device_code"])
    emulator.microsoft.login.decide_device(begun["user_code"], Decision.APPROVED, MIA)
    given = await poll(http, begun["device_code"])
    again = await poll(http, begun["device_code"])

    assert (begun["expires_in"], begun["interval"]) == (900, 5)
    assert begun["user_code"] in begun["message"]
    assert (pending[1]["error"], pending[1]["error_codes"]) == ("authorization_pending", [70016])
    assert (given[0], again[1]["error"]) == (200, "bad_verification_code")
    assert given[1]["refresh_token"]


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (Decision.DECLINED, "authorization_declined"),
        (Decision.EXPIRED, "expired_token"),
        (Decision.BLOCKED, "invalid_grant"),
    ],
)
async def test_a_device_code_can_come_to_nothing(
    control: ControlClient, http: httpx2.AsyncClient, decision: Decision, error: str
) -> None:
    begun = await begin_device(http)
    await control.microsoft.decide_device(begun["user_code"], decision)

    assert (await poll(http, begun["device_code"]))[1]["error"] == error
    assert (await control.microsoft.devices())[0]["polls"] == 1


async def test_a_device_code_expires_by_itself_and_an_unknown_one_is_bad(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    begun = await begin_device(http)
    emulator.clock.advance(timedelta(minutes=15))

    assert (await poll(http, begun["device_code"]))[1]["error"] == "expired_token"
    assert (await poll(http, "unknown"))[1]["error"] == "bad_verification_code"
    assert (await begin_device(http, scope="Mail.Everything"))["error"] == "invalid_scope"
