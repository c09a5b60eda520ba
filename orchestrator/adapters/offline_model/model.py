"""The offline model: what it answers follows from the question alone."""

from __future__ import annotations

import asyncio

from orchestrator.adapters.offline_model.conversation import Conversation
from orchestrator.adapters.offline_model.processing import next_calls
from orchestrator.adapters.offline_model.summary import summary
from orchestrator.adapters.offline_model.triage import triage_answer
from orchestrator.runs.messages import ModelAnswer, ModelRequest, TriageBrief

NAME = "offline"


class OfflineModel:
    """The port `runs.ports.Model`. It keeps nothing between questions and uses no network, clock or randomness."""

    @property
    def name(self) -> str:
        """What the run's record calls it."""
        return NAME

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Return what the rules say to do next, or the last word. Never fails.

        Long texts take a while, so the work is done in a thread.
        """
        return await asyncio.to_thread(_answer, request)


def _answer(request: ModelRequest) -> ModelAnswer:
    if isinstance(request.brief, TriageBrief):
        return ModelAnswer(text=triage_answer(request.brief), tool_requests=(), model=NAME)
    conversation = Conversation(request.messages)
    calls = next_calls(conversation, request.brief, frozenset(spec.name for spec in request.tools))
    if calls:
        return ModelAnswer(text="", tool_requests=conversation.requests(calls), model=NAME)
    return ModelAnswer(text=summary(conversation, request.brief), tool_requests=(), model=NAME)
