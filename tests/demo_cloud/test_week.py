"""The week of mail and the list of what it calls for belong together, whatever day it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.messages.domain import Unreadable
from connectors.messages.text.compose import compose
from connectors.messages.text.mime import read_mime
from orchestrator.adapters.offline_model.extraction import Extraction, Message, extract_message
from tests.demo_cloud.expected import Record, differences, expected, load
from tests.demo_cloud.week import gmail, outlook
from tests.emulator.mails import Mail

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
DAYS = [NOW + timedelta(days=41 * number, hours=7 * number) for number in range(12)]
TASK = Record(kind="task", title="water the ferns", project="Studio", source="<1@x.test>", status="ToDo")


def mails(now: datetime = NOW) -> list[Mail]:
    return [*gmail(now), *outlook(now)]


def extracted(mail: Mail) -> Extraction:
    """Return what the offline rules find in a mail, read as the connectors read it."""
    try:
        read = read_mime(mail.raw)
    except Unreadable:
        return Extraction()
    message = Message(
        subject=read.subject,
        sender=read.from_.name,
        address=read.from_.address,
        sent=mail.received_at.date(),
        text=compose(read.text, subject=read.subject).new_text,
        labels=("SENT",) if mail.folder == "sent" else mail.labels,
    )
    return extract_message(message)


def records(mail: Mail) -> list[Record]:
    """Return what is found in a mail, without the project, which only a run can tell."""
    found = extracted(mail)
    tasks = [
        Record(
            kind="task",
            title=task.title.casefold(),
            project="",
            source=mail.message_id,
            day=task.due_date.isoformat() if task.due_date else "",
            status=task.status,
            assignees=tuple(sorted(name.casefold() for name in task.assignees)),
        )
        for task in found.tasks
    ]
    days = [
        Record(
            kind="timeline",
            title=one.title.casefold(),
            project="",
            source=mail.message_id,
            day=one.day.isoformat(),
        )
        for one in found.milestones
    ]
    notes = [
        Record(kind="note", title=note.title.casefold(), project="", source=mail.message_id)
        for note in (found.note,)
        if note is not None
    ]
    return [*tasks, *days, *notes]


def without_project(record: Record) -> Record:
    return Record(**{name: getattr(record, name) for name in record.__slots__} | {"project": ""})


def test_the_week_is_that_of_a_freelancer() -> None:
    week = mails()

    assert 20 <= len(week) <= 25
    assert len({mail.message_id for mail in week}) == len(week)
    assert all(NOW - timedelta(days=7) < mail.received_at < NOW for mail in week)
    assert [mail.received_at for mail in gmail(NOW)] == sorted(mail.received_at for mail in gmail(NOW))


def test_every_mail_calls_for_something_or_for_nothing() -> None:
    content = load()
    calling = {entry["source"] for kind in ("tasks", "notes", "timelines", "updated") for entry in content[kind]}
    nothing, unreadable = set(content["nothing_from"]), set(content["unreadable"])

    assert calling | nothing | unreadable == {mail.message_id for mail in mails()}
    assert len(calling) + len(nothing) + len(unreadable) == len(mails())


def test_only_the_one_cannot_be_read() -> None:
    def is_unreadable(mail: Mail) -> bool:
        try:
            read_mime(mail.raw)
        except Unreadable:
            return True
        return False

    assert [mail.message_id for mail in mails() if is_unreadable(mail)] == load()["unreadable"]


@pytest.mark.parametrize("now", DAYS, ids=lambda day: f"{day:%a-%d-%b-%Hh}")
def test_the_list_holds_on_every_day_of_the_year(now: datetime) -> None:
    week = mails(now)

    wanted = [without_project(record) for record in expected(now, week)]

    assert differences(wanted, [record for mail in week for record in records(mail)]) == []


def test_what_differs_is_told() -> None:
    other = Record(kind="task", title="water the ferns", project="Studio", source="<1@x.test>", status="Completed")

    assert differences([TASK], [TASK]) == []
    assert differences([TASK], []) == ['missing: task, "water the ferns", Studio, ToDo, from <1@x.test>']
    assert (
        differences([], [TASK, TASK]) == ['not asked for: task, "water the ferns", Studio, ToDo, from <1@x.test>'] * 2
    )
    assert len(differences([TASK], [other])) == 2
