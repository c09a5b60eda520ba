from __future__ import annotations

import pytest

from orchestrator.adapters.offline_model.extraction.items import Note
from orchestrator.adapters.offline_model.extraction.notes import MAX_NOTE_CHARS, read_note


@pytest.mark.parametrize(
    "title",
    [
        "Meeting notes \u2013 kickoff",
        "Minutes of 5 March",
        "Call notes: Ada",
        "Verbale \u2013 incontro",
        "Protokoll \u2013 Abstimmung",
        "Besprechungsprotokoll",
        "Compte rendu \u2013 réunion",
        "Compte-rendu",
        "Acta \u2013 reunión",
        "Notas de la reunión con Ada",
    ],
)
def test_the_record_of_a_meeting_is_one_note(title: str) -> None:
    assert read_note(f"\n# {title}\n\nWe talked.\n\nA lot.\n") == Note(title=title, content="We talked.\n\nA lot.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "# Meeting notes",
        "# Brief\nMeeting notes",
        "# Actas y más\ntext",
        "# Protokolle\ntext",
        "Minutest\nx",
    ],
)
def test_other_documents_are_none(text: str) -> None:
    assert read_note(text) is None


def test_a_long_note_is_cut() -> None:
    note = read_note("# Minutes\n" + "x" * 200_000)

    assert note is not None
    assert len(note.content) == MAX_NOTE_CHARS
