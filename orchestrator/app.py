"""The composition root: the only file that names adapters."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from adiuva.orchestrator.v1 import agent_service_pb2_grpc, run_service_pb2_grpc
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import Limits, RpcServer, serve_until_signal
from adiuva_rpc.tls import ServerTls, channel_credentials
from adiuva_rpc.tokens import TokenFile
from orchestrator.adapters.connector_messages import ConnectorMessages
from orchestrator.adapters.device_tools import BridgeDevices
from orchestrator.adapters.dispatch import dispatch
from orchestrator.adapters.metrics import PrometheusMeter, metrics_listener
from orchestrator.adapters.migrations import upgrade
from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.adapters.openai_model import OpenAIConfig, OpenAIModel
from orchestrator.adapters.sql.agents import SqlAgents
from orchestrator.adapters.sql.bell import SqlBell
from orchestrator.adapters.sql.engine import engine
from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.message_memory import SqlMessageMemory
from orchestrator.adapters.sql.runs import SqlRuns
from orchestrator.adapters.sql.schedules import SqlSchedules
from orchestrator.agents.service import AgentService
from orchestrator.agents.servicer import AgentServicer
from orchestrator.policy import AGENT_SERVICE, POLICY, RUN_SERVICE
from orchestrator.runs.completion import keep_informing
from orchestrator.runs.ports import Inbox, MessageMemory, Model
from orchestrator.runs.service import RunService
from orchestrator.runs.servicer import RunServicer
from orchestrator.runs.worker import Worker
from orchestrator.schedules.alarm import BellAlarm
from orchestrator.schedules.ends import counting_ends
from orchestrator.schedules.presence import Presence, PresenceTrigger
from orchestrator.schedules.ticker import Ticker
from orchestrator.settings import OrchestratorSettings

LONGEST_UNARY_SECONDS = 310.0
"""WaitRun may wait 300 s."""


def now() -> datetime:
    """Return the time, for everything that takes a clock."""
    return datetime.now(UTC)


async def serve(settings: OrchestratorSettings) -> None:
    """Run the orchestrator until SIGTERM or SIGINT. Prints one line of JSON on stdout once it is ready."""
    database_url = settings.database_url.get_secret_value()
    await asyncio.to_thread(upgrade, database_url)
    async with AsyncExitStack() as parts:
        pool = await parts.enter_async_context(engine(database_url))
        channel = await parts.enter_async_context(
            connect(
                settings.bridge_target,
                tls=channel_credentials(settings.bridge_ca) if settings.bridge_ca else None,
                authorization=bearer(settings.bridge_token.get_secret_value()),
                server_name=settings.bridge_server_name,
            )
        )
        model = await parts.enter_async_context(chosen_model(settings))
        runs, journals, bell = SqlRuns(pool), SqlJournals(pool), SqlBell(database_url)
        agents, schedules = SqlAgents(pool), SqlSchedules(pool)
        devices = BridgeDevices(channel)
        inbox = await parts.enter_async_context(chosen_inbox(settings, SqlMessageMemory(pool)))
        worker = Worker(runs=runs, journals=journals, devices=devices, model=model, bell=bell, clock=now, inbox=inbox)
        execute = counting_ends(worker.run, schedules)
        jobs = await parts.enter_async_context(dispatch(database_url, execute, concurrency=settings.concurrent_runs))
        await parts.enter_async_context(metrics_listener(settings.metrics_listen))
        meter, presence, alarm = PrometheusMeter(), Presence(), BellAlarm(bell, now)
        ticker = Ticker(schedules=schedules, presence=presence, clock=now, alarm=alarm, meter=meter)
        trigger = PresenceTrigger(schedules=schedules, devices=devices, presence=presence, clock=now, meter=meter)

        server = RpcServer(
            address=settings.orchestrator_listen,
            policy=POLICY,
            authenticator=TokenFile(settings.token_file),
            tls=server_tls(settings),
            limits=Limits(unary_seconds=LONGEST_UNARY_SECONDS),
            reflection=[AGENT_SERVICE, RUN_SERVICE],
        )
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(
            AgentServicer(AgentService(agents, now=now)), server.grpc
        )
        run_service = RunService(runs=runs, reports=runs, journals=journals, agents=agents, bell=bell)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(RunServicer(run_service), server.grpc)

        async with asyncio.TaskGroup() as tasks:
            # What the worker writes with must outlive it: it is stopped first, and then they are.
            pillars = [tasks.create_task(part) for part in (journals.run(), bell.run(), devices.run())]
            informing = keep_informing(devices, runs, journals)
            hands = [
                tasks.create_task(part)
                for part in (jobs.work(), jobs.reap(), informing, ticker.run(), trigger.run(), alarm.run())
            ]

            async def drain() -> None:
                for hand in hands:
                    hand.cancel()
                await asyncio.gather(*hands, return_exceptions=True)

            await serve_until_signal(server, drain=drain, on_ready=lambda: _say_ready(server.port, model))
            for pillar in pillars:
                pillar.cancel()


@asynccontextmanager
async def chosen_model(settings: OrchestratorSettings) -> AsyncIterator[Model]:
    """Give the model that the settings ask for: an OpenAI-compatible endpoint with a key, else the offline model."""
    if settings.openai_api_key is None:
        yield OfflineModel()
        return
    model = OpenAIModel(
        OpenAIConfig(
            base_url=settings.openai_base_url,
            api_key=settings.openai_api_key,
            models=tuple(name.strip() for name in settings.model.split(",") if name.strip()),
        )
    )
    try:
        yield model
    finally:
        await model.aclose()


@asynccontextmanager
async def chosen_inbox(settings: OrchestratorSettings, memory: MessageMemory) -> AsyncIterator[Inbox | None]:
    """Give where messages come from, None where no connectors service is set up."""
    if settings.connectors_target is None or settings.connectors_token is None:
        yield None
        return
    async with connect(
        settings.connectors_target,
        tls=channel_credentials(settings.connectors_ca) if settings.connectors_ca else None,
        authorization=bearer(settings.connectors_token.get_secret_value()),
        server_name=settings.connectors_server_name,
    ) as channel:
        yield Inbox(messages=ConnectorMessages(channel), memory=memory)


def server_tls(settings: OrchestratorSettings) -> ServerTls | None:
    """Return the certificate to serve with, None when none is set."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerTls(cert=settings.tls_cert, key=settings.tls_key)


def _say_ready(port: int, model: Model) -> None:
    sys.stdout.write(json.dumps({"ready": True, "port": port, "model": model.name}) + "\n")
    sys.stdout.flush()
