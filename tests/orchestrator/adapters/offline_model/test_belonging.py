"""Which project messages belong to."""

from __future__ import annotations

import pytest

from orchestrator.adapters.offline_model.belonging import project_of
from orchestrator.adapters.offline_model.extraction import Message
from orchestrator.runs.domain import JsonObject


def row(row_id: str, name: str, client: str | None = None, status: str = "Active") -> JsonObject:
    return {"id": row_id, "name": name, "client_name": client, "status": status}


WEBSITE = row("p1", "Acme Website", "Acme GmbH")
BRAND = row("p2", "Brand Book", "Nuvola Srl")
GARDEN = row("p3", "Garden")
ROWS = [WEBSITE, BRAND, GARDEN]


def belongs(*messages: Message, rows: list[JsonObject] | None = None) -> str:
    return project_of(messages, ROWS if rows is None else rows)


@pytest.mark.parametrize(
    ("message", "project"),
    [
        (Message(subject="Acme website: texts"), "p1"),
        (Message(subject="Re: ACME-WEBSITE"), "p1"),
        (Message(subject="Texts", sender="Carla (Nuvola Srl)", address="c@mail.example"), "p2"),
        (Message(subject="Texts", address="carla@nuvola-srl.example"), "p2"),
        (Message(subject="Texts", text="About the brand book: we need it."), "p2"),
        (Message(subject="Texts", text="The Garden is in bloom"), "p3"),
        (Message(subject="Texts", text="we met in the garden"), ""),
        (Message(subject="Texts", text="Nothing that is known"), ""),
        (Message(), ""),
    ],
)
def test_it_is_the_one_that_is_named(message: Message, project: str) -> None:
    assert belongs(message) == project


def test_the_subject_counts_before_the_writer_and_the_writer_before_the_text() -> None:
    message = Message(subject="Brand book", sender="Acme GmbH", text="The Garden")

    assert belongs(message) == "p2"
    assert belongs(Message(subject="Hello", sender="Acme GmbH", text="Brand Book")) == "p1"


def test_any_message_of_the_conversation_may_name_it() -> None:
    assert belongs(Message(subject="Hello"), Message(subject="Re: Hello", text="It is for the Brand Book.")) == "p2"


def test_when_two_are_named_alike_it_is_none() -> None:
    rows = [row("p1", "Website", "Acme GmbH"), row("p2", "Brand Book", "Acme GmbH")]

    assert belongs(Message(subject="Hello", sender="Acme GmbH"), rows=rows) == ""


def test_the_longest_name_counts() -> None:
    rows = [row("p1", "Acme"), row("p2", "Acme Shop")]

    assert belongs(Message(subject="The Acme shop"), rows=rows) == "p2"
    assert belongs(Message(subject="Acme"), rows=rows) == "p1"


def test_of_projects_with_one_name_it_is_the_one_that_goes_on() -> None:
    rows = [row("old", "Acme Website", status="Completed"), row("new", "Acme website")]

    assert belongs(Message(subject="Acme Website"), rows=rows) == "new"


def test_short_names_and_rows_without_an_id_never_match() -> None:
    assert belongs(Message(subject="Go on"), rows=[row("p1", "Go"), {"name": "Go on"}, {}]) == ""
