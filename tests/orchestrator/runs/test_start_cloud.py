"""StartRun for messages: of an inline definition, as it comes over the wire."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import agent_pb2, run_pb2, run_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import Caller, Role, acting_as
from orchestrator.agents.domain import CloudConnector, MessageFilter
from orchestrator.runs.domain import Run, RunState
from orchestrator.runs.ports import NewRun, Runs
from orchestrator.runs.service import RunService
from orchestrator.runs.servicer import RunServicer
from tests.fakes.journals import STARTED_AT, InMemoryJournals

ADA = Caller(role=Role.USER, name="ada", user_id="ada")
CLIENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOTHING: Any = None
"""Stands for what these calls do not touch."""


@dataclass
class Started:
    """Keeps the runs that were created."""

    new: list[NewRun] = field(default_factory=list)

    async def start(self, new: NewRun) -> Run:
        self.new.append(new)
        return Run(
            run_id=str(uuid.uuid4()),
            user_id=new.user_id,
            agent_id=new.agent_id,
            definition=new.definition,
            trigger=new.trigger,
            state=RunState.QUEUED,
            created_at=STARTED_AT,
        )


def definition(**fields: Any) -> agent_pb2.AgentDefinition:
    wanted = message_pb2.MessageFilter(senders=["@acme.example"], unread_only=True)
    given: dict[str, Any] = {
        "display_name": "Mail",
        "client_agent_id": CLIENT_ID,
        "cloud_connector": agent_pb2.CloudConnector(connection_id="c1", filter=wanted),
        "data_types": [agent_pb2.DATA_TYPE_TASKS],
        **fields,
    }
    return agent_pb2.AgentDefinition(**given)


async def start(started: Started, of: agent_pb2.AgentDefinition, *, validate_only: bool = False) -> run_pb2.Run:
    runs = cast("Runs", started)
    service = RunService(runs=runs, reports=NOTHING, journals=InMemoryJournals(), agents=NOTHING, bell=NOTHING)
    request = pb.StartRunRequest(request_id=str(uuid.uuid4()), definition=of, validate_only=validate_only)
    with acting_as(ADA):
        return (await RunServicer(service).StartRun(request, NOTHING)).run


async def test_a_run_of_an_inline_definition_is_created() -> None:
    started = Started()

    run = await start(started, definition())

    assert run.definition.cloud_connector == definition().cloud_connector
    (new,) = started.new
    assert new.definition.source == CloudConnector(
        connection_id="c1", filter=MessageFilter(senders=("@acme.example",), unread_only=True)
    )
    assert new.definition.client_agent_id == CLIENT_ID


async def test_it_can_be_checked_without_being_started() -> None:
    started = Started()

    run = await start(started, definition(), validate_only=True)

    assert run.run_id == ""
    assert run.definition.cloud_connector.connection_id == "c1"
    assert started.new == []


@pytest.mark.parametrize(
    ("fields", "field_name"),
    [
        ({"client_agent_id": ""}, "definition.client_agent_id"),
        ({"cloud_connector": agent_pb2.CloudConnector()}, "definition.cloud_connector.connection_id"),
        (
            {
                "cloud_connector": agent_pb2.CloudConnector(
                    connection_id="c1", filter=message_pb2.MessageFilter(recipients=["nobody"])
                )
            },
            "definition.cloud_connector.filter.recipients[0]",
        ),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
async def test_what_is_wrong_is_refused_by_its_field(
    fields: dict[str, Any], field_name: str, validate_only: bool
) -> None:
    started = Started()

    with pytest.raises(InvalidArgument) as refused:
        await start(started, definition(**fields), validate_only=validate_only)

    assert refused.value.field == field_name
    assert started.new == []
