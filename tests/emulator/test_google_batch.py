from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes

import anyio
import httpx2
import pytest

from tests.emulator.core import Emulator, Fault
from tests.emulator.google.errors import error_body
from tests.emulator.running import running

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


def part(content: str, content_id: str = "<a + 1>") -> str:
    return f"--edge\r\nContent-Type: application/http\r\nContent-ID: {content_id}\r\n\r\n{content}\r\n"


async def batch(http: httpx2.AsyncClient, *parts: str) -> httpx2.Response:
    headers = {"Content-Type": "multipart/mixed; boundary=edge"}
    return await http.post("/batch/gmail/v1", content="".join(parts) + "--edge--\r\n", headers=headers)


def statuses(answer: httpx2.Response) -> list[tuple[str, str]]:
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    found = []
    for inner in message_from_bytes(head + answer.content).walk():
        content = inner.get_payload()
        if inner.get_content_type() == "application/http" and isinstance(content, str):
            found.append((str(inner["Content-ID"]), content.split()[1]))
    return found


async def test_each_part_has_its_own_answer_and_its_own_authorization(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    answer = await batch(
        http,
        part(f"GET {PROFILE}?alt=json HTTP/1.1\r\n\r\n", "<a + 1>"),
        part(f"GET {PROFILE} HTTP/1.1\r\nauthorization: Bearer wrong\r\n\r\n", "<a + 2>"),
        part("GET /gmail/v1/users/me/nothing HTTP/1.1\r\n\r\n", "<a + 3>"),
    )

    assert statuses(answer) == [
        ("<response-a + 1>", "200"),
        ("<response-a + 2>", "401"),
        ("<response-a + 3>", "404"),
    ]
    assert emulator.counters.count(PROFILE) == 2


async def test_faults_hit_the_parts_too(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.faults.add(Fault(route="/profile$", status=503, body=error_body(503, "backendError", "Try again.")))

    answer = await batch(http, part(f"GET {PROFILE} HTTP/1.1\r\n\r\n"), part(f"GET {PROFILE} HTTP/1.1\r\n\r\n"))

    assert [status for _, status in statuses(answer)] == ["503", "200"]


@pytest.mark.parametrize(
    "parts",
    [
        [part(f"GET {PROFILE} HTTP/1.1\r\n\r\n")] * 101,
        [part("what is this")],
        ["--edge\r\nContent-Type: text/plain\r\n\r\nGET / HTTP/1.1\r\n\r\n"],
        [],
    ],
    ids=["too many", "no request line", "not application/http", "no parts"],
)
async def test_what_is_no_batch_is_refused(http: httpx2.AsyncClient, parts: list[str]) -> None:
    assert (await batch(http, *parts)).status_code == 400


async def test_a_user_may_be_limited_to_a_number_of_requests_at_once(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    emulator.google.quota.most_at_once = 1
    fault = emulator.faults.add(Fault(route="/profile$", hold=True))

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(http.get(PROFILE))
            await emulator.faults.until_held(fault)
            second = await http.get(PROFILE)
            await emulator.faults.release(fault)

    assert (first.result().status_code, second.status_code) == (200, 429)
