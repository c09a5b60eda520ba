from __future__ import annotations

from datetime import date

import pytest

from orchestrator.adapters.offline_model.extraction import Milestone, Task, extract

DAY = date(2026, 3, 20)
WHOLE = Task(title="Draw the logo", status="In Progress", due_date=DAY, assignees=("Ada", "Tom"))


@pytest.mark.parametrize(
    "text",
    [
        'task,owner,due,status\nDraw the logo,"Ada, Tom",2026-03-20,in progress\n',
        "Task;Assigned to;Due date;State\nDraw the logo;Ada & Tom;20/03/2026;started\n",
        "Attività;Responsabile;Scadenza;Stato\nDraw the logo;Ada e Tom;20 marzo 2026;in corso\n",
        "Aufgabe;Zuständig;Fällig am;Stand\nDraw the logo;Ada und Tom;20.03.2026;in Arbeit\n",
        "Tâche;Responsable;Échéance;État\nDraw the logo;Ada et Tom;20 mars 2026;en cours\n",
        "Tarea\tEncargado\tFecha límite\tEstado\nDraw the logo\tAda y Tom\t20/3/26\ten curso\n",
        'Plan of 2026,,,\n,,,\nStatus,Title,Who,When\nWIP,Draw the logo,"Ada, Tom",2026-03-20\n',
        "Plan, of, many, commas,,,,,\nAufgabe;Wer;Bis;Stand\nDraw the logo;Ada, Tom;20.03.2026;begonnen\n",
    ],
)
def test_a_table_of_tasks_is_read_in_every_language(text: str) -> None:
    assert extract("plan.csv", text).tasks == (WHOLE,)


def test_a_sheet_is_a_table() -> None:
    plan = "# Plan\nTask\tOwner\tDue\tStatus\nDraw the logo\tAda/Tom\t2026-03-20\tdoing\n"
    text = f"{plan}\n# Colours\nName\tHex\nMoss\t#5B6B3A\n"

    assert extract("plan.xlsx", text).tasks == (WHOLE,)


def test_a_table_in_a_text_is_one_too() -> None:
    header, rule = "Task | Owner | Due | Status", "|---|:--:|---|---|"
    row = "Draw the logo | Ada, Tom | 20 March 2026 | in progress"

    assert extract("plan.md", f"| {header} |\n{rule}\n| {row} |\n").tasks == (WHOLE,)
    assert extract("plan.docx", f"# Plan\n{header}\n{row}\n").tasks == (WHOLE,)


@pytest.mark.parametrize(
    "text",
    [
        "item,hours\nPoster,22\n",
        "title,author\nMoby-Dick,Melville\n",
        "number,client,paid\n1,Acme,2026-02-17\n",
        "name,date\nAda,2026-03-20\n",
        "",
        "\n\n",
        '"task\nunclosed',
        "task\n",
        "task,status\n,done\n!!!,open\nOld thing,cancelled\n",
    ],
)
def test_other_tables_hold_no_tasks(text: str) -> None:
    assert extract("data.csv", text).empty


@pytest.mark.parametrize(
    ("status", "state"),
    [("done", "Completed"), ("X", "Completed"), ("Hecho", "Completed"), ("offen", "ToDo"), ("?", "ToDo"), ("", "ToDo")],
)
def test_a_status_cell_is_the_state(status: str, state: str) -> None:
    (task,) = extract("plan.csv", f"task,status\nDraw,{status}\n").tasks

    assert task.status == state


def test_rows_of_a_label_and_a_day_are_milestones_when_a_word_or_the_header_says_so() -> None:
    of_words = extract("a.md", "| What | When |\n|---|---|\n| Launch | 20 March 2026 |\n| Lunch | 20 March 2026 |\n")
    of_header = extract("a.csv", "Milestone,Date\nBeta,2026-03-20\n")
    of_heading = extract("a.md", "## Termine\n| Was | Wann |\n|---|---|\n| Messe | 20.03.2026 |\n")

    assert of_words.milestones == (Milestone(title="Launch", day=DAY),)
    assert of_header.milestones == (Milestone(title="Beta", day=DAY),)
    assert of_heading.milestones == (Milestone(title="Messe", day=DAY),)
