from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings

from adiuva.orchestrator.v1 import agent_pb2 as pb, agent_service_pb2 as service_pb
from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.conversion import (
    CATCH_UPS,
    DATA_TYPES,
    ON_OFFLINES,
    OVERLAPS,
    after_from_proto,
    agent_to_proto,
    definition_from_proto,
    definition_to_proto,
    firing_to_proto,
    request_hash,
    schedule_from_proto,
    schedule_to_proto,
    timestamp,
)
from orchestrator.agents.domain import (
    Agent,
    AgentDefinition,
    AgentView,
    Budgets,
    CatchUp,
    DataType,
    LocalDirectory,
    LostSlots,
    OnOffline,
    Overlap,
    Schedule,
)
from orchestrator.schedules.domain import Firing
from tests.orchestrator.agents.strategies import definitions
from tests.orchestrator.schedules.strategies import schedules

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(definitions)
def test_a_definition_survives_the_wire(definition: AgentDefinition) -> None:
    sent = definition_to_proto(definition).SerializeToString()

    assert definition_from_proto(pb.AgentDefinition.FromString(sent)) == definition


@settings(max_examples=50, deadline=None)
@given(schedules())
def test_a_schedule_survives_the_wire(schedule: Schedule) -> None:
    sent = schedule_to_proto(schedule).SerializeToString()

    assert schedule_from_proto(pb.Schedule.FromString(sent)) == schedule


@pytest.mark.parametrize(
    ("table", "names", "values"),
    [
        (DATA_TYPES, DataType, pb.DataType),
        (CATCH_UPS, CatchUp, pb.CatchUp),
        (OVERLAPS, Overlap, pb.Overlap),
        (ON_OFFLINES, OnOffline, pb.OnOffline),
    ],
    ids=["DataType", "CatchUp", "Overlap", "OnOffline"],
)
def test_every_enum_is_covered_both_ways(table: dict[object, int], names: type, values: object) -> None:
    assert set(table) == set(names)  # type: ignore[call-overload] # an Enum is iterable
    assert sorted(table.values()) == sorted(set(values.values()) - {0})  # type: ignore[attr-defined] # of the stubs


def test_what_is_unset_is_the_default() -> None:
    assert schedule_from_proto(pb.Schedule(cron="0 9 * * *")) == Schedule(cron="0 9 * * *", time_zone="UTC")

    local = pb.AgentDefinition(local_directory=pb.LocalDirectory(), budgets=pb.Budgets(max_creates=7))
    assert definition_from_proto(local).budgets == Budgets(max_creates=7)
    assert definition_to_proto(definition_from_proto(local)).budgets.max_model_calls == 200


def test_a_grace_of_nothing_is_not_the_same_as_none() -> None:
    schedule = schedule_from_proto(pb.Schedule(cron="0 9 * * *", grace=Duration()))

    assert schedule.grace == timedelta(0)


def test_paths_extensions_and_ids_are_made_normal() -> None:
    definition = definition_from_proto(
        pb.AgentDefinition(
            client_agent_id="0F8FAD5B-D9CB-469F-A165-70867728950E",
            local_directory=pb.LocalDirectory(directory_paths=["clients/acme/"], file_extensions=["MD", ".eml"]),
        )
    )

    assert definition.client_agent_id == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert definition.source == LocalDirectory(directory_paths=("clients/acme",), file_extensions=(".md", ".eml"))


def a_definition(**fields: object) -> pb.AgentDefinition:
    return pb.AgentDefinition(local_directory=pb.LocalDirectory(), **fields)  # type: ignore[arg-type] # of the contract


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.AgentDefinition(), "source"),
        (a_definition(data_types=[1, 0]), "data_types[1]"),
        (a_definition(data_types=[99]), "data_types[0]"),
        (a_definition(budgets=pb.Budgets(max_wall_time=Duration(seconds=10**15))), "budgets.max_wall_time"),
        (a_definition(budgets=pb.Budgets(max_wall_time=Duration(nanos=2 * 10**9))), "budgets.max_wall_time"),
    ],
)
def test_a_definition_that_the_domain_cannot_express_is_refused_by_its_field(
    message: pb.AgentDefinition, field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        definition_from_proto(message)

    assert refused.value.field == f"definition.{field}"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.Schedule(catch_up=99), "catch_up"),  # type: ignore[arg-type] # from a newer peer
        (pb.Schedule(overlap=99), "overlap"),  # type: ignore[arg-type]
        (pb.Schedule(on_offline=99), "on_offline"),  # type: ignore[arg-type]
        (pb.Schedule(jitter=Duration(seconds=2**62)), "jitter"),
        (pb.Schedule(grace=Duration(seconds=-(2**62))), "grace"),
        (pb.Schedule(start_time=Timestamp(seconds=2**62)), "start_time"),
        (pb.Schedule(end_time=Timestamp(nanos=-1)), "end_time"),
    ],
)
def test_a_schedule_that_the_domain_cannot_express_is_refused_by_its_field(message: pb.Schedule, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        schedule_from_proto(message)

    assert refused.value.field == f"schedule.{field}"


@pytest.mark.parametrize("seconds", [-(2**62), 2**62])
def test_a_preview_after_an_impossible_time_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidArgument) as refused:
        after_from_proto(service_pb.PreviewScheduleRequest(after=Timestamp(seconds=seconds)))

    assert refused.value.field == "after"


def test_an_agent_is_shown_with_all_that_is_known_of_it() -> None:
    agent = Agent(
        agent_id="a",
        user_id="anna",
        definition=AgentDefinition(
            display_name="Clients", source=LocalDirectory(directory_paths=("c",)), data_types=frozenset()
        ),
        schedule=Schedule(cron="0 9 * * *"),
        etag="e",
        created_at=NOON,
        updated_at=NOON + timedelta(hours=1),
        last_run_at=NOON + timedelta(hours=2),
        paused=True,
        pause_reason="Holidays",
        waits_for_device=True,
        missed=LostSlots(count=3, last_reason="COALESCED", last_slot=NOON),
        failures_in_a_row=2,
    )

    message = agent_to_proto(AgentView(agent=agent, next_run_at=NOON + timedelta(days=1), schedule_problem="cron: no"))

    assert all(message.HasField(name) for name in ("definition", "schedule", "last_run_at", "next_run_at"))
    assert {field.name for field, _ in message.ListFields()} == set(pb.Agent.DESCRIPTOR.fields_by_name)
    assert (message.missed.count, message.missed.last_reason, message.missed.last_slot_time) == (
        3,
        "COALESCED",
        timestamp(NOON),
    )
    assert not message.skipped.HasField("last_slot_time")
    assert message.next_run_at.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=1)


def test_what_an_agent_does_not_have_is_unset() -> None:
    agent = Agent(
        agent_id="a",
        user_id="anna",
        definition=AgentDefinition(
            display_name="C", source=LocalDirectory(directory_paths=("c",)), data_types=frozenset()
        ),
        schedule=None,
        etag="e",
        created_at=NOON,
        updated_at=NOON,
    )

    message = agent_to_proto(AgentView(agent=agent, next_run_at=None, schedule_problem=""))

    assert not any(message.HasField(name) for name in ("schedule", "last_run_at", "next_run_at"))


def test_a_firing_is_shown_in_utc_and_in_its_zone() -> None:
    local = datetime.fromisoformat("2026-03-29T03:00:00+02:00")

    message = firing_to_proto(Firing(slot=local.astimezone(UTC), time=local.astimezone(UTC), local_time=local))

    assert message.time.ToDatetime(tzinfo=UTC) == local
    assert message.local_time == "2026-03-29T03:00:00+02:00"


def test_a_request_has_one_hash_and_another_request_another() -> None:
    pause = service_pb.PauseAgentRequest(request_id="r", agent_id="a")

    assert request_hash(pause) == request_hash(service_pb.PauseAgentRequest.FromString(pause.SerializeToString()))
    assert request_hash(pause) != request_hash(service_pb.ResumeAgentRequest(request_id="r", agent_id="a"))
    assert request_hash(pause) != request_hash(service_pb.PauseAgentRequest(request_id="r", agent_id="b"))
