"""Finds tasks, milestones and meeting notes in a text, by rules alone: no I/O, no clock, nothing invented."""

from orchestrator.adapters.offline_model.extraction.extract import MAX_ITEMS, extract
from orchestrator.adapters.offline_model.extraction.items import Extraction, Milestone, Note, Task
from orchestrator.adapters.offline_model.extraction.message import Message, extract_message
from orchestrator.adapters.offline_model.extraction.titles import title_key

__all__ = [
    "MAX_ITEMS",
    "Extraction",
    "Message",
    "Milestone",
    "Note",
    "Task",
    "extract",
    "extract_message",
    "title_key",
]
