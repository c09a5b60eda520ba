"""The conversation about a group: of files, or of messages."""

from __future__ import annotations

from functools import partial

from orchestrator.runs.domain import Group, Phase
from orchestrator.runs.loop import Talk
from orchestrator.runs.mail import READ_MESSAGE_TOOL
from orchestrator.runs.message_prompts import message_system, message_user, unread_messages_remark
from orchestrator.runs.messages import ProcessingBrief
from orchestrator.runs.policy import offered_tools
from orchestrator.runs.prefetch import prepared_requests
from orchestrator.runs.progress import Conversation
from orchestrator.runs.prompts import processing_system, processing_user, unread_remark
from orchestrator.runs.reading import look_at_reading
from orchestrator.runs.workbench import Workbench

MAX_REMARKS = 1


def file_talk(bench: Workbench, group: Group) -> Talk:
    """Return the conversation that is to be held about a group of files."""
    definition = bench.run.definition
    projects = (project for project in bench.progress.projects if project.project_id == group.project_id)
    brief = ProcessingBrief(
        items=tuple(item.path for item in group.items),
        data_types=definition.data_types,
        project=next(projects, None),
        title=group.title,
        instructions=definition.prompt_template,
    )
    tools = offered_tools(Phase.PROCESSING, definition.data_types, bench.tools)
    return Talk(
        conversation=group.group_id,
        phase=Phase.PROCESSING,
        group=group.group_id,
        system=processing_system(brief, bench.progress.data_marker),
        user=processing_user(brief),
        brief=brief,
        tools=tools,
        max_steps=bench.limits.processing_steps,
        prepared=prepared_requests(group, definition.data_types, tools),
        review=partial(_review, group),
        max_remarks=MAX_REMARKS,
    )


def message_talk(bench: Workbench, group: Group) -> Talk:
    """Return the conversation that is to be held about messages of a thread, which the run gives it itself."""
    definition = bench.run.definition
    brief = ProcessingBrief(
        items=tuple(item.path for item in group.items),
        data_types=definition.data_types,
        project=None,
        title="",
        instructions=definition.prompt_template,
        messages=True,
    )
    tools = (READ_MESSAGE_TOOL, *offered_tools(Phase.PROCESSING, definition.data_types, bench.tools, files=False))
    return Talk(
        conversation=group.group_id,
        phase=Phase.PROCESSING,
        group=group.group_id,
        system=message_system(brief, bench.progress.data_marker),
        user=message_user(brief),
        brief=brief,
        tools=tools,
        max_steps=bench.limits.processing_steps,
        prepared=prepared_requests(group, definition.data_types, tools),
        own_tools={READ_MESSAGE_TOOL.name: partial(bench.mail.answer, group)},
        review=partial(_review_messages, group),
        max_remarks=MAX_REMARKS,
    )


def _review(group: Group, _text: str, conversation: Conversation) -> str:
    reading = look_at_reading(group.items, conversation)
    if not reading.unread and not reading.unfinished:
        return ""
    return unread_remark(reading.unread, reading.unfinished)


def _review_messages(group: Group, _text: str, conversation: Conversation) -> str:
    unread = look_at_reading(group.items, conversation).unread
    return unread_messages_remark(unread) if unread else ""
