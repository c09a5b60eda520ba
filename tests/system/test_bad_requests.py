"""Requests that the services refuse: with a reason code, for the command line and without a trace of what there is."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import grpc
import pytest

from adiuva.orchestrator.v1 import agent_pb2, run_service_pb2
from tests.system.users import User, at_once, check_refused

pytestmark = pytest.mark.system


def test_an_agent_that_nobody_has_and_one_of_another_user_are_the_same_to_a_request(mia: User, noa: User) -> None:
    foreign = noa.json("agents", "list")["agents"][0]["agent_id"]

    commands = [
        *(("runs", "start", agent) for agent in (foreign, str(uuid.uuid4()), "no-such-agent")),
        *(("agents", *command, foreign) for command in (("show",), ("delete",), ("update", "--name", "Mine"))),
    ]
    for done in at_once(lambda command: mia.adiuva(*command, check=False), commands):
        check_refused(done, "NOT_FOUND", "no such agent")
    assert noa.json("agents", "show", foreign)["definition"]["display_name"] == "Notes"


def test_a_run_of_another_user_cannot_be_seen_or_ended(mia: User, noa: User) -> None:
    foreign = noa.json("runs", "list")["runs"][0]["run_id"]

    for done in at_once(lambda command: mia.adiuva("runs", command, foreign, check=False), ("show", "watch", "cancel")):
        check_refused(done, "NOT_FOUND", "no such run")


def test_a_valid_schedule_is_taken_and_says_when_it_fires_next(mia: User) -> None:
    agent = mia.json("agents", "create", "S", "-d", "x", "--cron", "0 7 * * 1-5", "--timezone", "Europe/Rome")

    assert agent["schedule"]["cron"] == "0 7 * * 1-5"
    assert agent["next_run_at"].endswith(":00:00Z")


def test_invalid_schedules_are_refused_and_change_nothing(mia: User) -> None:
    before = mia.json("agents", "list")

    times = [("every morning", "UTC"), ("61 * * * *", "UTC"), ("0 0 31 2 *", "UTC"), ("@daily", "UTC")]
    bad = at_once(
        lambda time: mia.adiuva(
            "agents", "create", "S", "-d", "x", "--cron", time[0], "--timezone", time[1], check=False
        ),
        [*times, ("0 7 * * *", "Mars")],
    )
    for done in bad[:-1]:
        check_refused(done, "INVALID_ARGUMENT", "schedule.cron")
    check_refused(bad[-1], "INVALID_ARGUMENT", "schedule.time_zone")

    assert mia.json("agents", "list") == before


def test_an_agents_schedule_is_not_replaced_by_an_invalid_one(mia: User) -> None:
    agent = mia.json("agents", "create", "S", "-d", "x", "--cron", "30 8 * * mon")["agent_id"]

    done = mia.adiuva("agents", "update", agent, "--cron", "30 25 * * mon", check=False)

    check_refused(done, "INVALID_ARGUMENT", "schedule.cron")
    assert mia.json("agents", "show", agent)["schedule"]["cron"] == "30 8 * * mon"


def test_a_token_that_is_wrong_or_missing_learns_nothing(mia: User, tmp_path: Path) -> None:
    wrong, empty = tmp_path / "wrong.json", tmp_path / "empty.json"
    wrong.write_text(json.dumps({**mia.client, "token": "adv_wrong"}), encoding="utf-8")
    empty.write_text(json.dumps({**mia.client, "token": ""}), encoding="utf-8")

    commands = [["runs", "start", "-d", "x", "--client", str(file)] for file in (wrong, empty)]
    commands += [[name, "list", "--client", str(wrong)] for name in ("devices", "agents")]
    for done in at_once(lambda command: mia.adiuva(*command, check=False), commands):
        check_refused(done, "UNAUTHENTICATED")
        assert done.stdout == ""


def test_a_request_over_the_size_limit_is_refused_and_the_next_one_is_served(mia: User, tmp_path: Path) -> None:
    big = tmp_path / "big.json"
    big.write_text(json.dumps({"path": "x" * (5 << 20)}), encoding="utf-8")

    refused = mia.adiuva("devices", "call", "-", "list_directory", f"@{big}", check=False)
    served = mia.adiuva("devices", "call", "-", "list_directory")

    check_refused(refused, "RESOURCE_EXHAUSTED")
    assert mia.root.name in served.stdout


def test_a_message_over_the_size_limit_is_refused_by_the_service_too(mia: User) -> None:
    request = run_service_pb2.StartRunRequest(
        request_id=str(uuid.uuid4()), definition=agent_pb2.AgentDefinition(prompt_template="x" * (5 << 20))
    )

    with mia.runs() as stub, pytest.raises(grpc.RpcError) as caught:
        stub.StartRun(request, metadata=mia.authorization, timeout=20)

    # grpc itself refuses it, before there is a call that could be given more of a reason.
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_instructions_that_are_too_long_are_refused(mia: User) -> None:
    done = mia.adiuva("runs", "start", "-d", "x", "--instructions", "x" * 100_000, check=False)

    check_refused(done, "INVALID_ARGUMENT", "prompt_template")
