from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.emulator.client import control_client
from tests.emulator.core import START, Emulator
from tests.emulator.microsoft.conversations import Chat, ChatMessage, SharedFile
from tests.emulator.microsoft.people import TEAMS_SCOPES
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
EVE = "eve@contoso.example"
CHATS = "/v1.0/me/chats"
KNOWN = {"Prefer": "include-unknown-enum-members"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        for address, name in ((MIA, "Mia Meier"), (LEO, "Leo Lang"), (EVE, "Eve Ernst")):
            emulator.microsoft.add_account(address, name=name)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {emulator.microsoft.link(MIA, scopes=TEAMS_SCOPES).access_token}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers, trust_env=False) as http:
        yield http


@pytest.fixture
def chat(emulator: Emulator) -> Chat:
    return emulator.microsoft.teams.add_chat(MIA, LEO)


def messages_of(chat: Chat) -> str:
    return f"/v1.0/chats/{chat.chat_id}/messages"


def say(emulator: Emulator, where: str, content: str = "<p>Hi</p>", *, minutes: float = 0, **more: Any) -> ChatMessage:
    at = START + timedelta(minutes=minutes)
    return emulator.microsoft.teams.post(where, LEO, content, at=at, **more)


async def read(http: httpx2.AsyncClient, path: str, headers: dict[str, str] | None = None, /, **query: str) -> Any:
    params = {f"${name}": value for name, value in query.items()}
    answer = await http.get(path, params=params or None, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def contents(page: dict[str, Any]) -> list[str]:
    return [one["body"]["content"] for one in page["value"]]


async def test_chats_are_those_of_the_user_by_last_activity(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    teams = emulator.microsoft.teams
    quiet, old, new = teams.add_chat(MIA, LEO), teams.add_chat(MIA, EVE), teams.add_chat(MIA, LEO, EVE, topic="Fair")
    teams.add_chat(LEO, EVE)
    say(emulator, old.chat_id, "old", minutes=1)
    say(emulator, new.chat_id, "new", minutes=2)
    order = "lastMessagePreview/createdDateTime desc"

    first = await read(http, CHATS, top="2", orderby=order, expand="lastMessagePreview,members")
    rest = await read(http, first["@odata.nextLink"])

    assert [one["id"] for one in [*first["value"], *rest["value"]]] == [new.chat_id, old.chat_id, quiet.chat_id]
    assert first["value"][0]["lastMessagePreview"]["body"]["content"] == "new"
    assert rest["value"][0]["lastMessagePreview"] is None
    assert {one["email"] for one in first["value"][0]["members"]} == {MIA, LEO, EVE}
    assert (first["value"][0]["chatType"], first["value"][1]["chatType"]) == ("group", "oneOnOne")
    assert "members" not in (await read(http, CHATS))["value"][0]


@pytest.mark.parametrize(
    "query",
    [
        {"$top": "51"},
        {"$orderby": "lastMessagePreview/createdDateTime"},
        {"$orderby": "createdDateTime desc"},
        {"$expand": "messages"},
        {"$select": "id"},
        {"$skip": "1"},
    ],
)
async def test_chats_know_few_options(http: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert (await http.get(CHATS, params=query)).status_code == 400


async def test_messages_come_twenty_a_page_and_the_last_modified_first(
    emulator: Emulator, http: httpx2.AsyncClient, chat: Chat
) -> None:
    first, *_ = [say(emulator, chat.chat_id, str(minute), minutes=minute) for minute in range(25)]
    emulator.clock.advance(timedelta(minutes=45))
    emulator.microsoft.teams.react(first, MIA)

    page = await read(http, messages_of(chat))
    rest = await read(http, page["@odata.nextLink"])
    by_creation = await read(http, messages_of(chat), orderby="createdDateTime desc", top="50")

    assert (len(page["value"]), len(rest["value"])) == (20, 5)
    assert contents(page)[:2] == ["0", "24"]
    assert contents(by_creation)[:2] == ["24", "23"]
    assert (await read(http, f"/v1.0/me/chats/{chat.chat_id}/messages", top="1"))["value"] == page["value"][:1]


@pytest.mark.parametrize(
    ("orderby", "clause", "found"),
    [
        ("lastModifiedDateTime desc", "lastModifiedDateTime gt 2026-11-02T09:01:00.000Z", ["2"]),
        ("lastModifiedDateTime desc", "lastModifiedDateTime lt 2026-11-02T09:02:00Z", ["1", "0"]),
        ("createdDateTime desc", "createdDateTime lt 2026-11-02T09:01:00Z", ["0"]),
        ("createdDateTime desc", "lastModifiedDateTime gt 2026-11-02T09:01:00Z", ["2", "1", "0"]),
        ("", "lastModifiedDateTime gt 2026-11-02T09:01:00Z", ["2", "1", "0"]),
    ],
)
async def test_a_filter_of_another_property_than_the_order_is_ignored_without_a_word(
    emulator: Emulator, http: httpx2.AsyncClient, chat: Chat, orderby: str, clause: str, found: list[str]
) -> None:
    for minute in range(3):
        say(emulator, chat.chat_id, str(minute), minutes=minute)
    query = {"filter": clause} | ({"orderby": orderby} if orderby else {})

    assert contents(await read(http, messages_of(chat), **query)) == found


@pytest.mark.parametrize(
    "query",
    [
        {"$top": "51"},
        {"$orderby": "createdDateTime"},
        {"$orderby": "lastModifiedDateTime asc"},
        {"$orderby": "subject desc"},
        {"$filter": "createdDateTime gt 2026-11-02T09:00:00Z"},
        {"$filter": "lastModifiedDateTime ge 2026-11-02T09:00:00Z"},
        {"$filter": "lastModifiedDateTime gt '2026-11-02T09:00:00Z'"},
        {"$select": "id"},
        {"$expand": "replies"},
    ],
)
async def test_messages_know_few_options(http: httpx2.AsyncClient, chat: Chat, query: dict[str, str]) -> None:
    assert (await http.get(messages_of(chat), params=query)).status_code == 400


async def test_a_leaky_filter_tells_what_is_outside_too(
    emulator: Emulator, http: httpx2.AsyncClient, chat: Chat
) -> None:
    say(emulator, chat.chat_id, "old")
    async with control_client(emulator.base_url) as control:
        await control.microsoft.switch_teams(leaky_filter=True)
    order, since = "lastModifiedDateTime desc", "lastModifiedDateTime gt 2026-11-02T10:00:00Z"

    assert contents(await read(http, messages_of(chat), orderby=order, filter=since)) == ["old"]


async def test_edits_reactions_and_deletions_move_different_times(
    emulator: Emulator, http: httpx2.AsyncClient, chat: Chat
) -> None:
    teams = emulator.microsoft.teams
    edited, liked, gone = (say(emulator, chat.chat_id, content) for content in ("edited", "liked", "gone"))
    emulator.clock.advance(timedelta(minutes=45))
    teams.edit(edited, "better")
    teams.react(liked, MIA, "heart")
    teams.delete(gone)

    told = {one["id"]: one for one in (await read(http, messages_of(chat)))["value"]}

    later = "2026-11-02T09:45:00.000Z"
    assert {one["lastModifiedDateTime"] for one in told.values()} == {later}
    assert {one["createdDateTime"] for one in told.values()} == {"2026-11-02T09:00:00.000Z"}
    assert (told[edited.message_id]["lastEditedDateTime"], told[liked.message_id]["lastEditedDateTime"]) == (
        later,
        None,
    )
    assert told[edited.message_id]["body"]["content"] == "better"
    assert told[liked.message_id]["reactions"][0]["reactionType"] == "heart"
    assert (told[gone.message_id]["deletedDateTime"], told[gone.message_id]["body"]["content"]) == (later, "")


async def test_what_the_system_says_has_no_sender_and_a_name_that_has_to_be_asked_for(
    emulator: Emulator, http: httpx2.AsyncClient, chat: Chat
) -> None:
    emulator.microsoft.teams.post(chat.chat_id, "", "")

    plain = (await read(http, messages_of(chat)))["value"][0]
    named = (await read(http, messages_of(chat), KNOWN))["value"][0]

    assert (plain["messageType"], named["messageType"]) == ("unknownFutureValue", "systemEventMessage")
    assert (plain["from"], plain["body"]["content"]) == (None, "<systemEventMessage/>")
    assert plain["eventDetail"]["@odata.type"] == "#microsoft.graph.membersAddedEventMessageDetail"


async def test_mentions_and_files_belong_to_the_html(emulator: Emulator, http: httpx2.AsyncClient, chat: Chat) -> None:
    file = SharedFile(file_id="f1", name="plan.docx", url="https://contoso.example/plan.docx")
    html = '<p><at id="0">Mia Meier</at> see <attachment id="f1"></attachment></p>'
    message = say(emulator, chat.chat_id, html, mentions=[MIA], files=[file])

    told = await read(http, f"{messages_of(chat)}/{message.message_id}")

    assert (told["body"]["contentType"], told["body"]["content"]) == ("html", html)
    assert told["mentions"][0]["mentioned"]["user"]["id"] == emulator.microsoft.login.accounts[MIA].object_id
    assert told["attachments"][0]["name"] == "plan.docx"
    assert (await http.get(f"{messages_of(chat)}/{message.message_id}/hostedContents/1/$value")).status_code == 403
    assert (await http.get(f"{messages_of(chat)}/1")).status_code == 404


async def test_teams_is_for_work_accounts_members_and_holders_of_the_permission(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    microsoft = emulator.microsoft
    microsoft.add_account("ann@outlook.example", personal=True)
    others = microsoft.teams.add_chat(LEO, EVE)
    team = microsoft.teams.add_team("Secret", LEO)
    personal = microsoft.link("ann@outlook.example", scopes=TEAMS_SCOPES).access_token
    basic = microsoft.link(MIA, scopes=("Chat.ReadBasic",)).access_token

    refused = await http.get(CHATS, headers={"Authorization": f"Bearer {personal}"})
    unread = await http.get(messages_of(others), headers={"Authorization": f"Bearer {basic}"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadRequest")
    assert "MSA" in refused.json()["error"]["message"]
    assert (unread.status_code, unread.json()["error"]["code"]) == (403, "Forbidden")
    assert "Chat.Read" in unread.json()["error"]["message"]
    assert (await http.get(CHATS, headers={"Authorization": f"Bearer {basic}"})).status_code == 200
    assert (await http.get(messages_of(others))).status_code == 403
    assert (await http.get("/v1.0/chats/19:unknown@thread.v2/messages")).status_code == 404
    assert (await http.get(f"/v1.0/teams/{team.team_id}/channels")).status_code == 403


async def test_teams_and_channels_are_listed(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    team = emulator.microsoft.teams.add_team("Relaunch", MIA, LEO)
    emulator.microsoft.teams.add_team("Others", LEO)
    emulator.microsoft.teams.add_channel(team.team_id, "Design")

    joined = await read(http, "/v1.0/me/joinedTeams")
    channels = await read(http, f"/v1.0/teams/{team.team_id}/channels", select="displayName")

    assert [one["displayName"] for one in joined["value"]] == ["Relaunch"]
    assert [one["displayName"] for one in channels["value"]] == ["General", "Design"]
    assert (await http.get("/v1.0/me/joinedTeams", params={"$top": "5"})).status_code == 400


class Posts:
    """A channel with its delta."""

    def __init__(self, emulator: Emulator, http: httpx2.AsyncClient) -> None:
        team = emulator.microsoft.teams.add_team("Relaunch", MIA, LEO)
        self.channel_id = next(iter(team.channels))
        self.path = f"/v1.0/teams/{team.team_id}/channels/{self.channel_id}/messages"
        self._http = http

    async def walk(self, start: str = "", **query: str) -> tuple[list[dict[str, Any]], str]:
        """Return the items of a round and its delta link."""
        page = await read(self._http, start or f"{self.path}/delta", **query)
        told = list(page["value"])
        while "@odata.nextLink" in page:
            page = await read(self._http, page["@odata.nextLink"])
            told.extend(page["value"])
        return told, page["@odata.deltaLink"]


@pytest.fixture
def posts(emulator: Emulator, http: httpx2.AsyncClient) -> Posts:
    return Posts(emulator, http)


async def test_a_channels_delta_tells_replies_only_when_they_are_expanded(emulator: Emulator, posts: Posts) -> None:
    post = say(emulator, posts.channel_id, "post", subject="Kick-off")
    _, plain = await posts.walk()
    _, expanded = await posts.walk(expand="replies", top="50")
    reply = say(emulator, posts.channel_id, "reply", reply_to=post.message_id)

    without, _ = await posts.walk(plain)
    with_replies, _ = await posts.walk(expanded)

    assert without == []
    assert [one["id"] for one in with_replies] == [post.message_id]
    assert [(one["id"], one["replyToId"]) for one in with_replies[0]["replies"]] == [
        (reply.message_id, post.message_id)
    ]
    assert (with_replies[0]["subject"], with_replies[0]["chatId"]) == ("Kick-off", None)
    assert with_replies[0]["channelIdentity"]["channelId"] == posts.channel_id


async def test_a_channels_filter_is_about_whole_chains_and_eight_months(emulator: Emulator, posts: Posts) -> None:
    ancient = say(emulator, posts.channel_id, "ancient", minutes=-60 * 24 * 250)
    old = say(emulator, posts.channel_id, "old", minutes=-60)
    answered = say(emulator, posts.channel_id, "answered", minutes=-60)
    say(emulator, posts.channel_id, "reply", reply_to=answered.message_id, minutes=1)
    since = "lastModifiedDateTime gt 2026-11-02T09:00:00Z"

    filtered, _ = await posts.walk(filter=since)
    everything, _ = await posts.walk()
    emulator.microsoft.teams.leaky_filter = True
    leaked, _ = await posts.walk(filter=since)

    assert [one["id"] for one in filtered] == [answered.message_id]
    assert {one["id"] for one in everything} == {old.message_id, answered.message_id} == {one["id"] for one in leaked}
    assert ancient.message_id not in {one["id"] for one in leaked}


async def test_more_replies_than_are_expanded_have_a_link_of_their_own(
    emulator: Emulator, http: httpx2.AsyncClient, posts: Posts
) -> None:
    post = say(emulator, posts.channel_id, "post")
    for minute in range(5):
        say(emulator, posts.channel_id, str(minute), reply_to=post.message_id, minutes=minute)
    emulator.microsoft.teams.replies_expanded = 3

    told, _ = await posts.walk(expand="replies")
    rest = await read(http, told[0]["replies@odata.nextLink"])

    assert contents({"value": told[0]["replies"]}) + contents(rest) == ["4", "3", "2", "1", "0"]
    assert "@odata.nextLink" not in rest


async def test_a_post_and_a_reply_are_read_by_themselves(
    emulator: Emulator, http: httpx2.AsyncClient, posts: Posts
) -> None:
    post = say(emulator, posts.channel_id, "post")
    reply = say(emulator, posts.channel_id, "reply", reply_to=post.message_id)
    path = f"{posts.path}/{post.message_id}"

    assert (await read(http, path))["body"]["content"] == "post"
    assert (await read(http, f"{path}/replies/{reply.message_id}"))["body"]["content"] == "reply"
    assert contents(await read(http, f"{path}/replies")) == ["reply"]
    assert (await http.get(f"{path}/replies/1")).status_code == 404
    assert (await http.get(f"{posts.path}/1")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"$top": "51"},
        {"$expand": "members"},
        {"$filter": "lastModifiedDateTime lt 2026-11-02T09:00:00Z"},
        {"$filter": "createdDateTime gt 2026-11-02T09:00:00Z"},
        {"$orderby": "lastModifiedDateTime desc"},
        {"$skiptoken": "made-up"},
    ],
)
async def test_a_channels_delta_knows_few_options(
    http: httpx2.AsyncClient, posts: Posts, query: dict[str, str]
) -> None:
    assert (await http.get(f"{posts.path}/delta()", params=query)).status_code == 400


async def test_a_channels_links_expire_like_a_folders(
    emulator: Emulator, http: httpx2.AsyncClient, posts: Posts
) -> None:
    _, link = await posts.walk()
    emulator.microsoft.expire_delta(MIA)

    assert (await http.get(link)).json()["error"]["code"] == "SyncStateNotFound"


async def test_the_control_client_moves_teams(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    async with control_client(emulator.base_url) as control:
        microsoft = control.microsoft
        chat = await microsoft.add_chat(MIA, "guest@elsewhere.example", topic="Fair", chat_type="meeting")
        said = await microsoft.say(chat, "guest@elsewhere.example", "Hello", content_type="text", at=START)
        gone = await microsoft.say(chat, MIA, "oops")
        await microsoft.edit(chat, said, "Hello all")
        await microsoft.react(chat, said, MIA)
        await microsoft.delete_chat_message(chat, gone)
        team, channel = await microsoft.add_team("Relaunch", MIA)
        await microsoft.add_channel(team, "Design")
        post = await microsoft.say(channel, MIA, "post", subject="Kick-off")
        await microsoft.say(channel, MIA, "reply", reply_to=post)

    told = (await read(http, f"/v1.0/chats/{chat}/messages", orderby="createdDateTime desc"))["value"]
    replies = await read(http, f"/v1.0/teams/{team}/channels/{channel}/messages/{post}/replies")

    assert [one["body"]["content"] for one in told] == ["", "Hello all"]
    assert told[1]["from"]["user"]["displayName"] == "Guest"
    assert contents(replies) == ["reply"]
