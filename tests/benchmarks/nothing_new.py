"""An agent that watches an account through the connectors, and runs again when nothing has come in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.adapters.connector_messages import ConnectorMessages
from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.adapters.sql.message_memory import SqlMessageMemory
from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import RunState
from orchestrator.runs.execute import execute
from orchestrator.runs.journal import open_journal
from orchestrator.runs.messages import ModelAnswer, ModelRequest
from orchestrator.runs.ports import Inbox
from orchestrator.runs.progress import Progress
from tests.benchmarks.bench import Bench
from tests.benchmarks.stores import DEFINITION, Stores, new_run, stores
from tests.emulator.client import ControlClient
from tests.fakes.devices import FakeDevices
from tests.system.connectors_service import USER, Replica


@dataclass(frozen=True, slots=True)
class Watched:
    """An account that an agent watches."""

    provider: str
    account: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a run over nothing new took."""

    provider_calls: int
    """All that the provider saw, for tokens too."""
    model_calls: int


class CountingModel:
    """The offline model. Implements `runs.ports.Model`."""

    name = "benchmark"

    def __init__(self) -> None:
        self._inner = OfflineModel()
        self.calls = 0

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Count, and answer."""
        self.calls += 1
        return await self._inner.answer(request)


async def nothing_new(bench: Bench, emulator: ControlClient, replica: Replica, watched: Watched) -> Quiet:
    """Link an account with some messages, run an agent over them, and once more.

    Raises:
        RuntimeError: the first run did not process what there is.
    """
    async with replica.client() as client:
        connection_id = (await client.link(watched.provider, watched.account)).connection_id
    model = CountingModel()
    async with stores(bench) as kept, replica.channel() as channel:
        inbox = Inbox(messages=ConnectorMessages(channel), memory=SqlMessageMemory(kept.pool))
        first = await _run(kept, inbox, model, connection_id)
        if not first.processed or not model.calls:
            raise RuntimeError(f"the first run over {watched.provider} found nothing: {first.errors}")
        model.calls = 0
        await emulator.reset_counters()
        await _run(kept, inbox, model, connection_id)
        return Quiet(provider_calls=int((await emulator.counters())["calls"]), model_calls=model.calls)


async def _run(kept: Stores, inbox: Inbox, model: CountingModel, connection_id: str) -> Progress:
    definition = replace(DEFINITION, source=CloudConnector(connection_id=connection_id))
    started = await kept.runs.start(replace(new_run(USER), definition=definition, request_id=str(uuid.uuid4())))
    run = await kept.runs.claim(started.run_id)
    if run is None:
        raise RuntimeError("the run that was just started is gone")
    journal = await open_journal(run, kept.journals)
    devices = FakeDevices()
    devices.add("laptop", user_id=USER)
    await execute(journal, devices=devices, model=model, clock=lambda: datetime.now(UTC), inbox=inbox)
    finished = journal.progress.finished
    if finished is None or finished.state is not RunState.SUCCEEDED:
        raise RuntimeError(f"the run did not succeed: {finished}, {journal.progress.errors}")
    return journal.progress
