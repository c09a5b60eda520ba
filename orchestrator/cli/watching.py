"""A run as it goes, on a terminal: one bar for the files, one line for what is being done."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import grpc
import grpc.aio
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from adiuva.orchestrator.v1 import run_pb2, run_service_pb2 as pb, run_service_pb2_grpc as pb_grpc
from orchestrator.cli.options import printable

RECONNECT_SECONDS = 1.0
RECONNECT_ATTEMPTS = 60
TERMINAL = frozenset(
    {run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_PARTIAL, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED}
)


@dataclass(slots=True)
class Seen:
    """What a watcher has learnt from a run's events."""

    found: int = 0
    processed: int = 0
    groups: dict[str, str] = field(default_factory=dict)
    finished_groups: int = 0
    doing: str = "waiting for a worker"
    made: Counter[str] = field(default_factory=Counter)

    def take(self, event: run_pb2.RunEvent) -> None:
        """Take in one event."""
        match event.WhichOneof("event"):
            case "state_changed":
                self.doing = {
                    run_pb2.RUN_PHASE_TRIAGE: "looking for what changed",
                    run_pb2.RUN_PHASE_PROCESSING: "reading",
                    run_pb2.RUN_PHASE_FINISHING: "closing the books",
                }.get(event.state_changed.phase, self.doing)
            case "items_found":
                self.found = event.items_found.count
                self.doing = "sorting what is new"
            case "group_started":
                self.groups[event.group_started.group] = event.group_started.title
            case "model_called":
                self.doing = f"thinking about {self.groups.get(event.model_called.group) or 'what is new'}"
            case "tool_answered":
                self._took_effect(event.tool_answered)
            case "item_processed":
                self.processed += 1
            case "group_finished":
                self.finished_groups += 1
            case _:
                pass

    def _took_effect(self, answered: run_pb2.ToolAnswered) -> None:
        where = self.groups.get(answered.group, "")
        if answered.effects:
            self.doing = f"writing {answered.effects[0].title}"
        elif answered.tool in {"read_file_content", "read_message"}:
            self.doing = f"reading {where}" if where else "reading"
        for effect in answered.effects:
            self.made[effect.entity_type] += effect.kind == "CREATED"

    def line(self) -> str:
        """Return what is being done, for one line of a terminal."""
        made = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.made.items()) if count)
        text = f"{self.doing} ({made})" if made else self.doing
        return printable(text)[:70]


async def watch(channel: grpc.aio.Channel, run_id: str, console: Console) -> run_pb2.Run:
    """Show a run until it is terminal, and return it. A lost connection is taken up again where it broke."""
    stub = pb_grpc.RunServiceStub(channel)
    seen = Seen()
    seq = 0
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(seen.line(), total=None)
        attempts = 0
        while attempts < RECONNECT_ATTEMPTS:
            stream = stub.WatchRun(pb.WatchRunRequest(run_id=run_id, after_seq=seq))
            try:
                async for response in stream:
                    attempts = 0
                    seq = response.event.seq
                    seen.take(response.event)
                    progress.update(
                        task, description=escape(seen.line()), completed=seen.processed, total=seen.found or None
                    )
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                attempts += 1
                await asyncio.sleep(RECONNECT_SECONDS)
    return (await stub.GetRun(pb.GetRunRequest(run_id=run_id))).run
