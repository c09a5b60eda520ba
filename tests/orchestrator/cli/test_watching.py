"""What is told of a run while it goes on."""

from __future__ import annotations

from adiuva.orchestrator.v1 import run_pb2 as pb
from orchestrator.cli.runs import run_table
from orchestrator.cli.watching import Seen


def test_reading_messages_is_reading() -> None:
    seen = Seen()
    seen.take(pb.RunEvent(items_found=pb.ItemsFound(count=3)))
    seen.take(pb.RunEvent(group_started=pb.GroupStarted(group="g1", title="Conversation 1")))
    seen.take(pb.RunEvent(tool_answered=pb.ToolAnswered(group="g1", tool="read_message")))

    assert (seen.found, seen.line()) == (3, "reading Conversation 1")


def test_a_run_over_messages_counts_messages() -> None:
    run = pb.Run(run_id="r", counts=pb.RunCounts(items_found=4, items_processed=3))
    run.definition.cloud_connector.connection_id = "c1"

    labels = list(run_table(run).columns[0].cells)

    assert "messages" in labels
    assert "files" not in labels
