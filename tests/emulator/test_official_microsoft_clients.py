from __future__ import annotations

import asyncio
import dataclasses
import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
import msal
import pytest

from tests.emulator.core import Emulator, Fault
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.microsoft.login import Decision
from tests.emulator.microsoft.people import CLIENT, MAIL_SCOPES, PUBLIC_CLIENT, TEAMS_SCOPES
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
AUTHORITY = "https://login.microsoftonline.com/organizations"
ASKED = ["User.Read", "Mail.Read"]
REDIRECT = "http://localhost:8401/callback"

_NEEDED = pytest.mark.skipif(
    importlib.util.find_spec("msgraph") is None,
    reason="MSGRAPH-SDK IS NOT INSTALLED: Graph was not checked with its own client (pip install adiuva[clients])",
)
_DEPRECATED_WITHIN = pytest.mark.filterwarnings(
    "ignore:GetQueryParameters is deprecated:DeprecationWarning",
    "ignore:This class is deprecated. Please use the generic RequestConfiguration:DeprecationWarning",
)

Test = TypeVar("Test", bound=Callable[..., Any])


def needs_msgraph(test: Test) -> Test:
    """Mark a test of the SDK: skipped without it, and deaf to the warnings that its parts give to each other."""
    marked: Test = _NEEDED(_DEPRECATED_WITHIN(test))
    return marked


class LoopbackHttp:
    """The HTTP client that msal is given: whatever the host, the request goes to the emulator."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = httpx2.Client(trust_env=False)

    def get(
        self, url: str, *, params: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> httpx2.Response:
        return self._http.get(self._here(url), params=params, headers=dict(headers or {}))

    def post(
        self, url: str, *, params: Any = None, data: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> httpx2.Response:
        return self._http.post(self._here(url), params=params, data=data, headers=dict(headers or {}))

    def close(self) -> None:
        self._http.close()

    def _here(self, url: str) -> str:
        asked = urlsplit(url)
        assert (asked.scheme, asked.hostname) == ("https", "login.microsoftonline.com")
        return f"{self._base_url}{asked.path}" + (f"?{asked.query}" if asked.query else "")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        emulator.microsoft.add_account(MIA, name="Mia Meier")
        emulator.microsoft.add_account(LEO, name="Leo Lang")
        yield emulator


@pytest.fixture
def loopback(emulator: Emulator) -> Iterator[LoopbackHttp]:
    http = LoopbackHttp(emulator.base_url)
    yield http
    http.close()


async def consented(emulator: Emulator, url: str) -> dict[str, str]:
    """Open the page that an application sends a browser to, and return what it is sent back with."""
    page = urlsplit(url)
    async with httpx2.AsyncClient(base_url=emulator.base_url, trust_env=False) as browser:
        answer = await browser.get(f"{page.path}?{page.query}")
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


@pytest.mark.filterwarnings("ignore:response_mode='form_post' is recommended:UserWarning")
async def test_msal_links_an_account_with_a_code_and_refreshes_it(emulator: Emulator, loopback: LoopbackHttp) -> None:
    app = await asyncio.to_thread(
        msal.ConfidentialClientApplication,
        CLIENT.client_id,
        client_credential=CLIENT.secret,
        authority=AUTHORITY,
        http_client=loopback,
    )
    flow = app.initiate_auth_code_flow(ASKED, redirect_uri=REDIRECT, login_hint=MIA, prompt="select_account")
    answer = await consented(emulator, flow["auth_uri"])

    tokens = await asyncio.to_thread(app.acquire_token_by_auth_code_flow, flow, answer)
    again = await asyncio.to_thread(app.acquire_token_by_refresh_token, tokens["refresh_token"], ASKED)

    assert set(tokens["scope"].split()) == {"User.Read", "Mail.Read", "openid", "profile"}
    assert tokens["id_token_claims"]["preferred_username"] == MIA
    assert tokens["id_token_claims"]["oid"] == emulator.microsoft.login.accounts[MIA].object_id
    assert again["access_token"] != tokens["access_token"]
    assert again["refresh_token"] != tokens["refresh_token"]
    assert app.get_accounts()[0]["username"] == MIA


async def test_msal_links_an_account_with_a_device_code(emulator: Emulator, loopback: LoopbackHttp) -> None:
    app = await asyncio.to_thread(
        msal.PublicClientApplication, PUBLIC_CLIENT.client_id, authority=AUTHORITY, http_client=loopback
    )
    flow = await asyncio.to_thread(app.initiate_device_flow, ASKED)
    once = {"exit_condition": lambda _: True}

    pending = await asyncio.to_thread(app.acquire_token_by_device_flow, flow, **once)
    emulator.microsoft.login.decide_device(flow["user_code"], Decision.APPROVED, MIA)
    flow["latest_attempt_at"] = 0
    tokens = await asyncio.to_thread(app.acquire_token_by_device_flow, flow, **once)

    assert pending["error"] == "authorization_pending"
    assert (flow["expires_in"], flow["interval"]) == (900, 5)
    assert tokens["id_token_claims"]["preferred_username"] == MIA


async def test_msal_sees_what_a_dead_grant_needs(emulator: Emulator, loopback: LoopbackHttp) -> None:
    app = await asyncio.to_thread(
        msal.ConfidentialClientApplication,
        CLIENT.client_id,
        client_credential=CLIENT.secret,
        authority=AUTHORITY,
        http_client=loopback,
    )
    issued = emulator.microsoft.link(MIA)
    emulator.clock.advance(timedelta(days=91))

    error = await asyncio.to_thread(app.acquire_token_by_refresh_token, issued.refresh_token, ASKED)

    assert error["error"] == "invalid_grant"
    assert error["error_codes"] == [700082]
    assert error["error_description"].startswith("AADSTS700082: ")


def part(name: str) -> Any:
    """Return a module of the SDK, which need not be installed, and need not be known to a type checker."""
    return importlib.import_module(name)


def query(builder: str, **parameters: Any) -> Any:
    """Return the query parameters of a request builder, given as `<package below msgraph.generated>:<class>`."""
    module, name = builder.split(":")
    kind = getattr(part(f"msgraph.generated.{module}"), name)
    return getattr(kind, f"{name}GetQueryParameters")(**parameters)


def configured(*preferences: str, parameters: Any = None) -> Any:
    """Return a request configuration of the SDK."""
    module = part("kiota_abstractions.base_request_configuration")
    configuration = module.RequestConfiguration(query_parameters=parameters)
    for preference in preferences:
        configuration.headers.add("Prefer", preference)
    return configuration


def unknown_fields(model: Any) -> Iterator[str]:
    """Yield what the SDK has found in an answer and does not know, at any depth."""
    if isinstance(model, list):
        for one in model:
            yield from unknown_fields(one)
    if not dataclasses.is_dataclass(model):
        return
    for name in getattr(model, "additional_data", None) or {}:
        if "@odata." not in name and name != "@removed":
            yield f"{type(model).__name__}.{name}"
    for field in dataclasses.fields(model):
        if field.name not in {"additional_data", "backing_store"}:
            yield from unknown_fields(getattr(model, field.name, None))


@asynccontextmanager
async def sdk(emulator: Emulator, token: str) -> AsyncIterator[Any]:
    """Give Microsoft's own client, pointed at the emulator."""
    authentication, msgraph = part("kiota_abstractions.authentication"), part("msgraph")

    class Given:
        async def get_authorization_token(self, uri: str, additional_authentication_context: Any = None) -> str:
            return token

        def get_allowed_hosts_validator(self) -> Any:
            return authentication.AllowedHostsValidator(["127.0.0.1"])

    adapter = msgraph.GraphRequestAdapter(authentication.BaseBearerTokenAuthenticationProvider(Given()))
    adapter.base_url = f"{emulator.base_url}/v1.0"
    try:
        yield msgraph.GraphServiceClient(request_adapter=adapter)
    finally:
        # The SDK closes the transport that it has put around the one that keeps the connections, and not that one.
        await adapter._http_client._transport.transport.aclose()


def deliver(emulator: Emulator, number: int) -> None:
    for count in range(number):
        raw = compose(
            subject=f"Offer {count}",
            html="<p>Hello</p>",
            cc="Leo <leo@contoso.example>",
            message_id=f"<{count}@example.com>",
            attachments=[Attachment("offer.txt", b"100 EUR", "text/plain")],
        )
        emulator.microsoft.mailbox(MIA).deliver(Mail(raw=raw, received_at=emulator.now()))


@needs_msgraph
async def test_the_graph_sdk_reads_messages_and_attachments(emulator: Emulator) -> None:
    deliver(emulator, 3)
    token = emulator.microsoft.link(MIA).access_token
    wanted = query(
        "users.item.messages.messages_request_builder:MessagesRequestBuilder",
        top=2,
        filter="receivedDateTime ge 2026-11-01T00:00:00Z",
        orderby=["receivedDateTime desc"],
    )

    async with sdk(emulator, token) as graph:
        me = await graph.me.get()
        page = await graph.me.messages.get(configured(parameters=wanted))
        rest = await graph.me.messages.with_url(page.odata_next_link).get()
        one = await graph.me.messages.by_message_id(page.value[0].id).get()
        files = await graph.me.messages.by_message_id(one.id).attachments.get()
        folders = await graph.me.mail_folders.get()

    assert (len(page.value), len(rest.value), rest.odata_next_link) == (2, 1, None)
    assert one.subject == "Offer 2"
    assert one.from_.email_address.address == "ada@example.com"
    assert files.value[0].name == "offer.txt"
    assert me.user_principal_name == MIA
    answers = [me, page, rest, one, files, folders]
    assert [name for answer in answers for name in unknown_fields(answer)] == []


@needs_msgraph
async def test_the_graph_sdk_walks_a_folders_delta_to_its_end(emulator: Emulator) -> None:
    deliver(emulator, 5)
    emulator.microsoft.delta.empty_pages = 1
    gone = next(iter(emulator.microsoft.mailbox(MIA).messages))
    token = emulator.microsoft.link(MIA).access_token
    configuration = configured('IdType="ImmutableId"', "odata.maxpagesize=2")

    async with sdk(emulator, token) as graph:
        delta = graph.me.mail_folders.by_mail_folder_id("inbox").messages.delta
        pages = [await delta.get(configuration)]
        while pages[-1].odata_next_link:
            pages.append(await delta.with_url(pages[-1].odata_next_link).get(configuration))
        emulator.microsoft.mailbox(MIA).remove(gone)
        last = await delta.with_url(pages[-1].odata_delta_link).get(configuration)
        last = await delta.with_url(last.odata_next_link).get(configuration)

    assert [len(page.value) for page in pages] == [0, 2, 0, 2, 0, 1]
    assert [(one.id, one.additional_data["@removed"]) for one in last.value] == [(gone, {"reason": "deleted"})]
    assert [name for answer in [*pages, last] for name in unknown_fields(answer)] == []


@needs_msgraph
async def test_the_graph_sdk_reads_chats_and_channels(emulator: Emulator) -> None:
    teams = emulator.microsoft.teams
    chat = teams.add_chat(MIA, LEO)
    team = teams.add_team("Relaunch", MIA, LEO)
    channel = next(iter(team.channels))
    teams.post(chat.chat_id, "", "")
    said = teams.post(chat.chat_id, LEO, '<p>Hi <at id="0">Mia Meier</at></p>', mentions=[MIA])
    teams.react(said, MIA)
    post = teams.post(channel, LEO, "<p>Kick-off on Monday</p>", subject="Kick-off")
    teams.post(channel, MIA, "<p>Fine</p>", reply_to=post.message_id)
    token = emulator.microsoft.link(MIA, scopes=TEAMS_SCOPES).access_token
    by_activity = query(
        "users.item.chats.chats_request_builder:ChatsRequestBuilder",
        expand=["lastMessagePreview", "members"],
        orderby=["lastMessagePreview/createdDateTime desc"],
    )
    whole_chains = query(
        "teams.item.channels.item.messages.delta.delta_request_builder:DeltaRequestBuilder", expand=["replies"], top=50
    )

    async with sdk(emulator, token) as graph:
        there = graph.teams.by_team_id(team.team_id).channels
        chats = await graph.me.chats.get(configured(parameters=by_activity))
        messages = await graph.chats.by_chat_id(chat.chat_id).messages.get(configured("include-unknown-enum-members"))
        joined = await graph.me.joined_teams.get()
        channels = await there.get()
        posts = await there.by_channel_id(channel).messages.delta.get(configured(parameters=whole_chains))

    assert chats.value[0].last_message_preview.id == said.message_id
    assert sorted(member.email for member in chats.value[0].members) == [LEO, MIA]
    assert [one.message_type.value for one in messages.value] == ["message", "systemEventMessage"]
    assert messages.value[0].mentions[0].mentioned.user.display_name == "Mia Meier"
    assert (joined.value[0].display_name, channels.value[0].display_name) == ("Relaunch", "General")
    assert [one.body.content for one in posts.value[0].replies] == ["<p>Fine</p>"]
    answers = [chats, messages, joined, channels, posts]
    assert [name for answer in answers for name in unknown_fields(answer)] == []


@needs_msgraph
async def test_the_graph_sdk_understands_a_refusal(emulator: Emulator) -> None:
    token = emulator.microsoft.link(MIA, scopes=MAIL_SCOPES).access_token
    refusal = part("msgraph.generated.models.o_data_errors.o_data_error").ODataError

    async with sdk(emulator, token) as graph:
        with pytest.raises(refusal) as refused:
            await graph.me.chats.get()

    error: Any = refused.value
    assert (error.response_status_code, error.error.code) == (403, "Forbidden")
    assert error.error.inner_error.request_id


@needs_msgraph
async def test_a_field_that_the_graph_sdk_does_not_know_would_be_noticed(emulator: Emulator) -> None:
    told = {"value": [{"id": "1", "from": {"emailAddress": {"address": MIA, "colour": "red"}}, "@odata.etag": "1"}]}
    emulator.faults.add(Fault(route="/me/messages$", status=200, body=told))

    async with sdk(emulator, emulator.microsoft.link(MIA).access_token) as graph:
        page = await graph.me.messages.get()

    assert list(unknown_fields(page)) == ["EmailAddress.colour"]
