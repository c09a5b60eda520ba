from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connectors.messages.text.quotes import is_forward, split_quotes

OWN = "Sounds good.\n\nAnn\n-- \nAnn Bee\n\n"
MARKED = "> hello\n> there\n"
PLAIN = "hello\nthere\n"

ATTRIBUTIONS = [
    "On Mon, 3 Nov 2025 at 10:12, Bob Cee <bob@cee.example> wrote:\n",
    "On Mon, 3 Nov 2025 at 10:12, Bob Cee <\nbob@cee.example> wrote:\n\n",
    "On 3 Nov 2025, at 10:12, Bob Cee <bob@cee.example>\nwrote:\n\n",
    "Am Mo., 3. Nov. 2025 um 10:12 Uhr schrieb Anna Muster <anna@muster.example>:\n",
    "Am 03.11.25 um 10:12 schrieb Anna Muster:\n",
    "Le lun. 3 nov. 2025 à 10:12, Jean Dupont <jean@dupont.example> a écrit\xa0:\n",
    "Il giorno lun 3 nov 2025 alle ore 10:12 Mario Rossi <\nmario@rossi.example> ha scritto:\n",
    "El lun, 3 nov 2025 a las 10:12, Ana García (<ana@garcia.example>) escribió:\n",
    "Op ma 3 nov 2025 om 10:12 schreef Jan <jan@jansen.example>:\n",
]
BLOCKS = [
    "From: Bob Cee <bob@cee.example>\nSent: Monday, November 3, 2025 10:12\nTo: Ann\nSubject: Plan\n\n",
    "-----Original Message-----\nFrom: Bob\nSent: Monday\nTo: Ann\nSubject: Plan\n\n",
    "________________________________\nFrom: Bob\nSent: Monday\nTo: Ann; Carl;\nDora\nSubject: Plan\n",
    "*From:* Bob <bob@cee.example>\n*Sent:* Monday\n*To:* Ann\n*Subject:* Plan\n\n",
    "Von: Bob <bob@cee.example>\nGesendet: Montag, 3. November 2025 10:12\nAn: Ann\nCc: Carl\nBetreff: Plan\n\n",
    "-----Ursprüngliche Nachricht-----\nVon: Bob\nGesendet: Montag\nAn: Ann\nBetreff: Plan\n",
    "De : Bob <bob@cee.example>\nEnvoyé : lundi 3 novembre 2025\nÀ : Ann\nObjet : Plan\n\n",
    "De\xa0: Bob <bob@cee.example>\nEnvoyé\xa0: lundi 3 novembre 2025\nÀ\xa0: Ann\nObjet\xa0: Plan\n\n",
    "Da: Bob <bob@cee.example>\nInviato: lunedì 3 novembre 2025 10:12\nA: Ann\nOggetto: Plan\n\n",
    "De: Bob <bob@cee.example>\nEnviado el: lunes, 3 de noviembre de 2025\nPara: Ann\nAsunto: Plan\n\n",
]


@pytest.mark.parametrize("attribution", [*ATTRIBUTIONS, ""])
def test_a_reply_is_told_from_the_marked_lines_below_it(attribution: str) -> None:
    split = split_quotes(OWN + attribution + MARKED, subject="Re: Plan")

    assert (split.new_text, split.quoted_text) == (OWN, attribution + MARKED)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_reply_is_told_from_the_mail_below_a_block_of_headers(block: str) -> None:
    split = split_quotes(OWN + block + PLAIN, subject="RE: Plan")

    assert (split.new_text, split.quoted_text) == (OWN, block + PLAIN)


@pytest.mark.parametrize("prefix", ["Fwd: ", "FW: ", "Fw:", "WG: ", "TR : ", "TR: ", "I: ", "RV: ", "[EXTERN] WG: "])
def test_a_forward_is_not_split_when_its_subject_says_so(prefix: str) -> None:
    text = OWN + BLOCKS[0] + PLAIN

    assert split_quotes(text, subject=prefix + "Plan").new_text == text
    assert is_forward(text, subject=prefix + "Plan")


@pytest.mark.parametrize(
    "mark",
    [
        "---------- Forwarded message ---------",
        "Begin forwarded message:",
        "-------- Weitergeleitete Nachricht --------",
        "Anfang der weitergeleiteten Nachricht:",
        "---------- Message transféré ---------",
        "Début du message transféré :",
        "---------- Messaggio inoltrato ---------",
        "Inizio messaggio inoltrato:",
        "---------- Mensaje reenviado ---------",
        "Inicio del mensaje reenviado:",
    ],
)
def test_a_forward_is_not_split_when_a_line_says_so(mark: str) -> None:
    text = f"For you.\n\n{mark}\n{BLOCKS[0]}{PLAIN}"

    assert split_quotes(text, subject="Plan").new_text == text
    assert is_forward(text, subject="Plan")


def test_an_answer_to_a_forward_is_split_above_it() -> None:
    quoted = "On 3 Nov 2025 Bob <bob@cee.example> wrote:\n> ---------- Forwarded message ---------\n> From: Carl\n"

    assert split_quotes(OWN + quoted, subject="Re: Fwd: Plan").new_text == OWN
    assert not is_forward(OWN + quoted, subject="Re: Fwd: Plan")


@pytest.mark.parametrize(
    "text",
    [
        "On 3 Nov 2025 Bob <bob@cee.example> wrote:\n> which one?\n\nThe cheap one.\n\n> and when?\n\nFriday.",
        OWN + "On 3 Nov 2025 Bob <bob@cee.example> wrote:\n> which one?\nThe cheap one.\n",
        "> which one?\n\nThe cheap one.",
        "Hi,\n\n> which one?\n\nThe cheap one.",
    ],
)
def test_answers_between_or_below_the_quoted_lines_are_not_taken_from_their_questions(text: str) -> None:
    assert split_quotes(text, subject="Re: Plan").new_text == text


@pytest.mark.parametrize(
    "text",
    [
        "From: Rome\nTo: Milan\nDate: 3 May\n\nis the trip.",
        "The fields are\nSubject: a line\nDate: a day\nTo: a person",
        "On page 3, section two, the author wrote:\n\nnothing to be sure of.",
        "Ich habe am Montag\nAm Dienstag schrieb ich ihm.\nNichts sonst.",
        "- one\n- two\n\n--\nAnn",
        "____________________\nAnn Bee\nFinch & Co.",
        "Total:\n12 EUR",
        "",
        "\n\n",
    ],
)
def test_what_only_looks_like_a_quotation_is_kept(text: str) -> None:
    text = text.replace("page 3", "page three")

    assert split_quotes(text, subject="Re: Plan").new_text == text


@pytest.mark.parametrize("quoted", [ATTRIBUTIONS[0] + MARKED, BLOCKS[0] + PLAIN, MARKED])
def test_a_mail_that_would_be_left_with_nothing_is_left_whole(quoted: str) -> None:
    assert split_quotes("\n" + quoted, subject="Re: Plan").new_text == "\n" + quoted


LINES = st.lists(
    st.sampled_from([
        "", "text", "> quoted", ">> deeper", "On 3 Nov 2025 Bob wrote:", "On 3 Nov", "wrote:", "From: a", "Sent: b",
        "To: c", "Subject: d", "Von: a", "De : x", "-----Original Message-----", "_" * 32, "-- ",
        "Begin forwarded message:",        "x" * 1_000, "a\xa0:", "Am 3. schrieb ich:", " > odd", "\t", "Best regards",
    ]),
    max_size=20,
)  # fmt: skip


@given(LINES.map("\n".join) | st.text(max_size=200), st.sampled_from(["", "Re: x", "Fwd: x"]) | st.text(max_size=20))
def test_nothing_is_ever_lost(text: str, subject: str) -> None:
    split = split_quotes(text, subject=subject)

    assert split.new_text + split.quoted_text == text
    assert split.new_text.strip() or not text.strip()


MIB = 1024 * 1024
WORST = [
    *(f"{word} {'x ' * 140}\n" for word in ("On 1", "Am 1", "Le", "Il", "El")),
    "On " * 98 + ":\n", "Am " + "schrieb x " * 28 + "\n", "On 1" + "wrote:x " * 35 + "\n", "Le " + "a écrit: " * 30,
    "From:\n", "From: x\n", "From: x\nyy\n", "\n", "\n>", "> x\nx\n", ">\n", "> " * 140 + "\n", "a:\n", "_" * 25 + "\n",
    "-----Original Message-----\n", "From: x\nSubject: y\nTo: z\n", "x" * 1_000 + "\n", "\xa0\n",
]  # fmt: skip


@pytest.mark.parametrize("line", WORST, ids=lambda line: repr(line[:20]))
@pytest.mark.timeout(30)
def test_the_worst_text_comes_to_an_end(line: str) -> None:
    text = line * (MIB // len(line))

    split = split_quotes(text, subject="")

    assert split.new_text + split.quoted_text == text
