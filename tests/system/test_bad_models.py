"""Model endpoints that fail, and models that answer badly: real runs against an endpoint that does as it is told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_api import Scripted, ask, refuse, say
from tests.system.endpoint import Endpoint, last_message
from tests.system.local_stack import LocalStack
from tests.system.users import User, add_user, processed, reasons, state, until

pytestmark = pytest.mark.system

AT_ONCE = {"retry-after": "0"}
GARBAGE = Scripted(body="<html>502 Bad Gateway</html>", content_type="text/html")


@pytest.fixture(scope="module")
def ida(model_stack: LocalStack, scratch: Path) -> Iterator[User]:
    """A user without any project: her files go to processing without triage."""
    user = add_user(model_stack, "ida", scratch)
    with user.at_the_device():
        yield user


@pytest.fixture(scope="module")
def eve(model_stack: LocalStack, endpoint: Endpoint, scratch: Path) -> Iterator[User]:
    """A user with one project, so that a model is asked to sort her files."""
    user = add_user(model_stack, "eve", scratch)
    with user.at_the_device():
        folder = user.folder("first", a="The project Acme.\n")
        made = {"name": "create_project", "arguments": {"name": "Acme", "source": f"{folder}/a.md"}}
        endpoint.script("eve begins", Scripted(tool_calls=(made,)), say("Made Acme."))
        run = user.work(folder, "eve begins")
        assert run["counts"]["created"]["projects"] == 1, run
        yield user


@pytest.fixture(scope="module", autouse=True)
def garbage(eve: User, endpoint: Endpoint, uma: User) -> tuple[str, str, str]:
    """Start what takes its time, beside all that ida does: eve's run that gets garbage, and uma's whose tool hangs.

    Returns:
        The folder, the client_agent_id and the run.
    """
    folder, agent = eve.folder("garbage", a="Acme.\n"), str(uuid.uuid4())
    endpoint.script("garbage", *(GARBAGE,) * 4)
    run = eve.json("runs", "start", "-d", folder, "--client-agent-id", agent, "--instructions", "garbage")
    return folder, agent, run["run_id"]


def project_of(user: User) -> str:
    project_id: str = user.json("workspace", "show", "--what", "projects")["projects"][0]["id"]
    return project_id


def results(endpoint: Endpoint, word: str) -> list[str]:
    """Return what the model was told last, at each of its calls after the first."""
    return [last_message(body) for body in endpoint.asked(word)[1:]]


# --- the endpoint


@pytest.mark.parametrize(
    ("word", "answers", "reason"),
    [
        ("refuses the key", [refuse(401)], "MODEL_UNAUTHENTICATED"),
        ("says 429 for an hour", [refuse(429, retry_after="3600")], "MODEL_RATE_LIMITED"),
        ("says 429 again and again", [Scripted(status=429, headers=AT_ONCE)] * 4, "MODEL_RATE_LIMITED"),
        ("is broken", [Scripted(status=500, headers=AT_ONCE)] * 4, "MODEL_UNAVAILABLE"),
        ("knows no such model", [refuse(404)], "MODEL_UNAVAILABLE"),
        ("is cut off", [say("I have read", finish_reason="length")], "MODEL_BAD_ANSWER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_gets_no_answer_fails_and_the_next_one_takes_its_files(
    ida: User, endpoint: Endpoint, word: str, answers: list[Scripted], reason: str
) -> None:
    folder, agent = ida.folder(word, a="Nothing.\n", b="Nothing.\n"), str(uuid.uuid4())
    endpoint.script(word, *answers)
    endpoint.script(f"once more: {word}", say("Nothing there."))

    run = ida.work(folder, word, agent=agent)
    again = ida.work(folder, f"once more: {word}", agent=agent)

    assert (state(run), reasons(run), processed(run)) == ("FAILED", [reason], (2, 0))
    assert run["errors"][0]["items"] == [f"{folder}/a.md", f"{folder}/b.md"]
    assert (state(again), processed(again)) == ("SUCCEEDED", (2, 2))


def test_an_endpoint_that_recovers_costs_a_run_nothing_but_time(ida: User, endpoint: Endpoint) -> None:
    folder = ida.folder("recovers", a="Nothing.\n")
    bad = [Scripted(status=429, headers=AT_ONCE), Scripted(status=503, headers=AT_ONCE)]
    endpoint.script("recovers", *bad, say("Nothing there."))

    run = ida.work(folder, "recovers")

    assert (state(run), run["errors"], run["usage"]["model_calls"]) == ("SUCCEEDED", [], 3)


def test_one_group_without_an_answer_does_not_keep_the_others_from_being_processed(
    ida: User, endpoint: Endpoint
) -> None:
    folder, agent = ida.folder("two groups"), str(uuid.uuid4())
    good, bad = ida.folder("two groups/good", a="Nothing.\n"), ida.folder("two groups/bad", b="Nothing.\n")
    endpoint.script(f"{bad}/b.md", say("I have", finish_reason="length"), say("Nothing there."))
    endpoint.script(f"{good}/a.md", say("Nothing there."))

    run = ida.work(folder, "two groups", agent=agent)
    again = ida.work(folder, "two groups", agent=agent)

    assert (state(run), reasons(run), processed(run)) == ("PARTIAL", ["MODEL_BAD_ANSWER"], (2, 1))
    assert run["errors"][0]["items"] == [f"{bad}/b.md"]
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))


# --- tool calls


def test_tools_that_are_invented_or_closed_are_answered_and_never_sent(ida: User, endpoint: Endpoint) -> None:
    folder = ida.folder("invents", a="Pay the rent.\n")
    endpoint.script(
        "invents",
        ask("delete_everything", path="/"),
        ask("complete_run", state="SUCCEEDED"),
        ask("create_task", title="Pay the rent", source=f"{folder}/a.md"),
        say("Made a task."),
    )

    run = ida.work(folder, "invents")

    told = results(endpoint, "invents")
    assert ("UNKNOWN_TOOL" in told[0], "UNKNOWN_TOOL" in told[1] or "POLICY_DENIED" in told[1]) == (True, True)
    assert (state(run), run["counts"]["created"]["tasks"]) == ("SUCCEEDED", 1)


def test_arguments_that_break_the_schema_are_answered_and_make_nothing(ida: User, endpoint: Endpoint) -> None:
    folder = ida.folder("breaks", a="Pay the rent.\n")
    bad: list[Any] = [{"title": 5}, {"title": "Pay", "is_approved": True}, {}, '{"title": ', "[]", '"Pay"']
    endpoint.script(
        "breaks", *(Scripted(tool_calls=({"name": "create_task", "arguments": it},)) for it in bad), say("No task.")
    )

    run = ida.work(folder, "breaks")

    told = results(endpoint, "breaks")
    assert len(told) == len(bad)
    assert all("INVALID_ARGUMENT" in text for text in told)
    assert (state(run), run["counts"]["created"]["tasks"]) == ("SUCCEEDED", 0)


def test_a_file_that_vanishes_is_named_and_the_others_are_processed(ida: User, endpoint: Endpoint) -> None:
    folder = ida.folder("vanishes", a="Nothing.\n", big="Nothing. " * 10_000)
    endpoint.script("vanishes", ask("read_file_content", path=f"{folder}/big.md"), say("It is gone."))
    endpoint.before_answering("vanishes", lambda _body: (ida.root / "vanishes" / "big.md").unlink(missing_ok=True))

    run = ida.work(folder, "vanishes")

    assert "NOT_FOUND" in results(endpoint, "vanishes")[0]
    assert (state(run), reasons(run), processed(run)) == ("PARTIAL", ["FILE_UNREADABLE"], (2, 1))
    assert run["errors"][0]["items"] == [f"{folder}/big.md"]


def test_files_that_the_model_does_not_read_are_named_and_offered_again(ida: User, endpoint: Endpoint) -> None:
    folder, agent = ida.folder("lazy", a="Nothing.\n", big="Nothing. " * 10_000), str(uuid.uuid4())
    endpoint.script(
        "lazy", *(say("Nothing there."),) * 2, ask("read_file_content", path=f"{folder}/big.md"), say("So.")
    )

    run = ida.work(folder, "lazy", agent=agent)
    again = ida.work(folder, "lazy", agent=agent)

    assert (state(run), reasons(run), processed(run)) == ("PARTIAL", ["FILE_UNREAD"], (2, 1))
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))


# --- triage


def test_an_endpoint_that_answers_garbage_is_asked_again_and_then_fails_the_run(
    eve: User, endpoint: Endpoint, garbage: tuple[str, str, str]
) -> None:
    folder, agent, run_id = garbage

    run = eve.ended(run_id)
    attempts = len(endpoint.asked("garbage"))
    endpoint.script("sense", say(json.dumps({project_of(eve): [f"{folder}/a.md"]})), say("Nothing there."))
    again = eve.work(folder, "sense", agent=agent)

    assert attempts == 4
    assert (state(run), reasons(run), processed(run)) == ("FAILED", ["MODEL_BAD_ANSWER"], (1, 0))
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))


def test_a_triage_answer_that_is_no_mapping_fails_the_run_and_the_next_one_takes_its_files(
    eve: User, endpoint: Endpoint
) -> None:
    folder, agent = eve.folder("chats", a="Acme.\n"), str(uuid.uuid4())
    endpoint.script("chats", say("What nice files!"), say("{'not': json}"), say("[1, 2]"))

    run = eve.work(folder, "chats", agent=agent)
    endpoint.script("chats", say(json.dumps({project_of(eve): [f"{folder}/a.md"]})), say("Nothing there."))
    again = eve.work(folder, "chats", agent=agent)

    assert (state(run), reasons(run), processed(run)) == ("FAILED", ["TRIAGE_UNUSABLE"], (1, 0))
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))


def test_unknown_projects_and_files_never_offered_go_back_to_the_model_and_then_to_standalone(
    eve: User, endpoint: Endpoint
) -> None:
    folder = eve.folder("dreams", a="Acme.\n", b="Beta.\n")
    dreamt = {"no-such-project": [f"{folder}/a.md"], project_of(eve): ["/etc/passwd", f"{folder}/b.md"]}
    endpoint.script("dreams", *(say(json.dumps(dreamt)),) * 3, *(say("Nothing there."),) * 2)

    run = eve.work(folder, "dreams")

    told = results(endpoint, "dreams")[:2]
    assert all("neither the id of a listed project" in text and "not in the list of files" in text for text in told)
    assert not any("passwd" in text or "no-such-project" in text for text in told)
    assert (state(run), processed(run)) == ("SUCCEEDED", (2, 2))


# --- the end of a run that somebody does not want any more


def test_a_run_under_way_is_cancelled_within_seconds_and_the_next_one_takes_its_files(
    ida: User, endpoint: Endpoint
) -> None:
    folder, agent = ida.folder("hangs", a="Nothing.\n"), str(uuid.uuid4())
    endpoint.script("hangs", Scripted(hang=True))
    endpoint.script("goes on", say("Nothing there."))
    run = ida.json("runs", "start", "-d", folder, "--client-agent-id", agent, "--instructions", "hangs")
    waiting = ida.json("runs", "start", "-d", folder, "--client-agent-id", agent, "--instructions", "hangs too")
    until(lambda: endpoint.asked("hangs"))

    ida.json("runs", "cancel", waiting["run_id"])
    ida.json("runs", "cancel", run["run_id"], "--reason", "Enough of it.")
    ended = ida.ended(run["run_id"], within=10)
    again = ida.work(folder, "goes on", agent=agent)

    assert (state(ended), ended["cancel_reason"], ended["errors"]) == ("CANCELLED", "Enough of it.", [])
    assert state(ida.json("runs", "show", waiting["run_id"])) == "CANCELLED"
    assert ida.adiuva("runs", "watch", run["run_id"], check=False).returncode == 1
    assert state(ida.json("runs", "cancel", run["run_id"])) == "CANCELLED"
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))


def test_none_of_it_was_a_surprise_to_the_services(model_stack: LocalStack, endpoint: Endpoint) -> None:
    logs = model_stack.logs()

    assert "run_failed_unexpectedly" not in logs
    assert "Traceback" not in logs
    assert endpoint.key not in logs
