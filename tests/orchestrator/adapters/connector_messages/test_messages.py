"""Messages through the connectors service, on the real wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import anyio
import grpc
import grpc.aio
import pytest

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from orchestrator.adapters.connector_messages import ConnectorMessages
from orchestrator.adapters.connector_messages.conversion import event_from_proto, message_from_proto
from orchestrator.runs.domain import ConnectionFault, ConnectorsUnavailable, RunFault
from orchestrator.runs.incoming import Fetch, IncomingMessage, Unread
from tests.conformance.orchestrator.messages import WANTED, MessagesConformance, MessagesHarness, keys
from tests.fakes.connectors import ConnectorsServer, Context
from tests.fakes.mailbox import FakeMailbox, Refused


@pytest.fixture
async def mailbox() -> FakeMailbox:
    return FakeMailbox()


@pytest.fixture
async def server(mailbox: FakeMailbox) -> AsyncIterator[ConnectorsServer]:
    async with ConnectorsServer(mailbox) as server:
        yield server


def impatient(channel: grpc.aio.Channel) -> ConnectorMessages:
    return ConnectorMessages(channel, patience_seconds=0.2, retry_seconds=0.01)


class TestConnectorMessages(MessagesConformance):
    @pytest.fixture
    async def harness(self, server: ConnectorsServer, mailbox: FakeMailbox) -> MessagesHarness:
        return MessagesHarness(impatient(server.channel), mailbox)


async def fault_of(messages: ConnectorMessages, wanted: Fetch = WANTED) -> RunFault:
    with anyio.fail_after(10), pytest.raises(RunFault) as raised:
        async with aclosing(messages.fetch(wanted)) as events:
            async for _event in events:
                pass
    return raised.value


async def test_a_service_that_restarts_is_waited_for(mailbox: FakeMailbox, server: ConnectorsServer) -> None:
    mailbox.add("m0", "Hello")
    mailbox.breaks = [(0, Refused("UNAVAILABLE")), (0, Refused("UNAVAILABLE"))]
    messages = ConnectorMessages(server.channel, patience_seconds=10, retry_seconds=0.01)

    events = await MessagesHarness(messages, mailbox).fetch()

    assert keys(events) == ["m0"]
    assert len(mailbox.fetches) == 3


async def test_nobody_at_the_address_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        fault = await fault_of(impatient(channel))

        with pytest.raises(ConnectorsUnavailable):
            await impatient(channel).commit("ada", "mail", "token")

    assert isinstance(fault, ConnectorsUnavailable)
    assert "operator" in fault.message


class Stubborn(ConnectorsServer):
    """Ends every fetch in a way of its own."""

    code: grpc.StatusCode | None = None

    async def fetch_messages(self, request: pb.FetchMessagesRequest, context: Context) -> None:
        if self.code is not None:
            await context.abort(self.code, "no")
        await context.write(pb.FetchMessagesResponse(started=pb.FetchStarted()))


async def test_a_stream_that_ends_without_its_end_is_no_end(mailbox: FakeMailbox) -> None:
    async with Stubborn(mailbox) as server:
        assert isinstance(await fault_of(impatient(server.channel)), ConnectorsUnavailable)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_credential_that_is_not_accepted_is_the_operators_business(
    mailbox: FakeMailbox, code: grpc.StatusCode
) -> None:
    async with Stubborn(mailbox) as server:
        server.code = code
        fault = await fault_of(impatient(server.channel))

    assert isinstance(fault, ConnectionFault)
    assert fault.reason == "CONNECTORS_UNAVAILABLE"
    assert "ADIUVA_CONNECTORS_TOKEN" in fault.message


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.INTERNAL])
async def test_a_status_that_nobody_declared_has_a_sentence_too(mailbox: FakeMailbox, code: grpc.StatusCode) -> None:
    async with Stubborn(mailbox) as server:
        server.code = code
        fault = await fault_of(impatient(server.channel))

    assert fault.reason == "CONNECTORS_UNAVAILABLE"
    assert "operator" in fault.message


class Sleepy(ConnectorsServer):
    """Says that it has begun, and no more."""

    async def fetch_messages(self, request: pb.FetchMessagesRequest, context: Context) -> None:
        await context.write(pb.FetchMessagesResponse(started=pb.FetchStarted()))
        await anyio.sleep_forever()


async def test_a_fetch_ends_within_its_time(mailbox: FakeMailbox) -> None:
    async with Sleepy(mailbox) as server:
        fault = await fault_of(ConnectorMessages(server.channel), replace(WANTED, within=timedelta(milliseconds=300)))

    assert isinstance(fault, ConnectionFault)
    assert fault.reason == "CONNECTORS_UNAVAILABLE"
    assert "in time" in fault.message


def test_an_event_of_a_newer_service_is_passed_over() -> None:
    assert event_from_proto(pb.FetchMessagesResponse()) is None
    assert event_from_proto(pb.FetchMessagesResponse(started=pb.FetchStarted())) is None


def test_a_message_without_a_key_is_known_by_the_providers_id() -> None:
    nameless = pb.FetchMessagesResponse(item_error=pb.ItemError(provider_id="p1", reason="MESSAGE_UNREADABLE"))

    assert message_from_proto(message_pb2.Message(provider_id="p1")).key == "p1"
    assert event_from_proto(nameless) == Unread(key="p1", reason="MESSAGE_UNREADABLE")


def test_what_quotes_nothing_is_new_as_a_whole() -> None:
    forward = message_from_proto(message_pb2.Message(key="k", text="See below.\nForwarded", new_text=""))

    assert forward.new_text == forward.text == "See below.\nForwarded"


def test_a_time_out_of_range_is_no_time() -> None:
    message = message_pb2.Message(key="k")
    message.received_at.seconds = 2**60

    assert message_from_proto(message) == IncomingMessage(key="k")


def test_nothing_that_somebody_wrote_stands_in_a_repr() -> None:
    message = message_from_proto(message_pb2.Message(key="k", subject="SECRET", text="SECRET", new_text="SECRET"))

    assert "SECRET" not in repr(message)
