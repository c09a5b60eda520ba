"""Where a filter looks in Teams, and where a message is: chats and channels by their ids.

A message's id names it only in its chat or channel. So its `provider_id` here is its place and its id:
`chat:<chat>/<id>`, `channel:<team>/<channel>/<id>`, or for an answer `channel:<team>/<channel>/<its first>/<id>`. What
stands before the last slash is its container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from connectors.errors import FilterInvalid, FilterUnsupported
from connectors.messages.domain import MessageFilter

MAX_PLACES: Final = 50
"""Each costs at least a request whenever there is a look for news."""

_ID = re.compile(r"[A-Za-z0-9:@._=-]{1,256}")
_UNSUPPORTED = ("senders", "recipients", "subject_contains", "unread_only", "has_attachment", "provider_query")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a team."""

    team_id: str
    channel_id: str

    @property
    def name(self) -> str:
        """What filters and refs call it."""
        return f"channel:{self.team_id}/{self.channel_id}"

    @property
    def path(self) -> str:
        """Its messages, in Graph."""
        return f"/teams/{quote(self.team_id, safe='')}/channels/{quote(self.channel_id, safe='')}/messages"


@dataclass(frozen=True, slots=True)
class Places:
    """What is listed."""

    all_chats: bool
    chats: tuple[str, ...]
    channels: tuple[Channel, ...]


def places(wanted: MessageFilter) -> Places:
    """Return where a filter looks: all chats when it names nothing.

    Raises:
        FilterInvalid: A container that is neither `chat:<id>` nor `channel:<team id>/<channel id>`.
        FilterUnsupported: A field that Teams cannot express.
    """
    for name in _UNSUPPORTED:
        if getattr(wanted, name):
            raise FilterUnsupported(f"filter.{name}", "Teams cannot express this; filter by containers")
    chats: dict[str, None] = {}
    channels: dict[Channel, None] = {}
    for container in wanted.containers:
        kind, _, name = container.partition(":")
        team, _, channel = name.partition("/")
        if kind == "chat" and _is_id(name):
            chats[name] = None
        elif kind == "channel" and _is_id(team) and _is_id(channel):
            channels[Channel(team, channel)] = None
        else:
            raise FilterInvalid("filter.containers", "must be chat:<id> or channel:<team id>/<channel id>")
    if len(chats) + len(channels) > MAX_PLACES:
        raise FilterInvalid("filter.containers", f"at most {MAX_PLACES}")
    return Places(not wanted.containers, tuple(chats), tuple(channels))


def is_chat(container: str) -> bool:
    """Return whether a message's container is a chat, and not a channel."""
    return container.startswith("chat:")


def chat_path(chat_id: str) -> str:
    """Return a chat's messages, in Graph."""
    return f"/chats/{quote(chat_id, safe='')}/messages"


def message_path(provider_id: str) -> str | None:
    """Return where a message is, in Graph; None when that is no id of a message."""
    kind, _, name = provider_id.partition(":")
    parts = name.split("/")
    if not all(map(_is_id, parts)):
        return None
    match (kind, parts):
        case ("chat", [chat, message]):
            return f"{chat_path(chat)}/{quote(message, safe='')}"
        case ("channel", [team, channel, message]):
            return f"{Channel(team, channel).path}/{quote(message, safe='')}"
        case ("channel", [team, channel, first, message]):
            return f"{Channel(team, channel).path}/{quote(first, safe='')}/replies/{quote(message, safe='')}"
    return None


def thread_of(provider_id: str) -> str:
    """Return the conversation of a message: a whole chat, or in a channel the message that was answered."""
    container = provider_id.rpartition("/")[0]
    return container if is_chat(container) or container.count("/") == 2 else provider_id


def label_of(provider_id: str) -> str:
    """Return what filters call the chat or channel of a message."""
    parts = provider_id.split("/")
    return parts[0] if is_chat(provider_id) else "/".join(parts[:2])


def _is_id(text: str) -> bool:
    # Dots alone would be another place.
    return _ID.fullmatch(text) is not None and text.strip(".") != ""
