"""The commands for agents and runs as a user meets them, on a running stack."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.system.users import User, at_once, check_refused, processed, state

pytestmark = pytest.mark.system


def test_an_agent_is_made_shown_listed_changed_and_deleted(mia: User) -> None:
    made = mia.json(
        *("agents", "create", "Garden [1]", "-d", f"{mia.root.name}/garden", "-t", "tasks", "-t", "notes", "-e", ".md"),
        *("--instructions", "Only the roses."),
    )
    agent = made["agent_id"]

    shown = mia.json("agents", "show", agent)
    listed = mia.json("agents", "list", "--limit", "1")["agents"]
    changed = mia.json("agents", "update", agent, "--name", "Roses", "--cron", "0 7 * * *", "--timezone", "Asia/Tokyo")
    by_hand = mia.json("agents", "update", agent, "--cron", "")
    deleted = mia.json("agents", "delete", agent)

    assert shown == made == listed[0]
    assert made["definition"]["data_types"] == ["DATA_TYPE_TASKS", "DATA_TYPE_NOTES"]
    assert made["definition"]["local_directory"]["file_extensions"] == [".md"]
    assert (changed["definition"]["display_name"], changed["schedule"]["time_zone"]) == ("Roses", "Asia/Tokyo")
    assert changed["definition"] == {**made["definition"], "display_name": "Roses"}
    assert "schedule" not in by_hand
    assert deleted == {"deleted": agent}
    check_refused(mia.adiuva("agents", "show", agent, check=False), "NOT_FOUND")


def test_tables_show_ids_in_full_and_names_as_they_are(mia: User) -> None:
    agent = mia.json("agents", "create", "Bills [bold]", "-d", mia.root.name)["agent_id"]

    listed, shown = mia.adiuva("agents", "list").stdout, mia.adiuva("agents", "show", agent).stdout

    assert agent in listed
    assert all(words in shown for words in (agent, "Bills [bold]", "by hand", "never"))


def test_a_check_makes_nothing(mia: User) -> None:
    lists = [("agents", "list"), ("runs", "list")]
    before = at_once(lambda command: mia.json(*command), lists)

    agent = mia.json("agents", "create", "X", "-d", "x", "--check")
    run = mia.json("runs", "start", "-d", "x", "--check", "--watch")

    assert (agent["agent_id"], run["run_id"]) == ("", "")
    assert at_once(lambda command: mia.json(*command), lists) == before


def test_a_run_of_an_agent_is_started_watched_shown_and_listed(mia: User) -> None:
    folder = mia.folder("kitchen", a="- [ ] Descale the kettle\n")
    agent = mia.json("agents", "create", "Kitchen", "-d", folder)["agent_id"]

    started = mia.json("runs", "start", agent)
    watched = mia.json("runs", "watch", started["run_id"])
    shown = mia.json("runs", "show", started["run_id"])
    listed = mia.json("runs", "list", "--agent", agent)["runs"]
    seen = mia.json("agents", "show", agent)

    assert state(started) in {"QUEUED", "RUNNING"}
    assert (state(watched), processed(watched), watched["counts"]["created"]["tasks"]) == ("SUCCEEDED", (1, 1), 1)
    assert shown == watched
    assert [run["run_id"] for run in listed] == [started["run_id"]]
    assert seen["last_run_at"]


def test_the_events_of_a_run_are_lines_of_json_from_its_beginning_to_its_end(mia: User) -> None:
    folder = mia.folder("cellar", a="- [ ] Bottle the cider\n")
    run = mia.json("runs", "start", "-d", folder)

    lines = mia.adiuva("runs", "watch", run["run_id"], "--events").stdout.splitlines()
    events = [json.loads(line) for line in lines]

    numbers = [int(event["seq"]) for event in events]
    assert numbers == sorted(numbers)
    assert events[-1]["state_changed"]["state"] == "RUN_STATE_SUCCEEDED"
    assert [event["item_processed"]["item"] for event in events if "item_processed" in event] == [f"{folder}/a.md"]


def test_a_watched_run_ends_the_command_with_a_table_and_the_exit_code_of_its_state(mia: User) -> None:
    folder = mia.folder("attic", a="- [ ] Air the blankets\n")

    good = mia.adiuva("runs", "start", "-d", folder, "--watch")
    bad = mia.adiuva("runs", "start", "-d", f"{folder}/nowhere", "--watch", check=False)
    listed = mia.adiuva("runs", "list", "--limit", "2").stdout

    assert all(words in good.stdout for words in ("SUCCEEDED", "1 of 1 processed", "1 tasks", "offline"))
    assert all(words in bad.stdout for words in ("FAILED", "DIRECTORY_NOT_FOUND", f"{folder}/nowhere"))
    assert (good.returncode, bad.returncode) == (0, 1)
    assert all(run["run_id"] in listed for run in mia.json("runs", "list", "--limit", "2")["runs"])


def test_an_inline_run_with_the_same_client_agent_id_takes_only_what_changed(mia: User) -> None:
    folder, agent = mia.folder("porch", a="- [ ] Oil the hinge\n"), str(uuid.uuid4())

    runs = [mia.run("-d", folder, "--client-agent-id", agent) for _ in range(2)]

    assert [processed(run) for run in runs] == [(1, 1), (0, 0)]


def test_only_the_files_with_the_chosen_endings_and_the_chosen_types_are_worked_on(mia: User) -> None:
    folder = mia.folder("desk", a="# Meeting on 3 March 2027\n\n- [ ] Send the minutes\n")
    (mia.root / "desk" / "b.txt").write_text("- [ ] Not this one\n", encoding="utf-8")

    run = mia.run("-d", folder, "-e", ".md", "-t", "tasks")

    assert processed(run) == (1, 1)
    assert {kind: count for kind, count in run["counts"]["created"].items() if count} == {"tasks": 1}


def test_the_devices_of_a_user_are_shown_with_their_roots_and_tools(mia: User) -> None:
    (listed,) = mia.json("devices", "list")["devices"]
    shown = mia.json("devices", "show", mia.device_id)
    tools = mia.json("devices", "tools", mia.device_id)["tools"]

    assert (listed["device_id"], listed["online"], listed["root_names"]) == (mia.device_id, True, [mia.root.name])
    assert shown["device_id"] == mia.device_id
    assert {"read_file_content", "create_task"} <= {tool["name"] for tool in tools}


def test_suggestions_are_approved_and_rejected_one_by_one(mia: User) -> None:
    folder = mia.folder("hall", a="- [ ] Hang the mirror\n- [ ] Throw the mirror away\n")
    run = mia.run("-d", folder)["run_id"]
    rows = {row["title"]: row["id"] for row in mia.json("workspace", "show", "--run", run)["tasks"]}

    mia.json("workspace", "approve", rows["Hang the mirror"])
    mia.json("workspace", "reject", rows["Throw the mirror away"])
    left = mia.json("workspace", "show", "--run", run)["tasks"]

    assert [(row["title"], row["state"]) for row in left] == [("Hang the mirror", "approved")]
