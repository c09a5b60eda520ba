"""The options that tell what an agent looks at."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import agent_pb2 as pb
from orchestrator.cli.sources import change_source, filter_of, source_line, with_source

NOTHING: dict[str, Any] = dict.fromkeys(
    ("sender", "recipient", "subject", "container", "unread", "has_attachment", "include_sent", "query")
)
EVERYTHING: dict[str, Any] = {
    "sender": ["anna@acme.example", "@nuvola.example"],
    "recipient": ["me@example.org"],
    "subject": ["offer"],
    "container": ["INBOX", "Label_7"],
    "unread": True,
    "has_attachment": True,
    "include_sent": True,
    "query": "-category:promotions",
}
FULL = message_pb2.MessageFilter(
    senders=["anna@acme.example", "@nuvola.example"],
    recipients=["me@example.org"],
    subject_contains=["offer"],
    containers=["INBOX", "Label_7"],
    unread_only=True,
    has_attachment=True,
    include_sent=True,
    provider_query="-category:promotions",
)
NO_FILTER = filter_of(**NOTHING)


def source(**fields: Any) -> pb.AgentDefinition:
    given = {"directories": None, "extensions": None, "device": "", "connection": "", "wanted": NO_FILTER, **fields}
    return with_source(pb.AgentDefinition(display_name="Mail"), **given)


def test_a_filter_is_what_the_options_name() -> None:
    assert filter_of(**NOTHING) == (message_pb2.MessageFilter(), [])
    assert filter_of(**EVERYTHING) == (FULL, [field.name for field in FULL.DESCRIPTOR.fields])


def test_a_flag_can_be_taken_back_and_a_list_emptied() -> None:
    wanted, named = filter_of(**{**NOTHING, "unread": False, "sender": [""], "query": ""})

    assert wanted == message_pb2.MessageFilter()
    assert named == ["senders", "unread_only", "provider_query"]


def test_a_connection_is_looked_at_with_its_filter() -> None:
    definition = source(connection="c1", wanted=filter_of(**EVERYTHING))

    assert definition.cloud_connector == pb.CloudConnector(connection_id="c1", filter=FULL)
    assert not source(connection="c1").cloud_connector.HasField("filter")


def test_folders_are_looked_at_as_before() -> None:
    definition = source(directories=["sample"], extensions=[".md"], device="laptop")

    assert definition.local_directory == pb.LocalDirectory(
        directory_paths=["sample"], file_extensions=[".md"], device_id="laptop"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"directories": ["sample"], "connection": "c1"},
        {"directories": ["sample"], "wanted": filter_of(**{**NOTHING, "unread": True})},
        {"connection": "c1", "extensions": [".md"]},
        {"connection": "c1", "device": "laptop"},
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        source(**fields)


def test_a_change_names_the_fields_that_the_options_name() -> None:
    changed = pb.AgentDefinition()
    wanted = filter_of(**{**NOTHING, "sender": ["@acme.example"], "unread": False})

    paths = change_source(changed, directories=None, extensions=None, connection="c2", wanted=wanted)

    assert paths == [
        "definition.cloud_connector.connection_id",
        "definition.cloud_connector.filter.senders",
        "definition.cloud_connector.filter.unread_only",
    ]
    assert changed.cloud_connector.connection_id == "c2"
    assert list(changed.cloud_connector.filter.senders) == ["@acme.example"]


def test_a_change_is_of_folders_or_of_messages() -> None:
    with pytest.raises(typer.BadParameter):
        change_source(pb.AgentDefinition(), directories=["sample"], extensions=None, connection="c2", wanted=NO_FILTER)


def test_what_an_agent_looks_at_is_one_line() -> None:
    assert source_line(source(directories=["sample", "clients"], extensions=[".md"])) == "sample, clients (.md)"
    assert source_line(source(connection="c1")) == "connection c1"
    assert source_line(source(connection="c1", wanted=filter_of(**EVERYTHING))) == (
        "connection c1 (from anna@acme.example or @nuvola.example, to me@example.org, subject offer, "
        "in INBOX or Label_7, unread, with attachments, sent ones too, query '-category:promotions')"
    )
