"""Devices, folders and files that a run cannot use: its record says which and why, and nothing is lost."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.system.local_stack import LocalStack
from tests.system.users import User, add_user, at_once, check_refused, like_anybody, processed, reasons, state

pytestmark = pytest.mark.system


@pytest.fixture(scope="module", autouse=True)
def early(noa: User) -> None:
    """Start noa's run first: it waits some 20 s for her device, beside all that the others do."""


# --- devices


def test_a_device_that_nobody_has_and_one_of_another_user_are_the_same_to_a_run(mia: User, noa: User) -> None:
    folder = mia.folder("for nobody", a="- [ ] Sweep\n")

    unknown = mia.run("--directory", folder, "--device", uuid.uuid4().hex)
    foreign = mia.run("--directory", folder, "--device", noa.device_id)

    assert state(unknown) == state(foreign) == "FAILED"
    assert reasons(unknown) == reasons(foreign) == ["DEVICE_UNKNOWN"]
    assert unknown["errors"] == foreign["errors"]


def test_a_device_of_another_user_cannot_be_looked_at_or_called(mia: User, noa: User) -> None:
    check_refused(mia.adiuva("devices", "show", noa.device_id, check=False), "DEVICE_UNKNOWN")
    check_refused(mia.adiuva("devices", "call", noa.device_id, "list_directory", check=False), "DEVICE_UNKNOWN")


def test_a_user_without_a_device_is_told_to_enrol_one(stack: LocalStack, scratch: Path) -> None:
    run = add_user(stack, "lea", scratch).run("--directory", "work")

    assert (state(run), reasons(run)) == ("FAILED", ["DEVICE_UNKNOWN"])


# --- folders


def test_a_folder_that_is_not_there_fails_the_run(mia: User) -> None:
    run = mia.run("--directory", f"{mia.root.name}/nothing here")

    assert (state(run), reasons(run)) == ("FAILED", ["DIRECTORY_NOT_FOUND"])
    assert run["errors"][0]["items"] == [f"{mia.root.name}/nothing here"]
    assert run["device_informed"]


def test_a_folder_below_no_root_fails_the_run(mia: User) -> None:
    run = mia.run("--directory", "etc/ssh")

    assert (state(run), reasons(run)) == ("FAILED", ["PATH_DENIED"])
    assert processed(run) == (0, 0)


def test_paths_that_lead_out_of_the_roots_are_refused_before_there_is_a_run(mia: User) -> None:
    root = mia.root.name
    before = mia.json("runs", "list", "--limit", "1")["runs"]

    paths = ("/etc", f"{root}/../noa", "..", "~/work", f"{root}\\sub", "")
    for done in at_once(lambda path: mia.adiuva("runs", "start", "--directory", path, check=False), paths):
        check_refused(done, "INVALID_ARGUMENT", "directory_paths[0]")

    assert mia.json("runs", "list", "--limit", "1")["runs"] == before


def test_one_missing_folder_does_not_keep_the_others_from_being_processed(mia: User) -> None:
    there, missing, agent = mia.folder("there", a="- [ ] Mow the lawn\n"), f"{mia.root.name}/later", str(uuid.uuid4())
    work = ("--directory", there, "--directory", missing, "--client-agent-id", agent)

    first = mia.run(*work)
    mia.folder("later", b="- [ ] Paint the fence\n")
    second = mia.run(*work)

    assert (state(first), reasons(first), processed(first)) == ("PARTIAL", ["DIRECTORY_NOT_FOUND"], (1, 1))
    assert (state(second), processed(second), second["counts"]["created"]["tasks"]) == ("SUCCEEDED", (1, 1), 1)


def test_links_out_of_a_root_are_passed_over(mia: User) -> None:
    folder = mia.folder("linked", a="- [ ] Call the plumber\n")
    place = mia.root / "linked"
    (place / "passwd.md").symlink_to("/etc/passwd")
    (place / "etc").symlink_to("/etc")
    (place / "circle").symlink_to(".")
    (place / "dangling.md").symlink_to("nowhere.md")

    run = mia.run("--directory", folder)

    assert (state(run), processed(run)) == ("SUCCEEDED", (1, 1))


def test_a_folder_with_nothing_in_it_is_done_at_once(mia: User) -> None:
    folder = mia.folder("bare")
    mia.folder("bare/and deeper")

    run = mia.run("--directory", folder)

    assert (state(run), processed(run), run["usage"]["model_calls"]) == ("SUCCEEDED", (0, 0), 0)


def test_a_folder_with_any_name_is_processed(mia: User) -> None:
    folder = mia.folder("Büro & Söhne — 项目 [neu] 'x'", notiz="- [ ] Angebot schreiben\n")

    run = mia.run("--directory", folder)
    tasks = mia.json("workspace", "show", "--run", run["run_id"])["tasks"]

    assert (state(run), processed(run)) == ("SUCCEEDED", (1, 1))
    assert [(task["title"], task["source"]) for task in tasks] == [("Angebot schreiben", f"{folder}/notiz.md")]


# --- files


@pytest.mark.skipif(like_anybody() is None, reason="ROOT KEEPS ITS CAPABILITIES HERE: no file is unreadable for it")
def test_an_unreadable_file_is_named_and_taken_once_it_can_be_read(mia: User) -> None:
    folder, agent = mia.folder("locked", a="- [ ] Sweep\n", b="- [ ] Dust\n"), str(uuid.uuid4())
    mia.folder("locked/deeper", c="- [ ] Polish\n")
    locked = [mia.root / "locked" / "b.md", mia.root / "locked" / "deeper"]
    for path in locked:
        path.chmod(0)

    first = mia.run("--directory", folder, "--client-agent-id", agent)
    for path in locked:
        path.chmod(0o700)
    second = mia.run("--directory", folder, "--client-agent-id", agent)
    made = {task["title"] for task in mia.json("workspace", "show", "--run", second["run_id"])["tasks"]}

    assert (state(first), reasons(first), processed(first)) == ("PARTIAL", ["FILE_UNREADABLE"], (1, 1))
    assert first["errors"][0]["items"] == [f"{folder}/b.md", f"{folder}/deeper"]
    assert (state(second), processed(second), made) == ("SUCCEEDED", (2, 2), {"Dust", "Polish"})


def test_binary_files_are_passed_over_and_not_offered_again(mia: User) -> None:
    folder, agent = mia.folder("binary", a="- [ ] Sort the bolts\n"), str(uuid.uuid4())
    (mia.root / "binary" / "program.md").write_bytes(b"\x7fELF\x02\x01\0\0" + bytes(range(256)) * 8)
    (mia.root / "binary" / "old.txt").write_bytes("- [ ] Gr\u00fc\u00dfe".encode("latin-1"))
    (mia.root / "binary" / "broken.docx").write_bytes(b"PK\x03\x04 this is no archive")

    first = mia.run("--directory", folder, "--client-agent-id", agent)
    second = mia.run("--directory", folder, "--client-agent-id", agent)

    assert (state(first), processed(first), first["counts"]["created"]["tasks"]) == ("SUCCEEDED", (4, 4), 1)
    assert (state(second), processed(second)) == ("SUCCEEDED", (0, 0))


def test_a_huge_file_is_read_in_part_or_named_and_the_others_are_processed(mia: User) -> None:
    folder = mia.folder("huge", a="- [ ] Count the boxes\n")
    with (mia.root / "huge" / "log.md").open("w", encoding="utf-8") as log:
        log.write("- [ ] Rotate the logs\n")
        log.writelines("nothing of note " * 1_000 + "\n" for _ in range(200))
    with (mia.root / "huge" / "scan.pdf").open("wb") as scan:
        scan.write(b"%PDF-1.7\n")
        scan.truncate(32 << 20)
    with (mia.root / "huge" / "image.md").open("wb") as image:
        image.truncate(1 << 40)

    run = mia.run("--directory", folder)
    made = {task["title"] for task in mia.json("workspace", "show", "--run", run["run_id"])["tasks"]}

    assert state(run) == "PARTIAL"
    assert made == {"Count the boxes", "Rotate the logs"}
    too_large = next(error for error in run["errors"] if error["items"] == [f"{folder}/scan.pdf"])
    assert (too_large["reason"], "too large" in too_large["message"]) == ("FILE_UNREADABLE", True)
    assert any(f"only the beginning of {folder}/log.md" in summary for summary in run["summaries"])


def test_none_of_it_was_a_surprise_to_the_services(stack: LocalStack) -> None:
    logs = stack.logs()

    assert "run_failed_unexpectedly" not in logs
    assert "Traceback" not in logs
