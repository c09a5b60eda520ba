"""How Graph writes chats, teams, channels and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tests.emulator.microsoft.conversations import Channel, Chat, ChatMessage, Person, Reaction, Team
from tests.emulator.microsoft.graph import Call
from tests.emulator.microsoft.odata import instant
from tests.emulator.microsoft.people import guid


def _user(person: Person, *, named: bool = True) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.teamworkUserIdentity",
        "id": person.user_id,
        "displayName": person.name if named else None,
        "userIdentityType": "aadUser",
    }


def _identity(person: Person, *, named: bool = True) -> dict[str, Any]:
    return {"application": None, "device": None, "user": _user(person, named=named)}


def _message_type(message: ChatMessage, call: Call) -> str:
    if message.sender:
        return "message"
    # The name is younger than the enumeration: only who asks for such members is told it.
    return "systemEventMessage" if "include-unknown-enum-members" in call.prefer else "unknownFutureValue"


def _event(message: ChatMessage, members: Sequence[Person]) -> dict[str, Any] | None:
    if message.sender or not members:
        return None
    return {
        "@odata.type": "#microsoft.graph.membersAddedEventMessageDetail",
        "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
        "members": [_user(person, named=False) for person in members],
        "initiator": _identity(members[0], named=False),
    }


def _reaction_json(reaction: Reaction) -> dict[str, Any]:
    return {
        "reactionType": reaction.kind,
        "displayName": reaction.kind.title(),
        "reactionContentUrl": None,
        "createdDateTime": instant(reaction.at, milliseconds=True),
        "user": _identity(reaction.person, named=False),
    }


def _body(message: ChatMessage) -> dict[str, str]:
    return {"contentType": message.content_type, "content": "" if message.deleted_at else message.content}


def chat_message_json(
    message: ChatMessage, call: Call, where: Chat | Channel, members: Sequence[Person] = ()
) -> dict[str, Any]:
    """Return a message of a chat or a channel, without its replies.

    Args:
        message: The message.
        call: Whose preferences count.
        where: Where it was posted.
        members: Who is there: what the event of a system message names.
    """
    edited, deleted = message.edited_at, message.deleted_at
    return {
        "id": message.message_id,
        "replyToId": message.reply_to or None,
        "etag": str(round(message.modified_at.timestamp() * 1000)),
        "messageType": _message_type(message, call),
        "createdDateTime": instant(message.created_at, milliseconds=True),
        "lastModifiedDateTime": instant(message.modified_at, milliseconds=True),
        "lastEditedDateTime": instant(edited, milliseconds=True) if edited else None,
        "deletedDateTime": instant(deleted, milliseconds=True) if deleted else None,
        "subject": message.subject or None,
        "summary": None,
        "chatId": where.chat_id if isinstance(where, Chat) else None,
        "importance": message.importance,
        "locale": "en-us",
        "webUrl": _web_url(message, where) if isinstance(where, Channel) else None,
        "policyViolation": None,
        "eventDetail": _event(message, members),
        "from": _identity(message.sender) if message.sender else None,
        "body": _body(message),
        "channelIdentity": (
            {"teamId": where.team_id, "channelId": where.channel_id} if isinstance(where, Channel) else None
        ),
        "attachments": [] if deleted else [_file_json(one.file_id, one.name, one.url) for one in message.files],
        "mentions": [] if deleted else [_mention(number, person) for number, person in enumerate(message.mentions)],
        "reactions": [_reaction_json(one) for one in message.reactions],
        "messageHistory": [],
    }


def _web_url(message: ChatMessage, where: Channel) -> str:
    return (
        f"https://teams.microsoft.com/l/message/{quote(where.channel_id, safe='')}/{message.message_id}"
        f"?groupId={where.team_id}&parentMessageId={message.reply_to or message.message_id}"
    )


def _file_json(file_id: str, name: str, url: str) -> dict[str, Any]:
    return {
        "id": file_id,
        "contentType": "reference",
        "contentUrl": url,
        "content": None,
        "name": name,
        "thumbnailUrl": None,
        "teamsAppId": None,
    }


def _mention(number: int, person: Person) -> dict[str, Any]:
    mentioned = {"application": None, "device": None, "conversation": None, "user": _user(person)}
    return {"id": number, "mentionText": person.name, "mentioned": mentioned}


def chat_json(chat: Chat, call: Call, expand: Sequence[str]) -> dict[str, Any]:
    """Return a chat, with what `$expand` names: `members`, `lastMessagePreview`."""
    last = chat.last()
    updated = max((one.created_at for one in chat.messages), default=chat.created_at)
    answer: dict[str, Any] = {
        "id": chat.chat_id,
        "topic": chat.topic or None,
        "createdDateTime": instant(chat.created_at, milliseconds=True),
        "lastUpdatedDateTime": instant(updated, milliseconds=True),
        "chatType": chat.chat_type,
        "webUrl": f"https://teams.microsoft.com/l/chat/{quote(chat.chat_id, safe='')}/0",
        "tenantId": call.account.tenant,
        "onlineMeetingInfo": None,
        "viewpoint": {"isHidden": False, "lastMessageReadDateTime": "0001-01-01T00:00:00Z"},
    }
    if "members" in expand:
        answer["members"] = [_member_json(person, chat, call.account.tenant) for person in chat.members]
    if "lastMessagePreview" in expand:
        answer["lastMessagePreview"] = _preview(last, chat, call) if last else None
    return answer


def _member_json(person: Person, chat: Chat, tenant: str) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.aadUserConversationMember",
        "id": guid(f"{chat.chat_id}:{person.user_id}"),
        "roles": ["owner"],
        "displayName": person.name,
        "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
        "userId": person.user_id,
        "email": person.address,
        "tenantId": tenant,
    }


def _preview(message: ChatMessage, chat: Chat, call: Call) -> dict[str, Any]:
    return {
        "id": message.message_id,
        "createdDateTime": instant(message.created_at, milliseconds=True),
        "isDeleted": message.deleted_at is not None,
        "messageType": _message_type(message, call),
        "eventDetail": _event(message, chat.members),
        "body": _body(message),
        "from": _identity(message.sender) if message.sender else None,
    }


def team_json(team: Team) -> dict[str, Any]:
    """Return a team, as the list of joined teams has it."""
    return {
        "id": team.team_id,
        "createdDateTime": None,
        "displayName": team.name,
        "description": team.name,
        "internalId": None,
        "classification": None,
        "specialization": None,
        "visibility": None,
        "webUrl": None,
        "isArchived": False,
        "memberSettings": None,
    }


def channel_json(channel: Channel, tenant: str) -> dict[str, Any]:
    """Return a channel."""
    return {
        "id": channel.channel_id,
        "createdDateTime": instant(channel.created_at, milliseconds=True),
        "displayName": channel.name,
        "description": None,
        "isFavoriteByDefault": None,
        "email": "",
        "tenantId": tenant,
        "webUrl": f"https://teams.microsoft.com/l/channel/{quote(channel.channel_id, safe='')}",
        "membershipType": "standard",
    }
