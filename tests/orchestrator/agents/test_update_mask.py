from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import agent_pb2 as pb, agent_service_pb2 as service_pb
from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.conversion import edit_from_proto
from orchestrator.agents.domain import (
    AgentDefinition,
    Budgets,
    CatchUp,
    CloudConnector,
    DataType,
    LocalDirectory,
    MessageFilter,
    Schedule,
)

LOCAL = LocalDirectory(directory_paths=("clients",), device_id="laptop", file_extensions=(".md",))
DEFINITION = AgentDefinition(
    display_name="Clients",
    source=LOCAL,
    data_types=frozenset({DataType.TASKS}),
    prompt_template="Be brief.",
    budgets=Budgets(max_tokens=5, max_creates=6),
)
SCHEDULE = Schedule(cron="0 9 * * *", time_zone="Europe/Rome", jitter=timedelta(minutes=3))


def edited(
    *paths: str, definition: pb.AgentDefinition | None = None, current: AgentDefinition = DEFINITION
) -> AgentDefinition:
    request = service_pb.UpdateAgentRequest(definition=definition, update_mask=FieldMask(paths=paths))
    edit = edit_from_proto(request).definition
    assert edit is not None
    return edit(current)


def edited_schedule(
    *paths: str, schedule: pb.Schedule | None = None, current: Schedule | None = SCHEDULE
) -> Schedule | None:
    request = service_pb.UpdateAgentRequest(schedule=schedule, update_mask=FieldMask(paths=paths))
    edit = edit_from_proto(request).schedule
    assert edit is not None
    return edit(current)


def test_only_the_fields_that_are_named_change() -> None:
    new = pb.AgentDefinition(display_name="New", prompt_template="Be kind.", budgets=pb.Budgets(max_tokens=9))

    assert edited("definition.prompt_template", definition=new) == replace(DEFINITION, prompt_template="Be kind.")
    assert edited("definition.display_name", "definition.budgets.max_tokens", definition=new) == replace(
        DEFINITION, display_name="New", budgets=Budgets(max_tokens=9, max_creates=6)
    )


@pytest.mark.parametrize("definition", [pb.AgentDefinition(), None], ids=["empty", "unset"])
def test_a_field_that_is_named_and_not_set_is_cleared(definition: pb.AgentDefinition | None) -> None:
    assert edited("definition.prompt_template", definition=definition).prompt_template == ""
    assert edited("definition.data_types", definition=definition).data_types == frozenset()
    assert edited("definition.budgets.max_tokens", definition=definition).budgets == Budgets(max_creates=6)
    assert edited("definition.budgets", definition=definition).budgets == Budgets()
    assert edited("definition.local_directory.device_id", definition=definition).source == replace(LOCAL, device_id="")


def test_a_list_is_replaced_as_a_whole() -> None:
    new = pb.AgentDefinition(
        data_types=[pb.DATA_TYPE_NOTES], local_directory=pb.LocalDirectory(directory_paths=["a", "b"])
    )

    assert edited("definition.data_types", definition=new).data_types == {DataType.NOTES}
    assert edited("definition.local_directory.directory_paths", definition=new).source == replace(
        LOCAL, directory_paths=("a", "b")
    )


def test_a_message_is_replaced_as_a_whole() -> None:
    new = pb.AgentDefinition(local_directory=pb.LocalDirectory(directory_paths=["a"]))

    assert edited("definition.local_directory", definition=new).source == LocalDirectory(directory_paths=("a",))


def test_the_other_source_takes_the_place_of_the_present_one() -> None:
    new = pb.AgentDefinition(cloud_connector=pb.CloudConnector(connection_id="gmail-1"))

    assert edited("definition.cloud_connector", definition=new).source == CloudConnector(connection_id="gmail-1")
    assert edited("definition.cloud_connector.connection_id", definition=new).source == CloudConnector(
        connection_id="gmail-1"
    )


def test_fields_of_a_filter_change_alone() -> None:
    wanted = MessageFilter(senders=("anna@acme.example",), unread_only=True)
    current = replace(DEFINITION, source=CloudConnector(connection_id="gmail-1", filter=wanted))
    new = pb.AgentDefinition()
    new.cloud_connector.filter.senders.append("@acme.example")

    def changed(path: str) -> AgentDefinition:
        return edited(f"definition.cloud_connector.filter{path}", definition=new, current=current)

    def expected(**fields: object) -> AgentDefinition:
        wanted = MessageFilter(**fields)  # type: ignore[arg-type] # each call names ones that fit
        return replace(current, source=CloudConnector(connection_id="gmail-1", filter=wanted))

    assert changed(".senders") == expected(senders=("@acme.example",), unread_only=True)
    assert changed(".unread_only") == expected(senders=("anna@acme.example",))
    assert changed("") == expected(senders=("@acme.example",))


def test_the_source_cannot_be_cleared() -> None:
    with pytest.raises(InvalidArgument) as refused:
        edited("definition.local_directory", definition=pb.AgentDefinition())

    assert refused.value.field == "definition.source"


def test_the_whole_definition_can_be_replaced() -> None:
    new = pb.AgentDefinition(display_name="New", cloud_connector=pb.CloudConnector(connection_id="x"))

    expected = AgentDefinition(display_name="New", source=CloudConnector(connection_id="x"), data_types=frozenset())
    assert edited("definition", definition=new) == expected
    assert edited("definition.display_name", "definition", definition=new) == expected


def test_fields_of_a_schedule_change_alone() -> None:
    new = pb.Schedule(cron="0 18 * * *", jitter=Duration(seconds=9), catch_up=pb.CATCH_UP_NONE)

    assert edited_schedule("schedule.cron", schedule=new) == replace(SCHEDULE, cron="0 18 * * *")
    assert edited_schedule("schedule.jitter", schedule=new) == replace(SCHEDULE, jitter=timedelta(seconds=9))
    assert edited_schedule("schedule.jitter") == replace(SCHEDULE, jitter=timedelta(0))
    assert edited_schedule("schedule.catch_up", schedule=new) == replace(SCHEDULE, catch_up=CatchUp.NONE)


def test_a_schedule_can_be_set_and_removed() -> None:
    new = pb.Schedule(cron="0 18 * * *")

    assert edited_schedule("schedule", schedule=new) == Schedule(cron="0 18 * * *")
    assert edited_schedule("schedule") is None
    assert edited_schedule("schedule.cron", schedule=new, current=None) == Schedule(cron="0 18 * * *")


def test_what_is_not_named_is_left_alone() -> None:
    only_schedule = edit_from_proto(service_pb.UpdateAgentRequest(update_mask=FieldMask(paths=["schedule.cron"])))
    only_definition = edit_from_proto(service_pb.UpdateAgentRequest(update_mask=FieldMask(paths=["definition"])))

    assert only_schedule.definition is None
    assert only_definition.schedule is None


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [""],
        ["*"],
        ["etag"],
        ["agent_id"],
        ["request_id"],
        ["update_mask"],
        ["paused"],
        ["definition.source"],
        ["definition.user_id"],
        ["definition."],
        [".definition"],
        ["definition.prompt_template.x"],
        ["definition.data_types.0"],
        ["schedule.jitter.seconds"],
        ["schedule.start_time.nanos"],
        ["definition.display_name", "nonsense"],
        ["definition.display_name,definition.prompt_template"],
        ["displayName"],
        ["definition.display_name"] * 101,
        ["x" * 100_000],
    ],
    ids=lambda paths: ",".join(paths)[:40],
)
def test_a_mask_that_names_no_field_of_an_agent_is_refused(paths: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        edit_from_proto(service_pb.UpdateAgentRequest(update_mask=FieldMask(paths=paths)))

    assert refused.value.field == "update_mask"
    assert len(refused.value.message) < 300


def test_every_field_of_the_contract_can_be_named() -> None:
    def paths(message: str, prefix: str) -> list[str]:
        fields = pb.DESCRIPTOR.message_types_by_name[message].fields
        return [f"{prefix}.{field.name}" for field in fields]

    named = [
        *paths("AgentDefinition", "definition"),
        *paths("LocalDirectory", "definition.local_directory"),
        *paths("CloudConnector", "definition.cloud_connector"),
        *(f"definition.cloud_connector.filter.{field.name}" for field in message_pb2.MessageFilter.DESCRIPTOR.fields),
        *paths("Budgets", "definition.budgets"),
        *paths("Schedule", "schedule"),
    ]

    for path in named:
        edit_from_proto(service_pb.UpdateAgentRequest(update_mask=FieldMask(paths=[path])))
