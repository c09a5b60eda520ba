"""The agent over the real connectors: a process of theirs, emulated providers, and the tools of a real device."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from adiuva_rpc.channel import bearer, connect
from orchestrator.adapters.connector_messages import ConnectorMessages
from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.agents.domain import CloudConnector, MessageFilter
from orchestrator.runs.domain import RunState
from orchestrator.runs.ports import Inbox
from tests.device_bridge.agent.workspace.support import device
from tests.emulator.core import Clock, Emulator
from tests.emulator.mails import Mail, compose
from tests.emulator.running import running
from tests.fakes.journals import InMemoryMessageMemory
from tests.fakes.real_device import RealDevices
from tests.orchestrator.runs.lab import CloudLab
from tests.system.connectors_service import HOST, Installation, Replica, installation, replicas

pytestmark = [pytest.mark.system]

USER = "ada"
ADDRESSES = {"gmail": "ada@example.com", "outlook": "ada@contoso.example"}
ANNA, BOB, SHOP = "Anna <anna@acme.test>", "Bob <bob@nuvola.test>", "Shop <newsletter@shop.test>"
TITLES = ["Call the printer", "Das Logo schicken", "Mandare il PDF", "Send the texts"]


def mails(now: datetime) -> Iterator[Mail]:
    """Yield some days of mail: a thread with a quote, HTML, German, and a newsletter."""
    told = [
        ("t1", ANNA, "Texts", "Could you send the texts?\n", ""),
        ("t2", BOB, "Logo", "Könnten Sie bitte das Logo schicken?\n", ""),
        ("t3", SHOP, "Sale", "Please buy now!\n\nUnsubscribe: https://shop.test/x\n", ""),
        (
            "t1",
            ANNA,
            "Re: Texts",
            "TODO: Call the printer\n\nOn Monday Ada wrote:\n> TODO: Eat the cake\n",
            "<m0@x.test>",
        ),
    ]
    for number, (thread, sender, subject, text, answers) in enumerate(told):
        raw = compose(
            sender=sender,
            to="ada@example.com",
            subject=subject,
            text=text,
            message_id=f"<m{number}@x.test>",
            sent_at=now - timedelta(days=5 - number),
            in_reply_to=answers,
        )
        yield Mail(raw=raw, received_at=now - timedelta(days=5 - number), thread=thread)
    html = "<p>Ciao,</p><p>Potresti mandare il PDF?</p>"
    at = now - timedelta(hours=3)
    raw = compose(sender=BOB, to="ada@example.com", subject="PDF", html=html, message_id="<m9@x.test>", sent_at=at)
    yield Mail(raw=raw, received_at=at)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The providers with some days of mail, at the real time: the connectors are a process of their own."""
    now = datetime.now(UTC)
    async with running(Emulator(Clock(now, ticking=True))) as served:
        served.google.add_account(ADDRESSES["gmail"])
        served.microsoft.add_account(ADDRESSES["outlook"])
        for mail in mails(now):
            served.google.mailbox(ADDRESSES["gmail"]).deliver(mail)
            served.microsoft.mailbox(ADDRESSES["outlook"]).deliver(mail)
        yield served


@pytest.fixture
def shared(tmp_path: Path, new_database: Callable[[], str], emulator: Emulator) -> Installation:
    return installation(tmp_path / "connectors", new_database(), emulator.base_url)


@asynccontextmanager
async def office(shared: Installation, provider: str, directory: Path) -> AsyncIterator[tuple[CloudLab, RealDevices]]:
    """Give an agent on an account that was just linked, and the device that it works on."""
    replica = Replica(shared)
    async with replicas(replica), device(directory) as tools:
        async with replica.client(USER) as client:
            linked = await client.link(provider, ADDRESSES[provider])
        port = replica._program.ready["port"]
        async with connect(f"{HOST}:{port}", authorization=bearer(shared.token)) as channel:
            lab, devices = CloudLab(), RealDevices(tools)
            lab.definition = replace(lab.definition, source=CloudConnector(connection_id=linked.connection_id))
            lab.inbox = Inbox(messages=ConnectorMessages(channel), memory=InMemoryMessageMemory(lab.journals))
            lab.devices = devices  # type: ignore[assignment]  # keeps the same port
            lab.model = OfflineModel()  # type: ignore[assignment]  # likewise
            yield lab, devices


@pytest.mark.parametrize("provider", ADDRESSES)
async def test_mail_becomes_suggestions_once(provider: str, shared: Installation, tmp_path: Path) -> None:
    async with office(shared, provider, tmp_path / "device") as (lab, devices):
        with anyio.fail_after(50):
            first = await lab.work()
            second = await lab.next_run()

        rows = devices.device.rows("SELECT title, is_ai_suggested FROM tasks ORDER BY title COLLATE BINARY")

    assert (first.concluded, first.errors) == (RunState.SUCCEEDED, [])
    assert [row["title"] for row in rows] == TITLES
    assert all(row["is_ai_suggested"] for row in rows)
    assert {effect.source.split(":")[1] for effect in first.effects} == {provider}
    assert {effect.source for effect in first.effects} <= first.processed
    assert len(first.groups or ()) == 4
    assert (second.items, second.usage.model_calls) == ((), 0)


async def test_the_agents_own_filter_holds(shared: Installation, tmp_path: Path) -> None:
    async with office(shared, "gmail", tmp_path / "device") as (lab, devices):
        source = lab.definition.source
        assert isinstance(source, CloudConnector)
        of_client = MessageFilter(senders=("@nuvola.test",))
        lab.definition = replace(lab.definition, source=replace(source, filter=of_client))
        with anyio.fail_after(50):
            progress = await lab.work()

        titles = [row["title"] for row in devices.device.rows("SELECT title FROM tasks ORDER BY title")]

    assert len(progress.processed) == 2
    assert titles == ["Das Logo schicken", "Mandare il PDF"]


async def test_a_filter_that_the_provider_cannot_express_fails_the_run(shared: Installation, tmp_path: Path) -> None:
    async with office(shared, "outlook", tmp_path / "device") as (lab, _devices):
        source = lab.definition.source
        assert isinstance(source, CloudConnector)
        gmails = MessageFilter(provider_query="from:anna")
        lab.definition = replace(lab.definition, source=replace(source, filter=gmails))
        with anyio.fail_after(50):
            progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [error.reason for error in progress.errors] == ["FILTER_UNSUPPORTED"]
    assert "provider_query" in progress.errors[0].message


async def test_a_grant_that_was_revoked_fails_the_run_until_it_is_given_again(
    shared: Installation, emulator: Emulator, tmp_path: Path
) -> None:
    async with office(shared, "gmail", tmp_path / "device") as (lab, _devices):
        emulator.google.grants.revoke(ADDRESSES["gmail"])
        with anyio.fail_after(50):
            progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [error.reason for error in progress.errors] == ["NEEDS_REAUTH"]
