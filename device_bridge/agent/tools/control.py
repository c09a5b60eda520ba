"""Run control: what the orchestrator itself tells the device. Never shown to a model."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from device_bridge.agent import ledger
from device_bridge.agent.domain import EffectClass, JsonObject, Reason, ToolError, ToolSpec
from device_bridge.agent.policy import CONTROL, PROCESSING, TRIAGE, policy_from_arguments
from device_bridge.agent.sandbox.paths import normalise
from device_bridge.agent.tools.schemas import MAX_PATH, array, choice, closed, flag, integer, line, text
from device_bridge.agent.tools.tool import Change, Query
from device_bridge.agent.workspace import changes, processed, runs
from device_bridge.agent.workspace.store import stored_time
from device_bridge.agent.workspace.writing import Done, Writing

MAX_FILES_A_SCOPE = 5000
MAX_FILES_A_MARK = 1000

_NAME = line("A name.", max_length=100)
_PATH = line("A wire path.", max_length=MAX_PATH)
_COUNT = integer("A count.", minimum=0, maximum=10**12)


def _begin_run(writing: Writing, arguments: JsonObject) -> Done:
    recorded = runs.begin(
        writing.connection,
        writing.context,
        agent_name=arguments["agent_name"],
        trigger=arguments["trigger"],
        policy=policy_from_arguments(arguments),
        now=writing.now,
    )
    if not recorded:
        raise ToolError(Reason.POLICY_DENIED, "This phase and group of the run has another policy already.")
    return Done(result={})


def _mark_processed(writing: Writing, arguments: JsonObject) -> Done:
    files = [{**file, "path": normalise(file["path"])} for file in arguments["files"]]
    context = writing.context
    processed.mark(writing.connection, agent_key=context.agent_key, run_id=context.run_id, files=files)
    return Done(result={"marked": len(files)})


def _complete_run(writing: Writing, arguments: JsonObject) -> Done:
    connection = writing.connection
    runs.complete(
        connection,
        writing.context,
        state=arguments["state"],
        summary=arguments.get("summary", ""),
        counts=arguments["counts"],
        now=writing.now,
    )
    # The end of a run is when old ones are forgotten: often enough, and never in the way of a call.
    before = stored_time(datetime.fromisoformat(writing.now) - ledger.KEEP)
    ledger.prune(connection, before)
    runs.prune_policies(connection, before)
    return Done(result={"effects": changes.counts(connection, writing.context.run_id)})


def _get_call(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    outcome = ledger.recorded(connection, arguments["call_id"])
    return {"known": False} if outcome is None else {"known": True, **outcome}


CONTROL_TOOLS = (
    Query(
        spec=ToolSpec(
            name="get_call",
            description="Tell how an earlier call that could change something ended, for a caller that crashed.",
            toolset=CONTROL,
            effect=EffectClass.READ_ONLY,
            input_schema=closed(
                {"call_id": line("The id of the call.", max_length=200)},
                required=["call_id"],
            ),
        ),
        run=_get_call,
    ),
    Change(
        spec=ToolSpec(
            name="begin_run",
            description=(
                "Give the device the policy of one scope (phase and group) of a run. The first policy of a scope "
                "stands: the same again is fine, another is refused."
            ),
            toolset=CONTROL,
            effect=EffectClass.IDEMPOTENT,
            input_schema=closed(
                {
                    "phase": choice("Phase of the run.", [TRIAGE, PROCESSING]),
                    "group": text("Group within the phase; empty for none.", max_length=1000),
                    "agent_name": text("Name of the agent, for the user.", max_length=1000),
                    "trigger": text("What started the run.", max_length=100),
                    "tools": array(_NAME, "Names of the tools that may be called.", max_items=100),
                    "read_only": flag("Whether only reading is allowed."),
                    "directories": array(_PATH, "Folders of the agent.", max_items=100),
                    "files": {
                        **array(_PATH, "The group's files; null for no list.", max_items=MAX_FILES_A_SCOPE),
                        "type": ["array", "null"],
                    },
                    "data_types": array(_NAME, "tasks, notes, timelines, projects.", max_items=20),
                    "budgets": closed(
                        {
                            "max_calls": integer("Tool calls.", minimum=0, maximum=100_000),
                            "max_read_bytes": integer("Bytes of file text.", minimum=0, maximum=2**40),
                            "max_creates": integer("New records.", minimum=0, maximum=10_000),
                        },
                        required=["max_calls", "max_read_bytes", "max_creates"],
                    ),
                },
                required=[
                    "phase",
                    "group",
                    "agent_name",
                    "trigger",
                    "tools",
                    "read_only",
                    "directories",
                    "files",
                    "data_types",
                    "budgets",
                ],
            ),
        ),
        run=_begin_run,
    ),
    Change(
        spec=ToolSpec(
            name="mark_processed",
            description="Remember in which state files were processed, so that the agent's next run leaves them out.",
            toolset=CONTROL,
            effect=EffectClass.IDEMPOTENT,
            input_schema=closed(
                {
                    "files": array(
                        closed(
                            {
                                "path": _PATH,
                                "size_bytes": integer("Size in bytes.", minimum=0, maximum=2**62),
                                "mtime_ns": integer("Time in nanoseconds.", minimum=-(2**62), maximum=2**63 - 1),
                            },
                            required=["path", "size_bytes", "mtime_ns"],
                        ),
                        "As find_changed_files gave them.",
                        max_items=MAX_FILES_A_MARK,
                    )
                },
                required=["files"],
            ),
        ),
        run=_mark_processed,
    ),
    Change(
        spec=ToolSpec(
            name="complete_run",
            description="Close a run: no call of it is taken any more. Answers with what the device itself counted.",
            toolset=CONTROL,
            effect=EffectClass.IDEMPOTENT,
            input_schema=closed(
                {
                    "state": choice("How the run ended.", ["SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED"]),
                    "summary": text("For the user."),
                    "counts": {
                        "type": "object",
                        "maxProperties": 32,
                        "additionalProperties": {
                            "type": ["integer", "object"],
                            "minimum": 0,
                            "maximum": 10**12,
                            "maxProperties": 32,
                            "additionalProperties": _COUNT,
                        },
                        "description": "What the orchestrator counted: a number, or numbers by entity type.",
                    },
                },
                required=["state", "counts"],
            ),
        ),
        run=_complete_run,
    ),
)
