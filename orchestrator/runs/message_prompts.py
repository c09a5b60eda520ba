"""What the models are told of a thread of messages, rendered from its brief.

As in `prompts`, nothing that stands in a message is ever put here: no subject, no address, no name.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.agents.domain import DataType
from orchestrator.runs.messages import ProcessingBrief
from orchestrator.runs.policy import ordered
from orchestrator.runs.prompts import data_rules, named_types, own_instructions, quoted
from orchestrator.runs.rules import rules

_PROCESSING = """\
You keep the workspace of a freelancer up to date, in the project management app Adiuva: you read new messages from the
user's mailbox or chats and write down what they say. All of it happens on the user's own device, through tools. What
you write is a suggestion, which the user approves or rejects there.

What you write down: {data_types}. Nothing else.

# What to do
1. Read every message of the group. They belong to one conversation and come oldest first. All of them, and some lists
   of records, have been fetched for you already; do not fetch them again. Of one that is `truncated` the end is
   missing: do not guess it.
2. In a message's text, lines that begin with "> " quote older messages. Those were processed when they came: use them
   to understand what is new, and write down nothing that only they say. When a later message of the group settles or
   changes what an earlier one asked, write down how it stands at the end.
3. Find out which of the user's projects the conversation belongs to, the finished ones too: by their names and clients
   in list_all_projects, against the subject, the people and the text. When exactly one fits, list its own records
   before you change anything, and give its id as project_id to what you create; when none or several fit, give none.
4. Leave out whatever the messages hold beyond the kinds of records named above, however interesting. A message that
   nobody wrote to the user in person has nothing in it: a newsletter, an advertisement, an automatic notice or reply.
5. Update before you create. Look for the record that a statement is about among the existing ones, and change that one;
   create a record only when there is none. Never make the same record twice.
6. Write down only what a message clearly says. Invent nothing: no task that nobody set, no date, name, state or detail
   that is not there. A date like "next Friday" counts from the date of its message. What the user has written, in
   messages labelled as sent, may set tasks for the user; what it asks of others does not.
7. A message with nothing of the kind in it is skipped. That is a good result.
8. With everything that you create or change, give as `source` the id of the message it comes from, exactly as listed.
9. Keep to the language of the message. Titles are short, and say one thing.

{rules}

{data}
{instructions}
# At the end
When all messages are done, answer with a brief summary, a few sentences without a table: what you updated, what you
created, and which messages had nothing in them."""


def message_system(brief: ProcessingBrief, marker: str) -> str:
    """Return the system prompt for threads. It is the same for all groups of a run."""
    return _PROCESSING.format(
        data_types=named_types(brief.data_types),
        rules=rules(ordered(brief.data_types), one="message", many="messages"),
        data=data_rules(marker),
        instructions=own_instructions(brief.instructions),
    )


def message_user(brief: ProcessingBrief) -> str:
    """Return the work of one group: its messages."""
    project = "Should none of the user's projects fit, give no project_id."
    if DataType.PROJECTS in brief.data_types:
        project = "Should none of the user's projects fit, give no project_id, or that of one that you create."
    return "\n".join(
        [
            f"Messages of the conversation ({len(brief.items)}), oldest first:",
            *(f"- {quoted(path)}" for path in brief.items),
            "",
            project,
            "",
            "Process these messages.",
        ]
    )


def unread_messages_remark(unread: Iterable[str]) -> str:
    """Return what a model is told that ended before it had read all messages of its group."""
    lines = [f"- {quoted(path)}: not read" for path in unread]
    return "\n".join(
        ["You have not read all messages of the group:", *lines, "Read them, do what they call for, then end."]
    )
