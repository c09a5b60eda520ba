"""The state of Teams: people, chats, teams with their channels, and messages with all that happens to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from tests.emulator.microsoft.people import guid

if TYPE_CHECKING:
    from tests.emulator.core import Core
    from tests.emulator.microsoft.login import Login

ChatType = Literal["oneOnOne", "group", "meeting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody in a chat or a team: an account, or somebody without one."""

    user_id: str
    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """A thumb and its like."""

    kind: str
    person: Person
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A file that a message points to: `<attachment id="…"></attachment>` in its HTML."""

    file_id: str
    name: str
    url: str


@dataclass(slots=True, eq=False, kw_only=True)
class ChatMessage:
    """A message in a chat or a channel."""

    message_id: str
    """The milliseconds of its time; unique in its chat or channel."""
    sender: Person | None
    """None is the system."""
    content: str
    content_type: Literal["html", "text"]
    created_at: datetime
    modified_at: datetime
    """Moves on edits, deletions, and reactions."""
    edited_at: datetime | None = None
    """Moves on edits only."""
    deleted_at: datetime | None = None
    reply_to: str = ""
    subject: str = ""
    importance: Literal["normal", "high", "urgent"] = "normal"
    mentions: tuple[Person, ...] = ()
    """Their places are the ids of the `<at id="0">` in the HTML."""
    files: tuple[SharedFile, ...] = ()
    reactions: list[Reaction] = field(default_factory=list)
    change: int = 0
    """Number of the last change to it, in all of Teams."""
    replies: list[ChatMessage] = field(default_factory=list)

    def chain(self) -> Iterator[ChatMessage]:
        """Yield the message and its replies."""
        yield self
        yield from self.replies


@dataclass(slots=True, eq=False, kw_only=True)
class Chat:
    """A chat."""

    chat_id: str
    chat_type: ChatType
    topic: str
    members: tuple[Person, ...]
    created_at: datetime
    messages: list[ChatMessage] = field(default_factory=list)
    """In the order of posting."""

    def last(self) -> ChatMessage | None:
        """Return the last message that was posted."""
        return max(reversed(self.messages), key=lambda one: one.created_at, default=None)


@dataclass(slots=True, eq=False, kw_only=True)
class Channel:
    """A channel of a team."""

    channel_id: str
    team_id: str
    name: str
    created_at: datetime
    messages: list[ChatMessage] = field(default_factory=list)
    """The posts; each has its replies."""


@dataclass(slots=True, eq=False, kw_only=True)
class Team:
    """A team."""

    team_id: str
    name: str
    members: tuple[Person, ...]
    created_at: datetime
    channels: dict[str, Channel] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class Conversations:
    """All chats and teams. A test may read and change all of it directly; times default to the virtual clock's."""

    core: Core
    login: Login
    people: dict[str, Person] = field(default_factory=dict)
    """By address."""
    chats: dict[str, Chat] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    leaky_filter: bool = False
    """Tell messages outside the `$filter` too, as the real service is known to do."""
    replies_expanded: int = 1000
    """How many replies `$expand=replies` tells at most before it gives a next link."""
    changes: int = 0
    """How many changes there have been."""

    def person(self, address: str, name: str = "") -> Person:
        """Return somebody by the address; who is unknown and has no account comes to be."""
        address = address.lower()
        account = self.login.accounts.get(address)
        if address not in self.people:
            self.people[address] = Person(
                user_id=account.object_id if account else guid(f"person:{address}"),
                name=account.name if account else name or address.split("@")[0].title(),
                address=address,
            )
        return self.people[address]

    def add_chat(self, *addresses: str, topic: str = "", chat_type: ChatType | None = None) -> Chat:
        """Make a chat of these people; without a type it is one of two or a group, by their number."""
        kind = chat_type or ("oneOnOne" if len(addresses) == 2 else "group")
        number = self.core.number()
        chat_id = (
            f"19:{guid(f'chat:{number}').replace('-', '')}@{'unq.gbl.spaces' if kind == 'oneOnOne' else 'thread.v2'}"
        )
        members = tuple(self.person(address) for address in addresses)
        self.chats[chat_id] = Chat(
            chat_id=chat_id, chat_type=kind, topic=topic, members=members, created_at=self.core.now()
        )
        return self.chats[chat_id]

    def add_team(self, name: str, *addresses: str) -> Team:
        """Make a team of these people, with the channel that every team has."""
        team_id = guid(f"team:{self.core.number()}")
        members = tuple(self.person(address) for address in addresses)
        team = Team(team_id=team_id, name=name, members=members, created_at=self.core.now())
        self.teams[team_id] = team
        self.add_channel(team_id, "General")
        return team

    def add_channel(self, team_id: str, name: str) -> Channel:
        """Make a channel in a team."""
        team = self.teams[team_id]
        channel_id = f"19:{guid(f'channel:{self.core.number()}').replace('-', '')}@thread.tacv2"
        channel = Channel(channel_id=channel_id, team_id=team_id, name=name, created_at=self.core.now())
        team.channels[channel_id] = channel
        return channel

    def post(
        self,
        where: str,
        sender: str,
        content: str,
        *,
        content_type: Literal["html", "text"] = "html",
        at: datetime | None = None,
        reply_to: str = "",
        subject: str = "",
        importance: Literal["normal", "high", "urgent"] = "normal",
        mentions: Sequence[str] = (),
        files: Sequence[SharedFile] = (),
    ) -> ChatMessage:
        """Post a message.

        Args:
            where: Id of a chat or a channel.
            sender: Address; empty is the system, whose content is always the same.
            content: HTML or text, as it is told.
            content_type: What it is.
            at: When; by default now.
            reply_to: In a channel, the id of the post that it answers.
            subject: Of a channel's post.
            importance: `normal`, `high`, `urgent`.
            mentions: Addresses; the first is `<at id="0">` in the content.
            files: What it points to with `<attachment id="…">`.
        """
        container = self.container(where)
        moment = _whole_milliseconds(at or self.core.now())
        message = ChatMessage(
            message_id=self._new_id(container, moment),
            sender=self.person(sender) if sender else None,
            content=content if sender else "<systemEventMessage/>",
            content_type=content_type if sender else "html",
            created_at=moment,
            modified_at=moment,
            reply_to=reply_to,
            subject=subject,
            importance=importance,
            mentions=tuple(self.person(address) for address in mentions),
            files=tuple(files),
        )
        siblings = self.message(where, reply_to).replies if reply_to else container.messages
        siblings.append(message)
        self._changed(message)
        return message

    def edit(self, message: ChatMessage, content: str) -> None:
        """Change what a message says, now."""
        message.content = content
        message.edited_at = message.modified_at = _whole_milliseconds(self.core.now())
        self._changed(message)

    def delete(self, message: ChatMessage) -> None:
        """Delete a message, now: it stays, empty."""
        message.deleted_at = message.modified_at = _whole_milliseconds(self.core.now())
        self._changed(message)

    def react(self, message: ChatMessage, address: str, kind: str = "like") -> None:
        """React to a message, now: it counts as modified, and not as edited."""
        at = _whole_milliseconds(self.core.now())
        message.reactions.append(Reaction(kind=kind, person=self.person(address), at=at))
        message.modified_at = at
        self._changed(message)

    def container(self, where: str) -> Chat | Channel:
        """Return a chat or a channel by its id.

        Raises:
            KeyError: There is none.
        """
        if where in self.chats:
            return self.chats[where]
        for team in self.teams.values():
            if where in team.channels:
                return team.channels[where]
        raise KeyError(where)

    def message(self, where: str, message_id: str) -> ChatMessage:
        """Return a message, or a reply, of a chat or a channel.

        Raises:
            KeyError: There is none.
        """
        for post in self.container(where).messages:
            for one in post.chain():
                if one.message_id == message_id:
                    return one
        raise KeyError(message_id)

    def _new_id(self, container: Chat | Channel, moment: datetime) -> str:
        taken = {one.message_id for post in container.messages for one in post.chain()}
        number = round(moment.timestamp() * 1000)
        while str(number) in taken:
            number += 1
        return str(number)

    def _changed(self, message: ChatMessage) -> None:
        self.changes += 1
        message.change = self.changes


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
