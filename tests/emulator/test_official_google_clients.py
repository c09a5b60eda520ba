"""The emulator against Google's own words: the discovery document, google-api-python-client, and google-auth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from importlib import resources
from typing import Any, TypeVar

import httpx2
import jsonschema
import pytest

from tests.emulator.core import START, Emulator
from tests.emulator.google.state import CLIENT
from tests.emulator.google.tables import COMMON, METHODS, READONLY, SCOPES, Method
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.oauth import RefreshMode
from tests.emulator.parameters import Kind, Parameter
from tests.emulator.running import running

_REASON = "the emulator is NOT checked against Google's clients: install them with `make clients`"
discovery = pytest.importorskip("googleapiclient.discovery", reason=_REASON)
api_errors = pytest.importorskip("googleapiclient.errors", reason=_REASON)
credentials = pytest.importorskip("google.oauth2.credentials", reason=_REASON)
auth_errors = pytest.importorskip("google.auth.exceptions", reason=_REASON)
auth_transport = pytest.importorskip("google.auth.transport.requests", reason=_REASON)

T = TypeVar("T")
EMAIL = "me@example.com"
INTEGERS = {"int64": r"^-?\d+$", "uint64": r"^\d+$", "byte": r"^[A-Za-z0-9_=-]*$"}
NOT_TAKEN = {"access_token", "callback", "key", "oauth_token", "uploadType", "upload_protocol"}
"""Common parameters that the emulator refuses on purpose: see `tables.COMMON`."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    documents = resources.files("googleapiclient.discovery_cache").joinpath("documents")
    loaded: dict[str, Any] = json.loads(documents.joinpath("gmail.v1.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        mailbox = emulator.google.add_account(EMAIL).mailbox
        for number in range(3):
            raw = compose(
                subject=f"Mail {number}",
                text="plain",
                html="<p>html</p>",
                attachments=[Attachment("a.bin", b"\xff\x00" * 50)],
            )
            mailbox.deliver(Mail(raw=raw, received_at=START + timedelta(minutes=number), labels=("Acme",)))
        yield emulator


def methods_of(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for below in resource.get("resources", {}).values():
        yield from methods_of(below)


def as_parameter(described: dict[str, Any], known: Parameter) -> Parameter:
    """Return what the document says of a parameter; the limits of a number are in its prose, and so are taken over."""
    is_number = described["type"] == "integer" or described.get("format") == "uint64"
    kind = Kind.INTEGER if is_number else Kind(described["type"])
    return Parameter(
        kind=kind,
        repeated=described.get("repeated", False),
        values=tuple(described.get("enum", ())),
        required=described.get("required", False),
        minimum=known.minimum,
        maximum=known.maximum,
    )


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_tables_say_what_the_discovery_document_says(document: dict[str, Any], method: Method) -> None:
    described = next(one for one in methods_of(document) if one["id"] == method.method_id)
    query = {name: one for name, one in described["parameters"].items() if one["location"] == "query"}

    assert described["httpMethod"] == "GET"
    assert "/" + described["flatPath"] == method.path
    assert set(described["scopes"]) == method.scopes
    assert described["response"]["$ref"] == method.schema
    assert {name: as_parameter(one, method.query.get(name, Parameter())) for name, one in query.items()} == method.query


def test_the_common_parameters_and_scopes_are_those_of_the_discovery_document(document: dict[str, Any]) -> None:
    assert set(COMMON) | NOT_TAKEN == set(document["parameters"])
    assert set(document["auth"]["oauth2"]["scopes"]) == SCOPES


def as_json_schema(described: Any) -> Any:
    """Return a schema of the document as JSON Schema, closed: a field that is not in it is an error."""
    if isinstance(described, list):
        return [as_json_schema(one) for one in described]
    if not isinstance(described, dict):
        return described
    if "$ref" in described:
        return {"$ref": f"#/schemas/{described['$ref']}"}
    schema: dict[str, Any] = {"type": described["type"]}
    if described["type"] == "object":
        schema["properties"] = {name: as_json_schema(one) for name, one in described.get("properties", {}).items()}
        schema["additionalProperties"] = False
    if "items" in described:
        schema["items"] = as_json_schema(described["items"])
        schema["minItems"] = 1
    if "enum" in described:
        schema["enum"] = described["enum"]
    if described.get("format") in INTEGERS:
        schema["pattern"] = INTEGERS[described["format"]]
    return schema


async def replies(emulator: Emulator) -> list[tuple[str, dict[str, Any]]]:
    """Return a reply of every method in every form, with the method's id."""
    mailbox = emulator.google.mailbox(EMAIL)
    start = str(mailbox.history_id())
    first, second, _ = mailbox.newest_first()
    mailbox.relabel(first.message_id, add=["STARRED"], remove=["UNREAD"])
    mailbox.remove(second.message_id)
    mailbox.deliver(Mail(raw=compose(), received_at=START, folder="archive", unread=False))
    message = f"messages/{first.message_id}"
    parts = [
        *(("gmail.users.messages.get", message, {"format": form}) for form in ("full", "raw", "metadata", "minimal")),
        ("gmail.users.getProfile", "profile", {}),
        ("gmail.users.labels.list", "labels", {}),
        ("gmail.users.labels.get", "labels/Label_1", {}),
        ("gmail.users.messages.list", "messages", {"maxResults": "1"}),
        ("gmail.users.messages.list", "messages", {"q": "from:nobody"}),
        ("gmail.users.history.list", "history", {"startHistoryId": start, "maxResults": "2"}),
        ("gmail.users.history.list", "history", {"startHistoryId": start}),
    ]
    headers = {"Authorization": f"Bearer {emulator.google.link(EMAIL).access_token}"}
    base = f"{emulator.base_url}/gmail/v1/users/me/"
    async with httpx2.AsyncClient(base_url=base, headers=headers, trust_env=False) as http:
        found = [(method, (await http.get(path, params=query)).json()) for method, path, query in parts]
        attachment_id = found[0][1]["payload"]["parts"][1]["body"]["attachmentId"]
        attachment = (await http.get(f"{message}/attachments/{attachment_id}")).json()
    return [*found, ("gmail.users.messages.attachments.get", attachment)]


async def test_every_reply_is_valid_against_its_schema(emulator: Emulator, document: dict[str, Any]) -> None:
    schemas = {name: as_json_schema(one) for name, one in document["schemas"].items()}

    found = await replies(emulator)

    for method_id, reply in found:
        validator = jsonschema.Draft202012Validator(
            {"$ref": f"#/schemas/{METHODS[method_id].schema}", "schemas": schemas}
        )
        assert [f"{method_id}: {error.message}" for error in validator.iter_errors(reply)] == []
    assert {method_id for method_id, _ in found} == set(METHODS)


def signed_in(emulator: Emulator) -> Any:
    issued = emulator.google.link(EMAIL)
    return credentials.Credentials(
        token=issued.access_token,
        refresh_token=issued.refresh_token,
        token_uri=f"{emulator.base_url}/token",
        client_id=CLIENT.client_id,
        client_secret=CLIENT.secret,
        scopes=[READONLY],
    )


async def with_gmail(emulator: Emulator, document: dict[str, Any], use: Callable[[Any], T]) -> T:
    """Call `use` in a thread, with google-api-python-client's Gmail pointed at the emulator."""
    # An `api_endpoint` option would not do: batches go to the document's root.
    here = {**document, "rootUrl": f"{emulator.base_url}/", "baseUrl": f"{emulator.base_url}/"}
    here.pop("mtlsRootUrl")
    identity = signed_in(emulator)

    def work() -> T:
        with discovery.build_from_document(here, credentials=identity) as gmail:
            return use(gmail)

    return await asyncio.to_thread(work)


async def test_the_api_client_reads_a_mailbox(emulator: Emulator, document: dict[str, Any]) -> None:
    def use(gmail: Any) -> list[tuple[str, int]]:
        found, request = [], gmail.users().messages().list(userId="me", maxResults=2, q="has:attachment")
        while request is not None:
            page = request.execute()
            for listed in page["messages"]:
                message = gmail.users().messages().get(userId="me", id=listed["id"], format="full").execute()
                subject = next(one["value"] for one in message["payload"]["headers"] if one["name"] == "Subject")
                attachment_id = message["payload"]["parts"][1]["body"]["attachmentId"]
                attachments = gmail.users().messages().attachments()
                content = attachments.get(userId="me", messageId=listed["id"], id=attachment_id).execute()
                found.append((subject, content["size"]))
            request = gmail.users().messages().list_next(request, page)
        return found

    assert await with_gmail(emulator, document, use) == [("Mail 2", 100), ("Mail 1", 100), ("Mail 0", 100)]


async def test_the_api_client_follows_the_history(emulator: Emulator, document: dict[str, Any]) -> None:
    mailbox = emulator.google.mailbox(EMAIL)

    def start(gmail: Any) -> str:
        return str(gmail.users().getProfile(userId="me").execute()["historyId"])

    def changes(gmail: Any) -> list[str]:
        found = []
        # Its `list_next` cannot repeat a parameter that was given twice, so there is one type only.
        request = (
            gmail.users().history().list(userId="me", startHistoryId=begin, historyTypes="messageAdded", maxResults=1)
        )
        while request is not None:
            page = request.execute()
            found += [record["messages"][0]["id"] for record in page.get("history", [])]
            request = gmail.users().history().list_next(request, page)
        return found

    begin = await with_gmail(emulator, document, start)
    emulator.google.switches.empty_history_pages = True
    ids = [mailbox.deliver(Mail(raw=compose(), received_at=START)).message_id for _ in range(2)]

    assert await with_gmail(emulator, document, changes) == ids
    mailbox.expire_history()
    with pytest.raises(api_errors.HttpError) as refusal:
        await with_gmail(emulator, document, changes)
    assert (refusal.value.status_code, refusal.value.error_details[0]["reason"]) == (404, "notFound")


async def test_the_api_client_sends_batches(emulator: Emulator, document: dict[str, Any]) -> None:
    ids = [message.message_id for message in emulator.google.mailbox(EMAIL).newest_first()]

    def use(gmail: Any) -> dict[str, Any]:
        outcomes: dict[str, Any] = {}

        def note(request_id: str, reply: Any, error: Any) -> None:
            outcomes[request_id] = error.status_code if error else reply["id"]

        batch = gmail.new_batch_http_request()
        for number, message_id in enumerate([*ids, "missing"]):
            request = gmail.users().messages().get(userId="me", id=message_id)
            batch.add(request, callback=note, request_id=f"r{number}")
        batch.execute()
        return outcomes

    outcomes = await with_gmail(emulator, document, use)

    assert outcomes == {"r0": ids[0], "r1": ids[1], "r2": ids[2], "r3": 404}
    assert emulator.counters.count("/messages/", account=EMAIL) == 4
    assert emulator.google.quota.spent(EMAIL, emulator.now()) == 80


async def test_the_api_client_refreshes_an_expired_token(emulator: Emulator, document: dict[str, Any]) -> None:
    def use(gmail: Any) -> str:
        emulator.google.grants.expire_access(EMAIL)
        return str(gmail.users().getProfile(userId="me").execute()["emailAddress"])

    assert await with_gmail(emulator, document, use) == EMAIL
    assert [call.status for call in emulator.counters.calls] == [401, 200, 200]


def refresh(identity: Any) -> None:
    session_module = pytest.importorskip("requests", reason=_REASON)
    with session_module.Session() as session:
        session.trust_env = False
        identity.refresh(auth_transport.Request(session=session))


@pytest.mark.parametrize("mode", RefreshMode)
async def test_google_auth_refreshes_and_keeps_what_it_is_given(emulator: Emulator, mode: RefreshMode) -> None:
    emulator.google.grants.mode = mode
    identity = signed_in(emulator)
    before = identity.token, identity.refresh_token

    await asyncio.to_thread(refresh, identity)

    assert identity.valid
    assert identity.token != before[0]
    assert (identity.refresh_token == before[1]) is (mode is RefreshMode.NONE)


async def test_google_auth_knows_a_dead_grant_from_a_rejected_client(emulator: Emulator) -> None:
    identity = signed_in(emulator)

    emulator.google.switches.reject_clients = True
    with pytest.raises(auth_errors.RefreshError, match="invalid_client"):
        await asyncio.to_thread(refresh, identity)
    emulator.google.switches.reject_clients = False
    emulator.google.grants.revoke(EMAIL)
    with pytest.raises(auth_errors.RefreshError, match="invalid_grant"):
        await asyncio.to_thread(refresh, identity)
