"""Keys: rotated under load, removed too early, lost for good, and rows that are moved to where they do not belong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from adiuva.connectors.v1 import admin_service_pb2 as admin_pb, connection_pb2, message_service_pb2 as messages_pb
from connectors.vault.key_file import add_key, remove_key
from tests.connectors.cases.lab import ACTIVE, DISCONNECTED, Lab, Person, outcome_of

DECRYPT_FAILED = connection_pb2.CONNECTION_STATE_DECRYPT_FAILED
PATIENCE_SECONDS = 10
KEY, TOKENS = ("key_id", "wrapped_key"), ("refresh_token", "access_token")


@pytest.fixture
def keys(directory: Path) -> Path:
    """The key file. Every test leaves it with the keys that others need."""
    return directory / "keys.json"


def copied(keys: Path) -> bytes:
    """Return a copy of the file."""
    return keys.read_bytes()


def put_back(keys: Path, key_id: str, *, backup: bytes) -> None:
    """Bring back a key from a copy of the file."""
    content = json.loads(keys.read_bytes())
    content["keys"][key_id] = json.loads(backup)["keys"][key_id]
    keys.write_text(json.dumps(content))


async def rotate(lab: Lab) -> admin_pb.RotateKeysResponse:
    """Put everything under the newest key."""
    admin = await lab.other.admin()
    return await admin.RotateKeys(admin_pb.RotateKeysRequest())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a replica sees within a second: that the key file is another one."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - the file is looked at, and nobody tells when
            await anyio.sleep(0.02)


def key_of(lab: Lab, person: Person) -> str:
    """Return the id of the key that a connection is under."""
    rows = lab.sql("SELECT key_id FROM connectors.connections WHERE connection_id = %s", person.connection_id)
    return str(rows[0][0])


async def test_keys_are_rotated_while_everything_goes_on_and_the_old_one_can_go(lab: Lab, keys: Path) -> None:
    people = [await lab.linked(provider) for provider in ("gmail", "outlook", "gmail", "outlook")]
    subjects = {person.connection_id: lab.many(person, 25) for person in people}
    old = key_of(lab, people[0])
    new = add_key(keys)

    async def work(number: int, person: Person) -> list[str]:
        service = (lab.service, lab.other)[number % 2]
        read: list[str] = []
        while True:
            lab.grants(person.provider).expire_access(person.address)
            heard = await lab.fetch(person, at=service, max_messages=5)
            read += heard.subjects
            await lab.commit(person, heard.completed.cursor_token, at=service)
            if not heard.completed.has_more:
                return read

    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work(number, person)) for number, person in enumerate(people)]
        rotations = [tasks.create_task(rotate(lab)) for _ in range(3)]

    assert [task.result() for task in working] == [subjects[person.connection_id] for person in people]
    assert [list(task.result().failures) for task in rotations] == [[], [], []]
    rotated = await rotate(lab)
    assert {use.key_id: use.current for use in rotated.keys if use.grants or use.current} == {new: True}
    remove_key(keys, old)
    for person in people:
        lab.grants(person.provider).expire_access(person.address)
        await lab.use(person)
        await lab.use(person, at=lab.other)


async def test_a_key_that_is_removed_too_early_is_a_state_that_names_it_and_ends_with_its_return(
    lab: Lab, keys: Path
) -> None:
    person = await lab.linked("gmail")
    lab.many(person, 2)
    lost, backup = key_of(lab, person), copied(keys)
    add_key(keys)
    other = await lab.linked("gmail")
    remove_key(keys, lost)

    async def failed() -> bool:
        return await outcome_of(lab.use(person)) == "DECRYPT_FAILED"

    await until(failed)
    heard = await lab.fetch(person)
    connection = await lab.connection(person)
    rotated = await rotate(lab)

    assert heard.failure is not None
    assert (heard.failure.code.name, heard.failure.reason) == ("FAILED_PRECONDITION", "DECRYPT_FAILED")
    assert lost in heard.failure.message
    assert (connection.state, connection.reason) == (DECRYPT_FAILED, "KEY_MISSING")
    assert lost in connection.message
    reasons = {failure.connection_id: (failure.key_id, failure.reason) for failure in rotated.failures}
    assert reasons[person.connection_id] == (lost, "KEY_MISSING")
    assert {use.key_id: use.current for use in rotated.keys if use.current or use.key_id == lost}[lost] is False
    await lab.use(other)

    put_back(keys, lost, backup=backup)

    async def works() -> bool:
        return await outcome_of(lab.use(person)) == "OK"

    await until(works)
    assert (await lab.connection(person)).state == ACTIVE
    assert (await lab.audited(person)).count("DECRYPT_FAILED") == 1
    assert (await lab.consume(person)).subjects == ["Mail 000", "Mail 001"]


async def test_with_a_new_consent_a_connection_whose_key_is_lost_misses_no_message(lab: Lab, keys: Path) -> None:
    """Though it took the user longer to consent than a first window looks back."""
    person = await lab.linked("gmail")
    lab.many(person, 3)
    await lab.consume(person)
    lab.sql(
        "UPDATE connectors.cursors SET listed_at = listed_at - interval '20 days' WHERE connection_id = %s",
        person.connection_id,
    )
    lab.receive(person, "Long ago", at=lab.emulator.now() - timedelta(days=15))
    lab.receive(person, "Just now")
    lost = key_of(lab, person)
    add_key(keys)
    remove_key(keys, lost)

    async def failed() -> bool:
        return await outcome_of(lab.use(person)) == "DECRYPT_FAILED"

    await until(failed)
    again = await lab.reauthorize(person)
    heard = await lab.consume(person)

    assert (again.connection_id, again.state) == (person.connection_id, ACTIVE)
    assert heard.started.mode == messages_pb.FETCH_MODE_RESYNC
    assert heard.subjects == ["Long ago", "Just now"]


@pytest.mark.parametrize("columns", [KEY, *((token,) for token in TOKENS), (*KEY, *TOKENS)], ids=" ".join)
async def test_what_is_copied_into_the_row_of_another_user_does_not_open(lab: Lab, columns: tuple[str, ...]) -> None:
    mine, theirs = await lab.linked("gmail"), await lab.linked("gmail", "ben")
    statement = "UPDATE connectors.connections AS mine SET {} FROM connectors.connections AS theirs "
    statement = statement.replace("{}", ", ".join(f"{column} = theirs.{column}" for column in columns))
    lab.sql(
        f"{statement} WHERE mine.connection_id = %s AND theirs.connection_id = %s",
        mine.connection_id,
        theirs.connection_id,
    )
    lab.emulator.counters.reset()

    outcome = await outcome_of(lab.use(mine))

    assert outcome == "DECRYPT_FAILED"
    assert (await lab.connection(mine)).reason == "UNDECRYPTABLE"
    assert lab.emulator.counters.count() == 0, "nobody's token was sent anywhere"


async def test_what_a_connection_leaves_when_it_ends_opens_with_no_key(lab: Lab) -> None:
    person = await lab.linked("outlook")
    lab.many(person, 3)
    await lab.fetch(person)

    ended = await lab.disconnect(person)

    assert ended.connection.state == DISCONNECTED
    for table in ("cursors", "seen", "quarantine", "flows"):
        assert lab.rows(table, person) == []
    kept = lab.sql(
        "SELECT wrapped_key, refresh_token, access_token, claims FROM connectors.connections WHERE connection_id = %s",
        person.connection_id,
    )
    assert kept == [(None, None, None, "")]
    assert await outcome_of(lab.use(person)) == "DISCONNECTED"
    assert (await lab.disconnect(person)).connection == ended.connection
