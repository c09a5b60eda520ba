from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from orchestrator.adapters.offline_model.extraction import MAX_ITEMS, Extraction, extract
from orchestrator.adapters.offline_model.extraction.extract import MAX_CHARS
from orchestrator.adapters.offline_model.extraction.language import languages

PATHS = ["a.md", "a.txt", "a.csv", "a.tsv", "a.eml", "a.xlsx", "a.docx", "a"]

PIECES = [
    "- [ ] ",
    "- [x] ",
    "TODO: ",
    "Da fare: ",
    "## Actions\n",
    "- ",
    "Call Ada",
    " by ",
    " bis zum ",
    "20 March 2026",
    "20.03.",
    "Friday",
    "@due(2026-03-20)",
    " due: ",
    "@tom",
    " (done)",
    "Launch: ",
    "2026-03-20",
    " \u2013 ",
    "| Task | Status |\n|---|---|\n| ",
    "task,due\n",
    ",",
    ";",
    "\t",
    "\n",
    "\n\n",
    "Date: 2026-03-02\n",
    "From: a\nTo: b\n\n",
    "Please ",
    "Könnten Sie bitte ",
    "¿Podrías ",
    ". ",
    "? ",
    "> ",
    "On Monday Ada wrote:\n",
    "```\n",
    "# Minutes\n",
    "Größe ",
    "🎉",
    "\u202e",
    "\x00",
    '"',
]

texts = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


def in_order(part: str, whole: str) -> bool:
    """Whether all of the part stands in the whole in this order, white space aside; only pieces in between are gone."""
    rest = iter("".join(whole.split()))
    return all(char in rest for char in "".join(part.split()))


@given(st.sampled_from(PATHS), texts)
def test_any_text_is_read_and_nothing_is_made_up(path: str, text: str) -> None:
    found = extract(path, text)

    for title in [*(task.title for task in found.tasks), *(day.title for day in found.milestones)]:
        assert title == title.strip()
        assert 0 < len(title) <= 200
        assert in_order(title, text)
    for task in found.tasks:
        assert all(in_order(name, text) for name in task.assignees)
    assert found.note is None or in_order(found.note.content, text)


@given(st.sampled_from(PATHS), texts)
def test_the_same_text_gives_the_same_items(path: str, text: str) -> None:
    assert extract(path, text) == extract(path, text)


SLOW = {
    "boxes": "- [ ] do it by 12 May 2026 @bob\n",
    "due": "- [ ] " + "due: " * 700 + "\n",
    "by": "- [ ] " + "by " * 1300 + "\n",
    "names": "- [ ] " + "@a " * 1300 + "\n",
    "commas": "- [ ] " + "," * 3900 + "\n",
    "colons": ": " * 149 + "1\n",
    "unknown months": "12 Marxember 2026 - launch\n",
    "please": "as you please ",
    "introductions": "On " + "wrote " * 60 + "\n",
    "bars": "| a | b |\n",
    "brackets": "[",
    "spaces": " ",
}


@pytest.mark.timeout(45)
@pytest.mark.parametrize("piece", SLOW.values(), ids=SLOW)
def test_a_text_made_to_be_slow_is_read_to_its_end(piece: str) -> None:
    text = piece * (200_000 // len(piece))

    for path in ("a.md", "a.eml", "a.csv"):
        extract(path, text)


def test_more_than_a_plan_holds_is_left_out_and_said() -> None:
    many = extract("a.md", "".join(f"- [ ] Task {number}\n" for number in range(MAX_ITEMS + 1)))
    long = extract("a.txt", "word " * (MAX_CHARS // 5 + 1))

    assert (len(many.tasks), many.cut) == (MAX_ITEMS, True)
    assert long == Extraction(cut=True)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The site is not ready and we have to wait for the texts", "en"),
        ("Il menu non è pronto e manca la carta dei vini con i prezzi", "it"),
        ("Der Shop ist noch nicht fertig und wir warten auf die Texte", "de"),
        ("Le catalogue est dans la main de nous avec des photos pour vous", "fr"),
        ("El cartel no está y los grupos con las fechas para el programa", "es"),
        ("", "en"),
    ],
)
def test_the_likeliest_language_comes_first(text: str, language: str) -> None:
    assert languages(text)[0] == language
    assert len(languages(text)) == 5
