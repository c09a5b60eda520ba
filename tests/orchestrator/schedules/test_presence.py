"""What starts when a device connects: once, whatever the device does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest

from adiuva_rpc.errors import Unavailable
from orchestrator.agents.domain import Agent, CloudConnector, LocalDirectory, OnOffline, Schedule
from orchestrator.runs.domain import RunState, Trigger
from orchestrator.schedules import presence as presence_module
from orchestrator.schedules.decisions import MAX_COUNTED, decide
from orchestrator.schedules.ports import Claim, Decide, Sight
from orchestrator.schedules.presence import Presence, PresenceTrigger
from tests.conformance.orchestrator.agents import LOCAL, a_mutation, an_agent
from tests.conformance.orchestrator.schedules import DAY, MINUTE, MINUTELY, NOON
from tests.fakes.schedules import InMemorySchedules
from tests.orchestrator.schedules.clockwork import SOON, ListMeter, ManualDevices, device

CLOUD = replace(LOCAL, source=CloudConnector(connection_id="mail"))
BOUND = replace(LOCAL, source=LocalDirectory(directory_paths=("a",), device_id="laptop"))
GONE = device(online=False)


class Lab(InMemorySchedules):
    """A store that tells when the trigger has looked."""

    def __init__(self) -> None:
        super().__init__()
        self.devices = ManualDevices()
        self.presence = Presence()
        self.meter = ListMeter()
        self.now = NOON
        self.looked = 0
        self.faults = 0
        self._looked = asyncio.Condition()

    async def claim_overdue(
        self, users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = ""
    ) -> Claim:
        async with self._looked:
            self.looked += 1
            self._looked.notify_all()
            if self.faults:
                self.faults -= 1
                raise Unavailable("The schedules cannot be used now.")
            return await super().claim_overdue(users, now, decide, limit=limit, after=after)

    async def has_looked(self, times: int) -> None:
        async with asyncio.timeout(SOON), self._looked:
            await self._looked.wait_for(lambda: self.looked >= times)

    async def agent(self, **fields: object) -> Agent:
        usual: dict[str, object] = {"schedule": MINUTELY, "created_at": NOON, "updated_at": NOON}
        agent = an_agent("ada", **(usual | fields))
        return await self.add(a_mutation("ada"), agent)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        trigger = PresenceTrigger(
            schedules=self, devices=self.devices, presence=self.presence, clock=lambda: self.now, meter=self.meter
        )
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(trigger.run())
            try:
                yield
            finally:
                task.cancel()

    async def park(self) -> None:
        """Let the ticker find the slot while nothing is connected."""
        self.now += MINUTE
        await self.claim_due(self.now, lambda one: decide(one, now=self.now, online=False), limit=100)


@pytest.fixture
async def lab() -> Lab:
    return Lab()


async def test_an_agent_that_waits_starts_when_its_device_connects(lab: Lab) -> None:
    agent = await lab.agent(definition=BOUND)
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device())
        await lab.has_looked(1)

    [run] = await lab.runs_of(agent.agent_id)
    assert (run.trigger, run.slot_time) == (Trigger.DEVICE_CONNECTED, NOON + MINUTE)
    assert [trigger for _one, trigger in lab.meter.seen] == [Trigger.DEVICE_CONNECTED]


async def test_a_device_that_is_there_at_the_start_counts_as_connecting(lab: Lab) -> None:
    agent = await lab.agent()
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, device(), Sight.COMPLETE)
        await lab.has_looked(1)

    assert len(await lab.runs_of(agent.agent_id)) == 1


async def test_agents_of_another_device_go_on_waiting(lab: Lab) -> None:
    bound = await lab.agent(definition=BOUND)
    anywhere = await lab.agent()
    cloud = await lab.agent(definition=CLOUD)
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device("phone"))
        await lab.has_looked(1)

    assert await lab.runs_of(bound.agent_id) == []
    assert (await lab.get("ada", bound.agent_id)).waits_for_device
    assert len(await lab.runs_of(anywhere.agent_id)) == len(await lab.runs_of(cloud.agent_id)) == 1


async def test_an_agent_that_has_never_run_starts_when_a_device_connects(lab: Lab) -> None:
    daily = await lab.agent(schedule=Schedule(cron="0 9 * * *"))
    elsewhere = await lab.agent(
        schedule=Schedule(cron="0 9 * * *", on_offline=OnOffline.SKIP),
        definition=replace(BOUND, source=LocalDirectory(directory_paths=("a",), device_id="desktop")),
    )

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device())
        await lab.has_looked(1)
        lab.devices.tell(GONE, device(session=1))
        await lab.has_looked(2)

    assert [run.slot_time for run in await lab.runs_of(daily.agent_id)] == [NOON.replace(hour=9)]
    assert (await lab.get("ada", elsewhere.agent_id)).skipped.count == 0


async def test_a_flapping_device_starts_one_run(lab: Lab) -> None:
    agent = await lab.agent()
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE)
        for session in range(50):
            lab.devices.tell(device(session=session), GONE)
        lab.devices.tell(device(session=50))
        await lab.has_looked(1)
        lab.devices.tell(GONE, device(session=51))
        await lab.has_looked(2)

    assert len(await lab.runs_of(agent.agent_id)) == 1


async def test_a_device_that_drops_and_comes_back_during_the_trigger_starts_one_run(lab: Lab) -> None:
    agent = await lab.agent()
    await lab.park()
    held = asyncio.Event()
    claim = lab.claim_overdue

    async def slow(users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = "") -> Claim:
        await held.wait()
        return await claim(users, now, decide, limit=limit, after=after)

    lab.claim_overdue = slow  # type: ignore[method-assign] # the store is slow just now

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device(session=1), GONE, device(session=2))
        for _ in range(10):
            await asyncio.sleep(0)
        held.set()
        await lab.has_looked(1)
        lab.devices.tell(GONE, device(session=3))
        await lab.has_looked(2)

    [run] = await lab.runs_of(agent.agent_id)
    assert run.state is RunState.QUEUED


async def test_a_device_that_is_gone_again_when_it_is_its_turn_starts_nothing(lab: Lab) -> None:
    agent = await lab.agent()
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device(), GONE)
        await lab.has_looked(1)

    assert await lab.runs_of(agent.agent_id) == []
    assert (await lab.get("ada", agent.agent_id)).waits_for_device


async def test_a_week_away_is_one_run(lab: Lab) -> None:
    agent = await lab.agent()
    await lab.park()
    lab.now += 7 * DAY

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device())
        await lab.has_looked(1)

    [run] = await lab.runs_of(agent.agent_id)
    assert run.slot_time == lab.now
    assert (await lab.get("ada", agent.agent_id)).missed.count == MAX_COUNTED


async def test_a_database_that_is_away_only_delays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "RETRY_SECONDS", 0.0)
    agent = await lab.agent()
    await lab.park()
    lab.faults = 2

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device())
        await lab.has_looked(3)

    assert len(await lab.runs_of(agent.agent_id)) == 1


async def test_every_page_of_a_users_agents_is_looked_at(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "AGENTS_AT_A_TIME", 3)
    agents = [await lab.agent() for _ in range(8)]
    await lab.park()

    async with lab.watched():
        lab.devices.tell(Sight.LOST, Sight.COMPLETE, device())
        await lab.has_looked(3)

    assert all([await lab.runs_of(agent.agent_id) for agent in agents])


def test_what_is_connected_is_known_only_after_everything_has_been_told() -> None:
    presence = Presence()

    assert presence.online("ada", "") is None
    presence.see(device())
    assert presence.online("ada", "") is None
    assert presence.complete() == ["ada"]
    assert presence.online("ada", "") is True
    assert presence.online("ada", "laptop") is True
    assert presence.online("ada", "phone") is False
    assert presence.online("bob", "") is False
    presence.lose()
    assert presence.online("ada", "") is None


def test_a_session_is_new_once() -> None:
    presence = Presence()
    presence.complete()

    seen = [presence.see(one) for one in (device(), device(), device(session=1), GONE, GONE, device(session=1))]

    assert seen == [True, False, True, False, False, True]
