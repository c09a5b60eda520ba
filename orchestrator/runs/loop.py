"""The loop: ask the model, run the tool calls that it asks for, ask again, until it has said its last word.

How far a conversation is stands in the journal alone. `converse` looks at what is there and does what comes next, so
going on after a crash is the same as going on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from adiuva_rpc.failpoints import failpoint
from orchestrator.runs.arguments import BadArguments, canonical_json, check_arguments, parse_arguments
from orchestrator.runs.call_ids import call_id
from orchestrator.runs.domain import (
    BudgetExceeded,
    EffectClass,
    JsonObject,
    Phase,
    ToolFailure,
    ToolOutcome,
    ToolSpec,
)
from orchestrator.runs.events import ConversationStarted, ModelAnswered, ModelCalled, ToolAnswered, ToolCalled
from orchestrator.runs.messages import Brief, Message, ModelAnswer, ModelRequest, ToolRequest, User
from orchestrator.runs.progress import Conversation, Step
from orchestrator.runs.together import together
from orchestrator.runs.workbench import Workbench

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Review = Callable[[str, Conversation], str]
"""Returns what is wrong with a final text, as a remark for the model; empty when it is fine."""


OwnTool = Callable[[JsonObject, Conversation, tuple[int, int]], ToolOutcome]
"""Answers a call that is not for the device: from its checked arguments, what was said before, and its place."""


def accept(_text: str, _conversation: Conversation) -> str:
    """Accept any final text."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation that is to be held.

    Everything here follows from the run's definition and its journal: a takeover makes the same one again.
    """

    conversation: str
    """Its name in the journal, and the group in its call ids."""
    phase: Phase
    group: str
    """The scope of its tool calls on the device; empty for triage."""
    system: str = field(repr=False)
    user: str = field(repr=False)
    brief: Brief
    tools: tuple[ToolSpec, ...]
    """What the model may call."""
    max_steps: int
    """How many of its calls may ask for tools."""
    prepared: tuple[ToolRequest, ...] = ()
    """Tool calls made before the model is first asked."""
    own_tools: Mapping[str, OwnTool] = field(default_factory=dict)
    """Those of `tools` that the run answers itself."""
    response_schema: Mapping[str, Any] | None = None
    review: Review = accept
    max_remarks: int = 0
    """How often a final text may be sent back."""


async def converse(bench: Workbench, talk: Talk) -> str:
    """Hold a conversation to its end, from wherever it stands, and return the model's final text.

    Raises:
        ModelFault: the model did not answer.
        BudgetExceeded: a limit of the run is reached.
        DeviceOffline, DeviceUnknown: the device is gone.
        RunCancelled: the run is to end.
        WorkerStopped: this worker is not the run's any more.
    """
    if talk.conversation not in bench.progress.conversations:
        await bench.journal.append(
            ConversationStarted(
                conversation=talk.conversation, system=talk.system, user=talk.user, prepared=talk.prepared
            )
        )
    conversation = bench.progress.conversations[talk.conversation]
    while True:
        number = max(conversation.steps)
        await _run_tools(bench, talk, number, conversation.steps[number])
        question = _next_question(talk, conversation, number)
        if question is None:
            return conversation.steps[number].answer.text
        await _ask(bench, talk, conversation, question)


def _next_question(talk: Talk, conversation: Conversation, number: int) -> ModelCalled | None:
    """Return the model call that follows a step whose tool calls are all answered; None when it was the last word."""
    answer = conversation.steps[number].answer
    following = number + 1
    if number == 0 or answer.tool_requests:
        kind = "step" if following <= talk.max_steps else "last"
        return ModelCalled(conversation=talk.conversation, step=following, kind=kind)
    remarks = sum(bool(step.remark) for step in conversation.steps.values())
    remark = talk.review(answer.text, conversation) if remarks < talk.max_remarks else ""
    if not remark:
        return None
    return ModelCalled(conversation=talk.conversation, step=following, kind="again", remark=remark)


async def _ask(bench: Workbench, talk: Talk, conversation: Conversation, question: ModelCalled) -> None:
    tools = talk.tools if question.step <= talk.max_steps else ()
    remark: tuple[Message, ...] = (User(question.remark),) if question.remark else ()
    request = ModelRequest(
        messages=(*conversation.messages(), *remark),
        tools=tools,
        brief=talk.brief,
        data_marker=bench.progress.data_marker,
        response_schema=talk.response_schema,
    )
    with bench.budget.model_call():
        await bench.journal.append(question)
    failpoint("orchestrator.before_model_call")
    asked_at = bench.clock()
    answer = await bench.cancellation.interrupt(partial(bench.model.answer, request))
    seconds = max(0.0, (bench.clock() - asked_at).total_seconds())
    failpoint("orchestrator.after_model_answer")
    await bench.journal.append(
        ModelAnswered(
            conversation=talk.conversation,
            step=question.step,
            text=_storable(answer.text),
            # What a model asks for without having been offered tools is nothing that could be answered.
            tool_requests=_paired(answer, talk.conversation, question.step) if tools else (),
            model=answer.model,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            attempts=answer.attempts,
            seconds=seconds,
        )
    )


def _paired(answer: ModelAnswer, conversation: str, step: int) -> tuple[ToolRequest, ...]:
    """Return the requests with ids that pair each with its answer; some models leave them empty or use one twice."""
    ids = [_storable(request.request_id) for request in answer.tool_requests]
    if not all(ids) or len(set(ids)) < len(ids):
        ids = [f"{conversation}-{step}-{index}" for index in range(len(ids))]
    return tuple(
        ToolRequest(
            request_id=request_id, name=_storable(request.name), arguments_json=_storable(request.arguments_json)
        )
        for request_id, request in zip(ids, answer.tool_requests, strict=True)
    )


def _storable(text: str) -> str:
    """Return a model's text without halves of surrogate pairs, which no journal can hold."""
    return text.encode("utf-8", "replace").decode()


async def _run_tools(bench: Workbench, talk: Talk, number: int, step: Step) -> None:
    """Answer the requests of a step that have no outcome yet: neighbouring reads together, all else one by one."""
    for indexes in _in_order(bench, step.answer.tool_requests):
        calls = [
            partial(_answer_request, bench, talk, number, index, step.answer.tool_requests[index])
            for index in indexes
            if index not in step.outcomes
        ]
        await together(calls, at_most=bench.limits.calls_in_flight)
    for outcome in step.outcomes.values():
        if outcome.failure is not None and outcome.failure.reason == BudgetExceeded.reason:
            raise BudgetExceeded("The run reached the limit that the device keeps for it.")


def _in_order(bench: Workbench, requests: Sequence[ToolRequest]) -> Iterator[list[int]]:
    reads: list[int] = []
    for index, request in enumerate(requests):
        spec = bench.tools.get(request.name)
        if spec is None or spec.effect is EffectClass.READ_ONLY:
            reads.append(index)
            continue
        if reads:
            yield reads
        yield [index]
        reads = []
    if reads:
        yield reads


async def _answer_request(bench: Workbench, talk: Talk, step: int, index: int, request: ToolRequest) -> None:
    place = call_id(bench.run.run_id, talk.phase.value, talk.conversation, step, index)
    answered = partial(
        ToolAnswered,
        conversation=talk.conversation,
        step=step,
        index=index,
        call_id=place,
        tool=request.name if _TOOL_NAME.fullmatch(request.name) else "unnamed",
    )
    arguments_json = _sendable(bench, talk, request)
    if isinstance(arguments_json, ToolFailure):
        await bench.journal.append(answered(outcome=ToolOutcome(failure=arguments_json), sent=False))
        return
    own = talk.own_tools.get(request.name)
    with bench.budget.tool_call(request.name):
        if own is not None:
            conversation = bench.progress.conversations[talk.conversation]
            outcome = own(parse_arguments(arguments_json), conversation, (step, index))
            await bench.journal.append(answered(outcome=outcome, sent=False))
            return
        await bench.journal.append(
            ToolCalled(conversation=talk.conversation, step=step, index=index, call_id=place, tool=request.name)
        )
        failpoint("orchestrator.before_tool_call")
        outcome = await bench.send(request.name, arguments_json, call_id=place, phase=talk.phase, group=talk.group)
        failpoint("orchestrator.after_tool_answer")
        await bench.journal.append(answered(outcome=outcome))


def _sendable(bench: Workbench, talk: Talk, request: ToolRequest) -> str | ToolFailure:
    """Return the arguments as they are sent, or why the call is answered without being sent."""
    spec = next((spec for spec in talk.tools if spec.name == request.name), None)
    if spec is None:
        known = request.name in bench.tools
        return ToolFailure(
            reason="POLICY_DENIED" if known else "UNKNOWN_TOOL",
            message=f"{'That tool is not open here' if known else 'There is no such tool'}. Use one of: "
            f"{', '.join(spec.name for spec in talk.tools)}.",
        )
    try:
        arguments = parse_arguments(request.arguments_json)
        check_arguments(arguments, spec.input_schema)
    except BadArguments as problem:
        return ToolFailure(reason="INVALID_ARGUMENT", message=str(problem))
    return canonical_json(arguments)
