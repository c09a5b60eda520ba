from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import (
    AgentDefinition,
    Budgets,
    CloudConnector,
    DataType,
    LocalDirectory,
    MessageFilter,
    Schedule,
)
from orchestrator.agents.rules import (
    check_definition,
    check_pause_reason,
    check_request_id,
    check_schedule,
    normal_extension,
    normal_path,
)
from tests.orchestrator.agents.strategies import definitions

LOCAL = LocalDirectory(directory_paths=("clients/acme",))
CLOUD = CloudConnector(connection_id="gmail-1")
GOOD = AgentDefinition(display_name="Clients", source=LOCAL, data_types=frozenset({DataType.TASKS}))
CLIENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@given(definitions)
def test_what_the_rules_allow_is_allowed(definition: AgentDefinition) -> None:
    check_definition(definition, inline=False)


def at_path(path: str) -> AgentDefinition:
    return replace(GOOD, source=replace(LOCAL, directory_paths=("clients", path)))


def with_filter(**fields: str | tuple[str, ...]) -> AgentDefinition:
    return replace(GOOD, source=replace(CLOUD, filter=MessageFilter(**fields)))  # type: ignore[arg-type] # one that fits


def with_extension(extension: str) -> AgentDefinition:
    return replace(GOOD, source=replace(LOCAL, file_extensions=(".md", extension)))


def with_budgets(**budgets: int | timedelta) -> AgentDefinition:
    return replace(GOOD, budgets=Budgets(**budgets))  # type: ignore[arg-type] # each test names one that fits


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        (replace(GOOD, display_name=""), "display_name"),
        (replace(GOOD, display_name="  "), "display_name"),
        (replace(GOOD, display_name="x" * 201), "display_name"),
        (replace(GOOD, display_name="two\nlines"), "display_name"),
        (replace(GOOD, display_name="nul\0"), "display_name"),
        (replace(GOOD, client_agent_id="acme"), "client_agent_id"),
        (replace(GOOD, client_agent_id=f"{{{CLIENT_ID}}}"), "client_agent_id"),
        (replace(GOOD, client_agent_id=CLIENT_ID.replace("-", "")), "client_agent_id"),
        (replace(GOOD, data_types=frozenset()), "data_types"),
        (replace(GOOD, prompt_template="x" * 8_001), "prompt_template"),
        (replace(GOOD, prompt_template="nul\0"), "prompt_template"),
        (replace(GOOD, prompt_template="escape \x1b[2J"), "prompt_template"),
        (replace(GOOD, source=replace(LOCAL, device_id="my laptop")), "local_directory.device_id"),
        (replace(GOOD, source=replace(LOCAL, device_id="x" * 129)), "local_directory.device_id"),
        (replace(GOOD, source=LocalDirectory(directory_paths=())), "local_directory.directory_paths"),
        (
            replace(GOOD, source=LocalDirectory(directory_paths=tuple(map(str, range(21))))),
            "local_directory.directory_paths",
        ),
        (at_path(""), "local_directory.directory_paths[1]"),
        (at_path("clients"), "local_directory.directory_paths[1]"),
        (at_path("a/../b"), "local_directory.directory_paths[1]"),
        (at_path(".."), "local_directory.directory_paths[1]"),
        (at_path("a\\b"), "local_directory.directory_paths[1]"),
        (at_path("a\0b"), "local_directory.directory_paths[1]"),
        (at_path("a\nb"), "local_directory.directory_paths[1]"),
        (at_path("a\x85b"), "local_directory.directory_paths[1]"),
        (at_path("é" * 513), "local_directory.directory_paths[1]"),
        (at_path("/".join("a" * 65)), "local_directory.directory_paths[1]"),
        (with_extension("."), "local_directory.file_extensions[1]"),
        (with_extension("md"), "local_directory.file_extensions[1]"),
        (with_extension(".m d"), "local_directory.file_extensions[1]"),
        (with_extension(".md/x"), "local_directory.file_extensions[1]"),
        (with_extension(".*"), "local_directory.file_extensions[1]"),
        (with_extension("." + "x" * 32), "local_directory.file_extensions[1]"),
        (with_extension(".\x7f"), "local_directory.file_extensions[1]"),
        (
            replace(GOOD, source=replace(LOCAL, file_extensions=(".md",) * 101)),
            "local_directory.file_extensions",
        ),
        (replace(GOOD, source=CloudConnector(connection_id="")), "cloud_connector.connection_id"),
        (replace(GOOD, source=CloudConnector(connection_id="a b")), "cloud_connector.connection_id"),
        (with_filter(senders=("anna",)), "cloud_connector.filter.senders[0]"),
        (with_filter(senders=("@example.org", "anna@")), "cloud_connector.filter.senders[1]"),
        (with_filter(senders=("Anna <anna@example.org>",)), "cloud_connector.filter.senders[0]"),
        (with_filter(senders=("anna@example.org", "anna@example.org")), "cloud_connector.filter.senders[1]"),
        (with_filter(senders=tuple(f"{n}@example.org" for n in range(101))), "cloud_connector.filter.senders"),
        (with_filter(recipients=("a@b@c",)), "cloud_connector.filter.recipients[0]"),
        (with_filter(recipients=("x" * 310 + "@example.org",)), "cloud_connector.filter.recipients[0]"),
        (with_filter(subject_contains=("",)), "cloud_connector.filter.subject_contains[0]"),
        (with_filter(subject_contains=("x" * 201,)), "cloud_connector.filter.subject_contains[0]"),
        (with_filter(subject_contains=tuple(map(str, range(21)))), "cloud_connector.filter.subject_contains"),
        (with_filter(containers=(" ",)), "cloud_connector.filter.containers[0]"),
        (with_filter(containers=("in\nbox",)), "cloud_connector.filter.containers[0]"),
        (with_filter(containers=tuple(map(str, range(51)))), "cloud_connector.filter.containers"),
        (with_filter(provider_query="x" * 1_001), "cloud_connector.filter.provider_query"),
        (with_filter(provider_query="nul\0"), "cloud_connector.filter.provider_query"),
        (with_budgets(max_model_calls=-1), "budgets.max_model_calls"),
        (with_budgets(max_model_calls=10_001), "budgets.max_model_calls"),
        (with_budgets(max_tokens=-5), "budgets.max_tokens"),
        (with_budgets(max_tokens=10**18), "budgets.max_tokens"),
        (with_budgets(max_tool_calls=100_001), "budgets.max_tool_calls"),
        (with_budgets(max_read_bytes=2**62), "budgets.max_read_bytes"),
        (with_budgets(max_creates=-1), "budgets.max_creates"),
        (with_budgets(max_wall_time=timedelta(seconds=-1)), "budgets.max_wall_time"),
        (with_budgets(max_wall_time=timedelta(hours=25)), "budgets.max_wall_time"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(definition: AgentDefinition, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_definition(definition, inline=False)

    assert refused.value.field == f"definition.{field}"
    assert len(refused.value.description) < 200


@pytest.mark.parametrize("path", ["/home/anna", "C:\\Users", "c:/Users", "\\\\server\\share", "~/clients", "file:///a"])
def test_an_absolute_path_is_told_what_to_name_instead(path: str) -> None:
    with pytest.raises(InvalidArgument, match="name a folder of the device such as 'clients/acme'"):
        check_definition(at_path(normal_path(path)), inline=False)


def test_a_fault_does_not_repeat_what_the_user_wrote() -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_definition(at_path("secret\\plans"), inline=False)

    assert "secret" not in refused.value.message


def test_an_inline_definition_needs_a_client_agent_id() -> None:
    check_definition(replace(GOOD, client_agent_id=CLIENT_ID), inline=True)

    with pytest.raises(InvalidArgument) as refused:
        check_definition(GOOD, inline=True)

    assert refused.value.field == "definition.client_agent_id"


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("clients", "clients"),
        ("clients/acme/", "clients/acme"),
        ("./clients//acme/.", "clients/acme"),
        ("clients/~notes/a:b", "clients/~notes/a:b"),
        (".", ""),
        ("", ""),
        ("a/../b", "a/../b"),
        ("/", "/"),
        ("/home/", "/home/"),
    ],
)
def test_a_path_loses_what_changes_nothing(path: str, normal: str) -> None:
    assert normal_path(path) == normal


@pytest.mark.parametrize(
    ("extension", "normal"), [("md", ".md"), (".MD", ".md"), (" .Md ", ".md"), ("tar.GZ", ".tar.gz"), ("", ".")]
)
def test_an_extension_is_lower_case_and_has_its_dot(extension: str, normal: str) -> None:
    assert normal_extension(extension) == normal


@given(st.text(max_size=30))
def test_normal_is_normal_for_ever(text: str) -> None:
    assert normal_path(normal_path(text)) == normal_path(text)
    assert normal_extension(normal_extension(text)) == normal_extension(text)


@pytest.mark.parametrize("request_id", ["", "1", "not-a-uuid", CLIENT_ID + "0", f"urn:uuid:{CLIENT_ID}", "\0" * 36])
def test_a_request_id_must_be_a_uuid(request_id: str) -> None:
    check_request_id(CLIENT_ID)
    check_request_id(CLIENT_ID.upper())

    with pytest.raises(InvalidArgument) as refused:
        check_request_id(request_id)

    assert refused.value.field == "request_id"


@pytest.mark.parametrize("reason", ["x" * 501, "two\nlines", "nul\0"])
def test_a_pause_reason_is_one_short_line(reason: str) -> None:
    check_pause_reason("")
    check_pause_reason("x" * 500)

    with pytest.raises(InvalidArgument) as refused:
        check_pause_reason(reason)

    assert refused.value.field == "reason"


def test_a_schedule_is_checked_by_its_own_rules() -> None:
    check_schedule(Schedule(cron="0 9 * * *"))

    with pytest.raises(InvalidArgument) as refused:
        check_schedule(Schedule(cron="0 9 * *"))

    assert refused.value.field == "schedule.cron"
