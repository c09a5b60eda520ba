"""The messages in a run's own hands: how a model is given them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from hypothesis import given, strategies as st
from inline_snapshot import snapshot

from orchestrator.runs.arguments import check_arguments
from orchestrator.runs.domain import EffectClass, Group, Item, ToolOutcome
from orchestrator.runs.incoming import Attachment, IncomingMessage, Participant, message_id
from orchestrator.runs.mail import READ_MESSAGE_TOOL, Mail, marked_text, message_json, missing_texts, own_text
from orchestrator.runs.messages import Assistant, ToolRequest
from orchestrator.runs.progress import Conversation, Step

PATH = "message:gmail:18c2"
GROUP = Group(group_id="g1", project_id="", title="", items=(Item(path=PATH, size_bytes=1, mtime_ns=1),))
ROME = timezone(timedelta(hours=1))
MESSAGE = IncomingMessage(
    key="18c2",
    received_at=datetime(2026, 3, 2, 9, 30, tzinfo=ROME),
    sender=Participant(address="anna@acme.example", name="Anna"),
    to=(Participant(address="me@example.org"),),
    subject="Re: Logo",
    text="Yes, blue.\n\nOn Monday you wrote:\nWhich colour?\n",
    new_text="Yes, blue.",
    quoted=True,
    full_chars=48,
    attachments=(
        Attachment(name="logo.svg", media_type="image/svg+xml", size_bytes=1_200),
        Attachment(name="signature.png", media_type="image/png", inline=True),
    ),
    labels=("INBOX",),
)


def conversation(*requests: str) -> Conversation:
    held = Conversation(system="", user="")
    held.steps[0] = Step(Assistant("", tuple(request(arguments) for arguments in requests)))
    return held


def request(arguments_json: str) -> ToolRequest:
    return ToolRequest(request_id="r", name="read_message", arguments_json=arguments_json)


def test_what_a_model_is_given() -> None:
    assert message_json(PATH, MESSAGE) == snapshot(
        {
            "message_id": "message:gmail:18c2",
            "from": {"name": "Anna", "address": "anna@acme.example"},
            "to": [{"name": "", "address": "me@example.org"}],
            "cc": [],
            "date": "2026-03-02T08:30:00+00:00",
            "subject": "Re: Logo",
            "text": """\
Yes, blue.

> On Monday you wrote:
> Which colour?\
""",
            "attachments": [{"name": "logo.svg", "media_type": "image/svg+xml", "size_bytes": 1200}],
            "labels": ["INBOX"],
            "truncated": False,
            "full_chars": 48,
        }
    )


def test_a_mail_to_hundreds_names_some_and_counts_the_rest() -> None:
    crowd = tuple(Participant(address=f"{number}@example.org") for number in range(100))

    told = message_json(PATH, IncomingMessage(key="k", to=crowd, cc=crowd[:31], subject="x" * 2_000))

    assert (len(told["to"]), len(told["cc"]), told["more_recipients"]) == (30, 30, 71)
    assert len(told["subject"]) == 1_000


def test_an_answer_between_the_lines_keeps_its_place() -> None:
    message = IncomingMessage(
        key="k",
        quoted=True,
        text="> Which colour?\nBlue.\n> Which size?\nLarge.\n\n> Thanks\n",
        new_text="Blue.\nLarge.",
    )

    assert marked_text(message) == "> Which colour?\nBlue.\n> Which size?\nLarge.\n\n> Thanks"
    assert own_text(marked_text(message)) == "Blue.\nLarge.\n"


def test_new_text_that_is_not_found_in_the_whole_stands_before_it() -> None:
    message = IncomingMessage(key="k", quoted=True, text="Blue , please\nOld", new_text="Blue, please")

    assert marked_text(message) == "Blue, please\n\n> Blue , please\n> Old"


def test_a_text_that_quotes_nothing_stays_as_it_is() -> None:
    text = "One\r\n> two\n"

    assert marked_text(IncomingMessage(key="k", text=text, new_text=text)) == text
    assert marked_text(IncomingMessage(key="k", text=text, new_text=text, quoted=True)) == text


@given(lines=st.lists(st.tuples(st.booleans(), st.text(st.sampled_from("ab c"), max_size=5)), max_size=12))
def test_no_new_line_is_ever_marked_as_quoted(lines: list[tuple[bool, str]]) -> None:
    text = "\n".join(line for _, line in lines)
    new = "\n".join(line for is_new, line in lines if is_new)

    marked = marked_text(IncomingMessage(key="k", text=text, new_text=new, quoted=True))

    kept = [line.strip() for line in own_text(marked).splitlines() if line.strip()]
    assert kept == [line.strip() for line in new.splitlines() if line.strip()]


def answered(arguments: dict[str, object], held: Conversation, place: tuple[int, int] = (1, 0)) -> ToolOutcome:
    return Mail({PATH: MESSAGE}).answer(GROUP, arguments, held, place)


def test_only_the_groups_own_messages_are_given() -> None:
    wrong: list[dict[str, object]] = [{"message_id": "message:gmail:other"}, {"message_id": 7}, {}]
    for arguments in wrong:
        failure = answered(arguments, conversation()).failure
        assert failure is not None
        assert failure.reason == "INVALID_ARGUMENT"


def test_a_message_is_given_once_and_pointed_to_afterwards() -> None:
    held = conversation(json.dumps({"message_id": PATH}), "no JSON", "[]", json.dumps({"message_id": PATH}))

    first = answered({"message_id": PATH}, held, (0, 0))
    again = answered({"message_id": PATH}, held, (0, 3))

    assert json.loads(first.result_json or "")["subject"] == "Re: Logo"
    assert json.loads(again.result_json or "") == {"message_id": PATH, "given_before": True}


def test_a_message_that_is_gone_is_gone_each_time() -> None:
    held = conversation(json.dumps({"message_id": PATH}))
    nothing = Mail({})
    held.steps[0].outcomes[0] = nothing.answer(GROUP, {"message_id": PATH}, held, (0, 0))

    again = nothing.answer(GROUP, {"message_id": PATH}, held, (1, 0))

    assert again.failure is not None
    assert again == held.steps[0].outcomes[0]
    assert again.failure.reason == "NOT_FOUND"


def test_what_has_no_answer_yet_is_missing() -> None:
    held = conversation(json.dumps({"message_id": "a"}), json.dumps({"message_id": "b"}), "no JSON")
    held.steps[0].outcomes[0] = ToolOutcome(result_json="{}")

    assert missing_texts(["a", "b", "c"], held) == {"b", "c"}
    assert missing_texts(["a", "b"], None) == {"a", "b"}


def test_the_tool_only_reads_and_takes_one_id() -> None:
    assert READ_MESSAGE_TOOL.effect is EffectClass.READ_ONLY
    check_arguments({"message_id": PATH}, READ_MESSAGE_TOOL.input_schema)


def test_the_id_of_a_message() -> None:
    assert message_id("gmail", "18c2a9f0b1") == "message:gmail:18c2a9f0b1"
    assert message_id("outlook", "AAMk/x+y==") == "message:outlook:AAMk/x+y=="
    assert message_id("My Mail!", "1") == "message:my-mail-:1"
    assert message_id("", "1") == "message:unknown:1"


@given(provider=st.text(max_size=50), key=st.text(max_size=1_200))
def test_the_id_of_any_message_is_one_plain_line_that_the_device_takes(provider: str, key: str) -> None:
    name = message_id(provider, key)

    assert name.isascii()
    assert name.isprintable()
    assert " " not in name
    assert len(name) <= 1_024
    assert message_id(provider, key) == name


def test_two_keys_have_two_ids() -> None:
    assert len({message_id("x", key) for key in ("a b", "a  b", "a\nb", "a\u200bb", "x" * 900, "x" * 901)}) == 6
