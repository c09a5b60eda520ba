"""Graph's answers and pages."""

from __future__ import annotations

import pytest

from connectors.errors import ConnectionBlocked, ProviderUnavailable
from connectors.messages.domain import JsonObject
from connectors.providers.http import Answer
from connectors.providers.microsoft.graph import (
    MAX_PAGES,
    GraphApi,
    GraphNotFound,
    GraphRefused,
    GraphStateGone,
    GraphTooLarge,
    codes_of,
    problem_of,
)
from tests.connectors.providers.support import ManualClock, client, says, serving, session


def error(code: str, inner: str) -> JsonObject:
    words = "Some words that nobody may branch on."
    return {"error": {"code": code, "message": words, "innerError": {"code": inner, "request-id": "r"}}}


def answer(status: int, body: bytes = b"", *, too_large: bool = False) -> Answer:
    return Answer(status=status, headers={}, body=body, too_large=too_large)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"code": "BadRequest"}}', GraphRefused),
        (400, b"not json", GraphRefused),
        (404, b'{"error": {"code": "ErrorItemNotFound"}}', GraphNotFound),
        (404, b'{"error": {"code": "syncStateNotFound"}}', GraphStateGone),
        (410, b"", GraphStateGone),
        (410, b'{"error": {"code": "resyncRequired"}}', GraphStateGone),
        (400, b'{"error": {"code": "BadRequest", "innererror": {"code": "ResyncRequired"}}}', GraphStateGone),
        (403, b'{"error": {"code": "ErrorAccessDenied"}}', ConnectionBlocked),
        (403, b"", ConnectionBlocked),
        (404, b'{"error": {"code": "MailboxNotEnabledForRESTAPI"}}', ConnectionBlocked),
        (404, b'{"error": {"code": "x", "innerError": {"code": "ErrorNonExistentMailbox"}}}', ConnectionBlocked),
        (409, b"", GraphRefused),
    ],
)
def test_a_refusal_is_judged_by_its_status_and_codes(status: int, body: bytes, kind: type[Exception]) -> None:
    assert type(problem_of(answer(status, body))) is kind


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 509, 302])
def test_what_passes_is_left_to_the_usual(status: int) -> None:
    assert problem_of(answer(status, b'{"error": {"code": "SyncStateNotFound"}}')) is None


def test_an_answer_that_is_too_large_says_so() -> None:
    assert isinstance(problem_of(answer(200, too_large=True)), GraphTooLarge)


def test_codes_are_small_safe_and_not_endless() -> None:
    deep: JsonObject = {"code": "Code\n\x1b[31m<b>"}
    for _ in range(50):
        deep = {"code": "Outer", "innerError": deep}

    assert codes_of({"error": {"code": "Code\n\x1b[31m<b>"}}) == ("code31mb",)
    assert codes_of({"error": deep}) == ("outer",) * 5
    assert codes_of({"error": "text"}) == codes_of(None) == codes_of({"error": {"code": None}})[1:] == ()


async def test_pages_are_followed_to_their_end_also_through_empty_ones() -> None:
    clock = ManualClock()
    async with serving() as server:
        link = f"{server.base_url}/v1.0/x?$skiptoken=abc%20d"
        server.answers += [
            says({"value": [{"id": "1"}], "@odata.nextLink": link}),
            says({"value": [], "@odata.nextLink": link}),
            says({"value": [{"id": "2"}, "no object"]}),
        ]
        async with client(f"{server.base_url}/v1.0", clock) as http:
            api = GraphApi(http)
            pages = [page async for page in api.pages(session(clock), "/x", params={"$top": "1"})]

    assert [value["id"] for page in pages for value in page.values] == ["1", "2"]
    assert [request.raw_path for request in server.requests] == [
        "/v1.0/x?%24top=1",
        "/v1.0/x?$skiptoken=abc%20d",
        "/v1.0/x?$skiptoken=abc%20d",
    ]


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": {}}, {"value": [], "@odata.nextLink": 7}], ids=str)
async def test_what_is_no_page_is_unavailable(body: JsonObject) -> None:
    clock = ManualClock()
    async with serving(says(body)) as server, client(server.base_url, clock) as http:
        with pytest.raises(ProviderUnavailable):
            await GraphApi(http).page(session(clock), "/x")


async def test_a_refusal_reaches_the_caller_at_once() -> None:
    clock = ManualClock()
    refusal = says(error("ErrorItemNotFound", "Deeper"), status=404)
    async with serving(refusal) as server, client(server.base_url, clock) as http:
        with pytest.raises(GraphNotFound) as refused:
            await GraphApi(http).get(session(clock), "/x")

    assert refused.value.codes == ("erroritemnotfound", "deeper")
    assert server.count == 1
    assert "words" not in str(refused.value)


async def test_a_link_elsewhere_is_never_called() -> None:
    clock = ManualClock()
    async with serving() as server, client(f"{server.base_url}/v1.0", clock) as http:
        server.answers.append(says({"value": [], "@odata.nextLink": f"{server.base_url}/beta/x"}))
        with pytest.raises(ProviderUnavailable):
            async for _ in GraphApi(http).pages(session(clock), "/x"):
                pass

    assert server.count == 1


async def test_an_account_without_an_id_is_unavailable() -> None:
    clock = ManualClock()
    async with serving(says({"mail": "x@example.com"})) as server, client(server.base_url, clock) as http:
        with pytest.raises(ProviderUnavailable):
            await GraphApi(http).account(session(clock))


def test_there_is_an_end_of_pages() -> None:
    assert MAX_PAGES <= 10_000
