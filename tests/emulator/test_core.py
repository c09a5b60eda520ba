from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import httpx2
import pytest

from tests.emulator.client import ControlClient, ControlError, control_client
from tests.emulator.core import START, Clock, Emulator, Fault
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.parameters import BadParameter, Kind, Parameter, checked
from tests.emulator.running import EmulatorCrashed, running

EMAIL = "me@example.com"
PROFILE = "/gmail/v1/users/me/profile"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.google.add_account(EMAIL)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {emulator.google.link(EMAIL).access_token}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers, trust_env=False) as http:
        yield http


@pytest.fixture
async def control(emulator: Emulator) -> AsyncIterator[ControlClient]:
    async with control_client(emulator.base_url) as control:
        yield control


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = Clock()

    clock.advance(timedelta(hours=2))

    assert clock.now() == START + timedelta(hours=2)


def test_a_ticking_clock_runs_with_the_real_one_from_where_it_was_set() -> None:
    clock = Clock(ticking=True)

    clock.set(datetime(2030, 1, 1, tzinfo=UTC))

    assert timedelta(0) <= clock.now() - datetime(2030, 1, 1, tzinfo=UTC) < timedelta(minutes=1)


async def test_a_fault_lets_some_pass_hits_some_and_is_over(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.faults.add(
        Fault(route="/profile$", skip=1, times=2, status=503, headers={"X-Try": "later"}, body={"a": 1})
    )

    answers = [await http.get(PROFILE) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].json() == {"a": 1}
    assert answers[1].headers["X-Try"] == "later"


async def test_a_fault_without_an_end_goes_on(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.faults.add(Fault(route="/profile", times=0, status=500, body="broken"))

    answers = [await http.get(PROFILE) for _ in range(5)]

    assert {(answer.status_code, answer.text) for answer in answers} == {(500, "broken")}


async def test_a_fault_hits_its_account_and_method_only(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.faults.add(Fault(route=".", account="other@example.com", times=0, status=500))
    emulator.faults.add(Fault(route=".", method="POST", times=0, status=500))

    answer = await http.get(PROFILE)

    assert answer.status_code == 200


def test_a_fault_is_one_thing() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Fault(route=".", status=500, hold=True)


async def test_an_answer_can_be_cut_off_in_its_middle(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.faults.add(Fault(route="/profile", reset_after_bytes=10))
    received = b""

    with pytest.raises(httpx2.TransportError):
        async with http.stream("GET", PROFILE) as answer:
            async for chunk in answer.aiter_raw():
                received += chunk

    assert len(received) == 10


async def test_a_lost_answer_was_worked_for_and_a_lost_request_was_not(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    emulator.faults.add(Fault(route="/profile", reset_after_bytes=0))
    emulator.faults.add(Fault(route="/labels", drop=True))

    for path in (PROFILE, "/gmail/v1/users/me/labels"):
        with pytest.raises(httpx2.TransportError):
            await http.get(path)

    assert emulator.google.quota.spent(EMAIL, emulator.now()) == emulator.google.quota.units["gmail.users.getProfile"]
    assert [call.status for call in emulator.counters.calls] == [0, 0]


async def test_held_requests_wait_until_they_are_released(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    fault = emulator.faults.add(Fault(route="/profile", hold=True, times=0))
    answers = []

    async def ask() -> None:
        answers.append(await http.get(PROFILE))

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            tasks.create_task(ask())
            await emulator.faults.until_held(fault, 2)
            assert not answers
            await emulator.faults.release(fault)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert emulator.counters.most_in_flight[EMAIL] == 2


async def test_latency_and_delays_take_real_time(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.latencies["/profile"] = 30
    emulator.faults.add(Fault(route="/profile", delay_ms=30))
    loop = asyncio.get_running_loop()

    began = loop.time()
    await http.get(PROFILE)

    assert loop.time() - began >= 0.055


async def test_every_call_is_counted_with_its_account(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    await http.get(PROFILE, params={"alt": "json"})
    await http.get("/nowhere")

    assert [(call.path, call.query, call.account, call.status) for call in emulator.counters.calls] == [
        (PROFILE, "alt=json", EMAIL, 200),
        ("/nowhere", "", EMAIL, 404),
    ]
    assert emulator.counters.count("/profile$", account=EMAIL, status=200) == 1


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "30"}, None),
        ({"Retry-After": format_datetime(START + timedelta(seconds=30), usegmt=True)}, None),
        ({}, {"error": {"message": "User-rate limit exceeded.  Retry after 2026-11-02T09:00:30.000Z"}}),
    ],
    ids=["seconds", "a date", "in the text"],
)
async def test_a_call_before_the_named_time_is_called_early(
    emulator: Emulator, http: httpx2.AsyncClient, headers: dict[str, str], body: object
) -> None:
    emulator.faults.add(Fault(route="/profile", status=429, headers=headers, body=body))

    await http.get(PROFILE)
    emulator.clock.advance(timedelta(seconds=29))
    await http.get(PROFILE)
    emulator.clock.advance(timedelta(seconds=1))
    await http.get(PROFILE)

    assert [call.early for call in emulator.counters.calls] == [False, True, False]


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "99999999999999999", ""])
async def test_a_refusal_that_names_no_time_makes_nobody_early(
    emulator: Emulator, http: httpx2.AsyncClient, value: str
) -> None:
    emulator.faults.add(Fault(route="/profile", status=429, headers={"Retry-After": value}))

    statuses = [(await http.get(PROFILE)).status_code for _ in range(2)]

    assert statuses == [429, 200]
    assert emulator.counters.early == 0


async def test_early_calls_can_begin_the_wait_anew(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.throttles.extend_on_early_calls = True
    emulator.faults.add(Fault(route="/profile", status=429, headers={"Retry-After": "30"}))

    statuses = []
    for _ in range(3):
        statuses.append((await http.get(PROFILE)).status_code)
        emulator.clock.advance(timedelta(seconds=20))
    emulator.clock.advance(timedelta(seconds=10))
    statuses.append((await http.get(PROFILE)).status_code)

    assert statuses == [429, 429, 429, 200]


async def test_the_emulators_own_mistakes_are_not_overlooked() -> None:
    emulator = Emulator()
    emulator.google.add_account(EMAIL)
    token = emulator.google.link(EMAIL).access_token
    emulator.google.accounts.clear()

    with pytest.raises(EmulatorCrashed, match="KeyError"):
        async with running(emulator), httpx2.AsyncClient(base_url=emulator.base_url, trust_env=False) as http:
            await http.get(PROFILE, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        ([("b", "1")], "b: unknown"),
        ([("n", "x")], "n: not an integer"),
        ([("n", "0")], "n: less than 1"),
        ([("n", "11")], "n: more than 10"),
        ([("n", "2"), ("n", "3")], "n: given more than once"),
        ([("n", "2"), ("yes", "True")], "yes: not a boolean"),
        ([("n", "2"), ("one_of", "c")], "one_of: invalid value"),
        ([], "n: required"),
    ],
)
def test_what_a_table_does_not_allow_is_refused(pairs: list[tuple[str, str]], named: str) -> None:
    table = {
        "n": Parameter(kind=Kind.INTEGER, required=True, minimum=1, maximum=10),
        "yes": Parameter(kind=Kind.BOOLEAN),
        "one_of": Parameter(values=("a", "b")),
    }

    with pytest.raises(BadParameter, match=named):
        checked(pairs, table)


def test_repeated_parameters_keep_their_order() -> None:
    table = {"id": Parameter(repeated=True)}

    assert checked([("id", "b"), ("id", "a")], table) == {"id": ["b", "a"]}


def test_a_mail_survives_the_control_routes() -> None:
    raw = compose(subject="Grüße", text="a", html="<p>a</p>", attachments=[Attachment("f.bin", b"\0")])
    mail = Mail(raw=raw, received_at=START, folder="sent", labels=("STARRED",), unread=False, thread="t")

    assert Mail.from_json(json.loads(json.dumps(mail.to_json()))) == mail
    assert mail.header("subject") == "Grüße"


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"Subject: =?utf-8?q?caf=C3=A9?= noir", "café noir"),
        (b"Subject: caf\xc3\xa9", "café"),
        (b"Subject: caf\xe9", "caf\ufffd"),
        (b"Subject: =?no-such-charset?q?a?=", "a"),
        (b"Subject: =?utf-8?b?////=", "=?utf-8?b?////="),
        (b"Subject: one\r\n two", "one two"),
    ],
)
def test_no_header_is_too_broken_to_be_shown(header: bytes, shown: str) -> None:
    assert Mail(raw=header + b"\r\n\r\nbody", received_at=START).header("Subject") == shown


async def test_the_control_client_moves_the_clock(emulator: Emulator, control: ControlClient) -> None:
    await control.set_clock(datetime(2026, 12, 24, 18, 0, tzinfo=UTC))
    await control.advance(90)

    assert await control.now() == emulator.now() == datetime(2026, 12, 24, 18, 1, 30, tzinfo=UTC)


async def test_the_control_client_plans_and_reads_faults(control: ControlClient, http: httpx2.AsyncClient) -> None:
    fault_id = await control.add_fault("/profile", status=418, body="short and stout")
    held_id = await control.add_fault("/labels", hold=True)

    answer = await http.get(PROFILE)
    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(http.get("/gmail/v1/users/me/labels"))
            await control.until_held(held_id)
            await control.release(held_id)

    assert answer.text == "short and stout"
    assert (await control.fault(fault_id))["fired"] == 1
    await control.clear_faults()
    with pytest.raises(ControlError):
        await control.fault(fault_id)


async def test_the_control_client_reads_what_was_asked(
    emulator: Emulator, control: ControlClient, http: httpx2.AsyncClient
) -> None:
    await control.set_latency("/profile", 1)
    await control.extend_throttles_on_early_calls()

    await http.get(PROFILE)

    assert [call["path"] for call in await control.calls("/profile", status=200)] == [PROFILE]
    assert (await control.counters())["most_in_flight"] == {
        EMAIL: 1,
        f"google:{EMAIL}": 1,
        f"path:{PROFILE}": 1,
    }
    assert set(await control.secrets()) == emulator.secrets
    assert emulator.throttles.extend_on_early_calls
    await control.reset_counters()
    assert await control.calls() == []


async def test_a_control_call_with_a_field_too_many_is_refused(control: ControlClient) -> None:
    with pytest.raises(ControlError, match="unknown fields: tikcing"):
        await control.post("/clock", tikcing=True)


@pytest.mark.system
async def test_the_emulator_runs_as_a_process() -> None:
    with anyio.fail_after(30):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.emulator", stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            ready = json.loads(await process.stdout.readline())
            async with control_client(f"http://127.0.0.1:{ready['port']}") as control:
                await control.google.add_account(EMAIL)
                started_at = await control.now()
            process.terminate()
            ended = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert ready["ready"] is True
    assert abs(datetime.now(UTC) - started_at) < timedelta(minutes=1)
    assert ended == 0
