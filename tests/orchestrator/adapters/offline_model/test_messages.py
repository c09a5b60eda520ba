"""Whole runs over messages with the offline model: what a user finds on the device afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

from inline_snapshot import snapshot

from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import RunState
from orchestrator.runs.incoming import Attachment, Participant
from tests.orchestrator.runs.lab import ACME, NUVOLA, CloudLab, cloud_definition

BOB = Participant(address="bob@nuvola.example", name="Bob Bianchi")
SHOP = Participant(address="newsletter@shop.example", name="The Shop")
AT_NIGHT = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)


def office() -> CloudLab:
    lab = CloudLab()
    workspace = lab.laptop.workspace
    workspace.add("project", ACME, name="Acme Website", client_name="Acme GmbH", status="Active")
    workspace.add("project", NUVOLA, name="Brand Book", client_name="Nuvola", status="Active")
    workspace.add("task", "task-known", title="Send the offer", project_id=ACME, status="ToDo", due_date=None)
    return lab


async def test_a_week_of_mail() -> None:
    lab = office()
    lab.mailbox.add("1", "Hi,\ncould you send me the final logo by Friday?\nAnna", thread="t1", subject="Acme website")
    lab.mailbox.add("2", "Big sale! Please buy now.", thread="t2", subject="Sale", sender=SHOP)
    lab.mailbox.add(
        "3",
        "Thanks, got it!\nTODO: Send the offer by 10 March 2026\n\nHi,\ncould you send me the final logo by Friday?",
        thread="t1",
        subject="Re: Acme website",
        new_text="Thanks, got it!\nTODO: Send the offer by 10 March 2026",
        quoted=True,
    )
    lab.mailbox.add("4", "Presentation: 20 March 2026\nSee you", thread="t4", subject="Next steps", sender=BOB)
    lab.mailbox.add("5", "Have a nice weekend", thread="t5", subject="Hello")

    progress = await lab.work(model=OfflineModel())

    assert progress.concluded is RunState.SUCCEEDED
    assert len(progress.processed) == 5
    made = [
        (row["title"], row["project_id"], row.get("due_date") or row.get("date"))
        for kind in ("task", "timeline", "note")
        for row in lab.laptop.workspace.rows[kind].values()
        if row["is_ai_suggested"]
    ]
    assert made == snapshot([("Send me the final logo", ACME, "2026-03-06")])
    assert lab.laptop.workspace.rows["task"]["task-known"]["proposals"] == {"due_date": "2026-03-10"}
    assert [comment["text"] for comment in lab.laptop.workspace.comments] == snapshot(
        ["From a message of 2026-03-02 by Anna Rossi: due 2026-03-10."]
    )


async def test_a_milestone_is_filed_under_the_writers_project() -> None:
    lab = office()
    lab.mailbox.add("4", "Delivery: 20 March 2026\nSee you", subject="Next steps", sender=BOB)

    await lab.work(model=OfflineModel())

    (timeline,) = lab.laptop.workspace.rows["timeline"].values()
    assert (timeline["title"], timeline["date"], timeline["project_id"]) == ("Delivery", "2026-03-20", NUVOLA)


async def test_records_of_no_known_project_have_none_and_no_project_is_made_up() -> None:
    lab = office()
    lab.mailbox.add("1", "Could you call me tomorrow?", subject="A new project: Tram Stop")

    await lab.work(model=OfflineModel())

    (task,) = [row for row in lab.laptop.workspace.rows["task"].values() if row["is_ai_suggested"]]
    assert task["project_id"] is None
    assert len(lab.laptop.workspace.rows["project"]) == 2


async def test_every_record_names_its_message() -> None:
    lab = office()
    lab.mailbox.add("1", "TODO: Book the venue", thread="t")
    lab.mailbox.add("2", "TODO: Order the paper", thread="t")

    progress = await lab.work(model=OfflineModel())

    assert {effect.title: effect.source for effect in progress.effects} == {
        "Book the venue": "message:gmail:1",
        "Order the paper": "message:gmail:2",
    }


async def test_relative_days_count_from_the_messages_day() -> None:
    lab = office()
    lab.mailbox.add("1", "TODO: Call the printer by tomorrow", received_at=AT_NIGHT)
    lab.mailbox.add("2", "TODO: Write the text by tomorrow", received_at=None)

    await lab.work(model=OfflineModel())

    due = {row["title"]: row.get("due_date") for row in lab.laptop.workspace.rows["task"].values()}
    assert due["Call the printer"] == "2026-03-03"
    assert due["Write the text by tomorrow"] is None


async def test_a_message_with_nothing_in_it_takes_one_question() -> None:
    lab = office()
    lab.mailbox.add("1", "Have a nice weekend", attachments=(Attachment(name="a.pdf"),))

    progress = await lab.work(model=OfflineModel())

    assert progress.usage.model_calls == 1
    assert progress.finished_groups["g1"].summary == snapshot(
        "From the built-in offline rules, without a language model: 1 of 1 message read, created nothing, updated "
        "nothing, skipped 1 message without relevant data."
    )


async def test_a_redelivered_request_is_found_again_by_its_title() -> None:
    """Also when the memory of messages is gone, the rules make no second task of the same title."""
    lab = office()
    lab.mailbox.add("1", "Could you send me the logo?", subject="Acme website")
    await lab.work(model=OfflineModel())
    lab.mailbox.cursors.clear()
    lab.journals.done.clear()

    await lab.next_run(model=OfflineModel())

    assert lab.laptop.workspace.titles("task") == ["Send me the logo", "Send the offer"]


async def test_only_the_chosen_types_are_made() -> None:
    lab = office()
    lab.definition = cloud_definition(data_types=frozenset({DataType.TIMELINES}))
    lab.mailbox.add("1", "TODO: Book the venue\nLaunch: 20 March 2026")

    progress = await lab.work(model=OfflineModel())

    assert dict(progress.counts("CREATED")) == {"timeline": 1}
