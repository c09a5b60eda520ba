"""kill -9 of the connectors while a mailbox is fetched: every message is delivered, and none is worked on twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

import connectors
from adiuva.connectors.v1 import admin_service_pb2
from tests.emulator.core import Emulator
from tests.faults.mailboxes import Mailbox
from tests.faults.subscribers import Left, OnStep, Subscriber
from tests.faults.test_refresh_kills import AFTER_COMMIT, BEFORE_COMMIT
from tests.system.connectors_service import Installation, Replica, replicas

CONNECTORS = Path(connectors.__file__).parent

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1200)]

FULL = os.environ.get("ADIUVA_FAULTS") == "full"
KILLS = 100 if FULL else 6
SEED = 20_261_122
MAILS = 120
"""In a mailbox in the end; half of them come in while it is read."""
SPOILT = 24
"""The place of the one that cannot be read."""
AT_A_TIME = 30
LATENCY_MS = 8
FAILPOINTS = {
    "connectors.before_round_stored": (1, 2),
    "connectors.after_round_stored": (1, 2),
    "connectors.before_delivery": (1, 20, 21, 55),
    "connectors.before_commit": (1, 3),
    "connectors.after_commit": (1, 3),
}
"""At which hits; the last one only, unless all faults are asked for. Those of a refresh are in `test_refresh_kills`."""


@dataclass(slots=True, kw_only=True)
class Killer:
    """Kills a replica at a step, or a moment later."""

    replica: Replica
    tasks: asyncio.TaskGroup
    kind: str
    """Of the steps that count; empty for all events."""
    step: int
    later_ms: float
    _steps: int = 0

    @classmethod
    def at_random(cls, rng: random.Random, replica: Replica, tasks: asyncio.TaskGroup) -> Killer:
        """Choose the moment: at any event of a fetch, around a commit, or while the provider is asked."""
        kind, step, later_ms = rng.choice(
            [
                ("", rng.randint(1, AT_A_TIME + 4), 0.0),
                ("message", rng.randint(1, AT_A_TIME), 0.0),
                ("message", rng.randint(1, AT_A_TIME), rng.uniform(0, 40)),
                ("commit", 1, rng.uniform(0, 12)),
                ("fetch", 1, rng.uniform(0, 120)),
            ]
        )
        return cls(replica=replica, tasks=tasks, kind=kind, step=step, later_ms=later_ms)

    def on_step(self, kind: str) -> None:
        """Count a step, and strike at the right one."""
        if kind == self.kind or (not self.kind and kind not in {"commit", "fetch"}):
            self._steps += 1
            if self._steps == self.step:
                self.tasks.create_task(self._strike())

    async def _strike(self) -> None:
        await asyncio.sleep(self.later_ms / 1000)
        self.replica.send_kill()


def nothing(_kind: str) -> None:
    """Let a step pass."""


async def live(replica: Replica, subscriber: Subscriber, left: Left, on_step: OnStep) -> bool:
    """Start the process, and read until it dies; return whether nothing was left before that."""
    await replica.start()
    async with replica.client() as client:
        try:
            on_step("fetch")
            await subscriber.catch_up(client, left=left, on_step=on_step)
            is_done = True
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            is_done = False
        else:
            replica.send_kill()
        async with asyncio.timeout(10):
            await replica.until_ended()
        return is_done


async def linked(replica: Replica, mailbox: Mailbox) -> str:
    """Link the mailbox, and return the id of the connection. The process is ended."""
    async with replicas(replica), replica.client() as client:
        return (await client.link("gmail", mailbox.address)).connection_id


async def check_the_end(replica: Replica, mailbox: Mailbox, subscriber: Subscriber) -> None:
    """Read what is left, check that all was worked on once, and that a further fetch has nothing to tell."""
    async with replicas(replica), replica.client() as client:
        await subscriber.catch_up(client, on_step=nothing)
        subscriber.check(mailbox)
        before = len(mailbox.emulator.counters.calls)
        completed = await subscriber.catch_up(client, on_step=nothing)
        quarantined = await client.admin.ListQuarantinedMessages(
            admin_service_pb2.ListQuarantinedMessagesRequest(connection_id=subscriber.connection_id)
        )
    assert not completed.delivered
    assert not completed.unreadable
    assert completed.provider_calls == len(mailbox.emulator.counters.calls) - before <= 3
    subscriber.check(mailbox)
    assert [one.provider_id for one in quarantined.messages] == [mailbox.unreadable]


async def test_a_mailbox_is_read_once_though_the_process_is_killed_at_any_message(
    shared: Installation, emulator: Emulator
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - the same moments each time
    emulator.latencies["/gmail/"] = LATENCY_MS
    kills = again = 0
    while kills < KILLS:
        mailbox = Mailbox(emulator, f"mia-{kills}@example.com")
        mailbox.receive(MAILS // 2, over=timedelta(days=5))
        mailbox.spoil(SPOILT)
        replica = Replica(shared)
        subscriber = Subscriber(connection_id=await linked(replica, mailbox), name="agent-1", max_messages=AT_A_TIME)
        done = False
        while not done and kills < KILLS:
            async with asyncio.TaskGroup() as tasks:
                killer = Killer.at_random(rng, replica, tasks)
                done = await live(replica, subscriber, rng.choice(list(Left)), killer.on_step)
            kills += not done
            if len(mailbox.ids) < MAILS:
                mailbox.receive(5)
                done = False
        mailbox.receive(MAILS - len(mailbox.ids))
        await check_the_end(replica, mailbox, subscriber)
        again += sum(subscriber.delivered.values()) - len(subscriber.delivered)

    assert again, "no kill hit between a delivery and its commit"


@pytest.mark.parametrize(
    ("failpoint", "hit"), [(name, hit) for name, hits in FAILPOINTS.items() for hit in (hits if FULL else hits[-1:])]
)
async def test_a_mailbox_is_read_once_though_the_process_dies_at_the_worst_moment(
    failpoint: str, hit: int, shared: Installation, emulator: Emulator, place: Path
) -> None:
    fired = place / "fired"
    fired.mkdir()
    mailbox = Mailbox(emulator, "mia@example.com")
    mailbox.receive(MAILS, over=timedelta(days=5))
    mailbox.spoil(SPOILT)
    replica = Replica(
        shared, settings={"ADIUVA_FAILPOINTS": f"{failpoint}=kill@{hit}", "ADIUVA_FAILPOINTS_DIR": str(fired)}
    )
    subscriber = Subscriber(connection_id=await linked(replica, mailbox), name="agent-1", max_messages=AT_A_TIME)

    deaths = 0
    while not await live(replica, subscriber, Left.COMMITTED, nothing):
        deaths += 1

    assert [file.name for file in fired.iterdir()] == [failpoint], "the failpoint did not fire"
    assert deaths == 1
    mailbox.receive(AT_A_TIME)
    await check_the_end(replica, mailbox, subscriber)


def test_every_failpoint_of_the_connectors_is_hit_by_a_test() -> None:
    named = {
        name for file in CONNECTORS.rglob("*.py") for name in re.findall(r'failpoint\("(.*?)"\)', file.read_text())
    }

    assert named == {*FAILPOINTS, BEFORE_COMMIT, AFTER_COMMIT}
