"""What the composition root makes of its settings."""

from __future__ import annotations

from contextlib import aclosing

from adiuva_rpc.settings import load
from orchestrator.app import chosen_inbox
from orchestrator.runs.incoming import Arrived
from orchestrator.settings import OrchestratorSettings
from tests.conformance.orchestrator.messages import WANTED
from tests.fakes.connectors import ConnectorsServer
from tests.fakes.journals import InMemoryJournals, InMemoryMessageMemory
from tests.fakes.mailbox import FakeMailbox
from tests.orchestrator.test_settings import NEEDED

MEMORY = InMemoryMessageMemory(InMemoryJournals())


async def test_without_a_target_there_are_no_messages() -> None:
    async with chosen_inbox(load(OrchestratorSettings, NEEDED), MEMORY) as inbox:
        assert inbox is None


async def test_messages_come_from_the_service_at_the_target() -> None:
    mailbox = FakeMailbox()
    mailbox.add("m1", "Hello")
    async with ConnectorsServer(mailbox) as server:
        variables = NEEDED | {"ADIUVA_CONNECTORS_TARGET": server.target, "ADIUVA_CONNECTORS_TOKEN": "t"}
        async with chosen_inbox(load(OrchestratorSettings, variables), MEMORY) as inbox:
            assert inbox is not None
            async with aclosing(inbox.messages.fetch(WANTED)) as events:
                came = [event async for event in events]

    assert [event.message.key for event in came if isinstance(event, Arrived)] == ["m1"]
    assert inbox.memory is MEMORY
