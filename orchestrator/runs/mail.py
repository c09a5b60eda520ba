"""The messages of a run in its own hands, and the tool that gives them to a model: the run answers it by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC

from orchestrator.runs.domain import EffectClass, Group, JsonObject, ToolFailure, ToolOutcome, ToolSpec
from orchestrator.runs.incoming import IncomingMessage, Participant
from orchestrator.runs.progress import READ_MESSAGE, Conversation

MAX_SUBJECT_CHARS = 1_000
MAX_PEOPLE = 30
"""Of the recipients that are named; mails to many name hundreds."""
MAX_ATTACHMENTS = 50
MAX_LABELS = 20
MAX_ID_CHARS = 1_024

GONE = "NOT_FOUND"
"""The failure of a message that its mailbox does not hold any more."""

READ_MESSAGE_TOOL = ToolSpec(
    name=READ_MESSAGE,
    description=(
        "Give one of the group's messages: who wrote it to whom, when, its subject, its text and the names of what is "
        'attached. Lines of the text that begin with "> " quote older messages.'
    ),
    toolset="messages",
    effect=EffectClass.READ_ONLY,
    input_schema={
        "type": "object",
        "properties": {
            "message_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_ID_CHARS,
                "description": "The message, exactly as listed.",
            }
        },
        "required": ["message_id"],
        "additionalProperties": False,
    },
)


class Mail:
    """Messages that were fetched, by their ids."""

    def __init__(self, messages: Mapping[str, IncomingMessage]) -> None:
        self._messages = messages

    def answer(
        self, group: Group, arguments: JsonObject, conversation: Conversation, place: tuple[int, int]
    ) -> ToolOutcome:
        """Return the answer of `read_message`. A conversation is given each text once.

        Args:
            group: Only its messages are given.
            arguments: Of the call.
            conversation: So far; what was asked before `place` is not given again.
            place: The step of the conversation, and the call's index in it.
        """
        path = arguments.get("message_id")
        if path not in {item.path for item in group.items}:
            return _failed("INVALID_ARGUMENT", "message_id: must be one of the group's messages, exactly as listed.")
        for step, index in _asked(conversation, path):
            if (step, index) < place:
                before = conversation.steps[step].outcomes.get(index)
                if before is not None and before.failure is not None:
                    return before
                return ToolOutcome(result_json=json.dumps({"message_id": path, "given_before": True}))
        message = self._messages.get(path)
        if message is None:
            return _failed(GONE, "This message is gone from the mailbox.")
        return ToolOutcome(result_json=json.dumps(message_json(path, message), ensure_ascii=False))


def read_before(conversation: Conversation) -> set[str]:
    """Return the ids of the messages that the conversation holds an answer for."""
    answered: set[str] = set()
    for number, step in conversation.steps.items():
        for index, request in enumerate(step.answer.tool_requests):
            if request.name == READ_MESSAGE and index in conversation.steps[number].outcomes:
                answered.add(_message_id(request.arguments_json))
    return answered


def message_json(path: str, message: IncomingMessage) -> JsonObject:
    """Return a message as a model is given it."""
    people = [*message.to, *message.cc]
    result: JsonObject = {
        "message_id": path,
        "from": _person(message.sender),
        "to": [_person(person) for person in message.to[:MAX_PEOPLE]],
        "cc": [_person(person) for person in message.cc[:MAX_PEOPLE]],
        "date": "" if message.received_at is None else message.received_at.astimezone(UTC).isoformat(),
        "subject": message.subject[:MAX_SUBJECT_CHARS],
        "text": marked_text(message),
        "attachments": [
            {"name": file.name, "media_type": file.media_type, "size_bytes": file.size_bytes}
            for file in message.attachments
            if not file.inline
        ][:MAX_ATTACHMENTS],
        "labels": list(message.labels[:MAX_LABELS]),
        "truncated": message.truncated,
        "full_chars": message.full_chars,
    }
    left_out = len(people) - len(result["to"]) - len(result["cc"])
    return result | ({"more_recipients": left_out} if left_out else {})


def marked_text(message: IncomingMessage) -> str:
    """Return the whole text, with `> ` before the lines that quote older messages."""
    if not message.quoted or message.new_text == message.text:
        return message.text
    own = [line.strip() for line in message.new_text.splitlines() if line.strip()]
    lines: list[str] = []
    taken = 0
    for line in message.text.splitlines():
        if taken < len(own) and line.strip() == own[taken]:
            taken += 1
            lines.append(line)
        else:
            lines.append(_quote(line))
    if taken < len(own):
        # The lines of the two do not fit together: what is new comes first then, and all of it once more as quoted.
        lines = [message.new_text, "", *map(_quote, message.text.splitlines())]
    return "\n".join(lines)


def own_text(text: str) -> str:
    """Return a text that `marked_text` made without what it quotes."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(">"))


def _quote(line: str) -> str:
    return line if not line.strip() or line.startswith(">") else f"> {line}"


def _asked(conversation: Conversation, path: str) -> Iterator[tuple[int, int]]:
    """Yield the places where the conversation asks for a message, in order."""
    for number in sorted(conversation.steps):
        for index, request in enumerate(conversation.steps[number].answer.tool_requests):
            if request.name == READ_MESSAGE and _message_id(request.arguments_json) == path:
                yield number, index


def _message_id(arguments_json: str) -> str:
    try:
        arguments = json.loads(arguments_json)
    except (ValueError, RecursionError):
        return ""
    found = arguments.get("message_id") if isinstance(arguments, dict) else None
    return found if isinstance(found, str) else ""


def _person(person: Participant) -> JsonObject:
    return {"name": person.name, "address": person.address}


def _failed(reason: str, message: str) -> ToolOutcome:
    return ToolOutcome(failure=ToolFailure(reason=reason, message=message))


def missing_texts(items: Iterable[str], conversation: Conversation | None) -> set[str]:
    """Return the messages of a group that its conversation has no answer for yet."""
    return set(items) - (read_before(conversation) if conversation is not None else set())
