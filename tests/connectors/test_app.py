"""The service as it is put together: every part of it answers, with a real database and the emulated providers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from adiuva.connectors.v1 import (
    admin_service_pb2 as admin_pb,
    connection_pb2,
    connection_service_pb2 as pb,
    message_service_pb2 as messages_pb,
)
from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceStub
from adiuva_rpc.settings import load
from adiuva_rpc.status import from_rpc_error
from adiuva_rpc.tokens import TokenFileError
from connectors.app import running
from connectors.policy import POLICY
from connectors.settings import ConnectorsSettings
from connectors.vault.key_file import KeyFileError
from tests.connectors.harness import Harness, callers, emulated, harness
from tests.emulator.core import Emulator
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.microsoft.login import Decision

ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    # There is no authorization that waits for an empty answer.
    grpc.StatusCode.FAILED_PRECONDITION,
}
"""What an empty request may be answered."""
ANNA = "anna@example.com"
WORK = "anna@contoso.example"


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    with anyio.fail_after(40):
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("connectors")


@pytest.fixture(scope="module")
async def emulator() -> AsyncIterator[Emulator]:
    async with emulated() as emulator:
        emulator.google.add_account(ANNA)
        emulator.microsoft.add_account(WORK)
        yield emulator


@pytest.fixture(scope="module")
async def service(directory: Path, database_url: str, emulator: Emulator) -> AsyncIterator[Harness]:
    async with harness(directory, database_url, emulator) as running_service:
        yield running_service


@pytest.fixture(scope="module")
async def replica(directory: Path, database_url: str, service: Harness) -> AsyncIterator[Harness]:
    """A second one on the same database."""
    async with harness(directory, database_url, service.emulator) as running_service:
        yield running_service


def method_of(full_name: str) -> Any:
    service, _, method = full_name.removeprefix("/").partition("/")
    return Default().FindServiceByName(service).methods_by_name[method]


async def called(channel: grpc.aio.Channel, full_name: str) -> grpc.StatusCode:
    """Call a method with an empty request, and return its status; OK when a stream has begun."""
    method = method_of(full_name)
    options: dict[str, Any] = {
        "request_serializer": GetMessageClass(method.input_type).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    request = GetMessageClass(method.input_type)()
    try:
        if method.server_streaming:
            stream = channel.unary_stream(full_name, **options)(request, timeout=10)
            assert await stream.read() is not grpc.aio.EOF
            stream.cancel()
        else:
            await channel.unary_unary(full_name, **options)(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def next_event(watch: Any) -> pb.WatchConnectionsResponse:
    event = await watch.read()
    assert isinstance(event, pb.WatchConnectionsResponse)
    return event


async def watched(service: Harness) -> Any:
    """Return a watch whose snapshot is complete. One that has just started may be told to come again."""
    stub = await service.connections()
    while True:
        watch = stub.WatchConnections(pb.WatchConnectionsRequest())
        try:
            while (await next_event(watch)).kind != pb.CONNECTION_EVENT_KIND_SNAPSHOT_END:
                pass
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)
            continue
        return watch


def mail(emulator: Emulator, subject: str, **fields: Any) -> Mail:
    at = emulator.now()
    raw = compose(subject=subject, text=f"{subject}, please.\n", message_id=f"<{uuid.uuid4()}@x.test>", **fields)
    return Mail(raw=raw, received_at=at)


# --- what every service has


async def test_it_serves_on_a_free_port_and_says_so(service: Harness) -> None:
    health = health_pb2_grpc.HealthStub(await service.channel(None))

    answer = await health.Check(health_pb2.HealthCheckRequest())

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert service.connectors.server.port > 0
    assert service.connectors.registry.names == ("gmail", "outlook", "teams")


async def test_reflection_lists_the_services_to_known_callers_only(service: Harness) -> None:
    async def listed(caller: str | None) -> set[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(await service.channel(caller))
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        return {each.name async for answer in call for each in answer.list_services_response.service}

    assert {method.split("/")[1] for method in POLICY} <= await listed("anna")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(None)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", list(POLICY))
async def test_every_method_is_there(method: str, service: Harness) -> None:
    code = await called(await service.channel("service" if "AdminService" in method else "anna"), method)

    assert code in ANSWERS


@pytest.mark.parametrize("method", list(POLICY))
async def test_no_method_answers_a_stranger(method: str, service: Harness) -> None:
    assert await called(await service.channel(None), method) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", [method for method in POLICY if "AdminService" in method])
async def test_the_operators_methods_answer_no_user(method: str, service: Harness) -> None:
    assert await called(await service.channel("anna"), method) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_user_does_not_become_another_one_by_naming_it(service: Harness) -> None:
    await service.link("gmail", ANNA, "ben")
    as_ben = ConnectionServiceStub(await service.channel("anna", "ben"))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await as_ben.ListConnections(pb.ListConnectionsRequest())

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_service_acts_for_the_user_that_it_names(service: Harness) -> None:
    linked = await service.link("gmail", ANNA, "ben")

    found = {}
    for user in ("anna", "ben"):
        stub = ConnectionServiceStub(await service.channel("service", user))
        listed = await stub.ListConnections(pb.ListConnectionsRequest())
        found[user] = linked.connection_id in {each.connection_id for each in listed.connections}

    assert found == {"anna": False, "ben": True}


# --- from consent to messages


@pytest.mark.parametrize(("provider", "account"), [("gmail", ANNA), ("outlook", WORK)])
async def test_an_account_is_linked_and_its_messages_come_once(
    provider: str, account: str, service: Harness, emulator: Emulator
) -> None:
    mailbox = emulator.google.mailbox(account) if provider == "gmail" else emulator.microsoft.mailbox(account)
    mailbox.deliver(mail(emulator, f"First at {provider}"))
    mailbox.deliver(
        mail(emulator, f"Second at {provider}", attachments=(Attachment("list.txt", b"one\ntwo\n", "text/plain"),))
    )

    linked = await service.link(provider, account)
    first = await service.fetch(linked.connection_id)
    await service.commit(linked.connection_id, first.completed.cursor_token)
    second = await service.fetch(linked.connection_id)

    assert (linked.provider, linked.account.lower(), linked.user_id) == (provider, account, "anna")
    assert linked.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert [message.subject for message in first.messages] == [f"First at {provider}", f"Second at {provider}"]
    assert second.messages == []
    assert 0 < second.completed.provider_calls <= 3
    (attachment,) = first.messages[1].attachments
    stub = await service.messages()
    pieces = stub.GetAttachment(
        messages_pb.GetAttachmentRequest(
            connection_id=linked.connection_id,
            provider_id=first.messages[1].provider_id,
            attachment_id=attachment.attachment_id,
        )
    )
    assert b"".join([piece.data async for piece in pieces]) == b"one\ntwo\n"


async def test_teams_is_linked_with_a_code(service: Harness, emulator: Emulator) -> None:
    stub = await service.connections()
    emulator.microsoft.login.device_interval = 1
    begun = await stub.BeginAuthorization(
        pb.BeginAuthorizationRequest(
            request_id=str(uuid.uuid4()), provider="teams", flow=pb.AUTHORIZATION_FLOW_DEVICE_CODE
        )
    )
    emulator.microsoft.login.decide_device(begun.authorization.user_code, Decision.APPROVED, WORK)

    async def poll() -> pb.PollDeviceAuthorizationResponse:
        request = pb.PollDeviceAuthorizationRequest(flow_id=begun.authorization.flow_id)
        while True:
            try:
                answer = await stub.PollDeviceAuthorization(request)
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(from_rpc_error(error).retry_after or 0.1)
                continue
            if answer.HasField("connection"):
                return answer
            await asyncio.sleep(answer.retry_after.ToTimedelta().total_seconds())

    linked = (await poll()).connection

    assert (linked.provider, linked.account) == ("teams", WORK)
    assert (await service.fetch(linked.connection_id)).messages == []


async def test_the_operator_reads_the_trail_and_rotates(service: Harness, emulator: Emulator) -> None:
    emulator.google.add_account("seen.once@example.com")
    linked = await service.link("gmail", "seen.once@example.com")
    admin = await service.admin()

    trail = await admin.ListAuditEvents(admin_pb.ListAuditEventsRequest(connection_id=linked.connection_id))
    rotated = await admin.RotateKeys(admin_pb.RotateKeysRequest())
    quarantine = await admin.ListQuarantinedMessages(admin_pb.ListQuarantinedMessagesRequest())

    assert [event.action for event in trail.events] == ["AUTHORIZED", "BEGUN"]
    assert {event.actor for event in trail.events} == {"anna"}
    assert (list(rotated.failures), sum(key.current for key in rotated.keys)) == ([], 1)
    assert list(quarantine.messages) == []


async def test_what_happens_at_one_replica_is_seen_at_the_other(service: Harness, replica: Harness) -> None:
    watch = await watched(replica)

    linked = await service.link("gmail", ANNA)
    seen = set()
    while (linked.connection_id, connection_pb2.CONNECTION_STATE_ACTIVE) not in seen:
        event = await next_event(watch)
        seen.add((event.connection.connection_id, event.connection.state))
    fetched = await replica.fetch(linked.connection_id)
    watch.cancel()

    assert fetched.completed.unreadable == 0


async def test_a_connection_that_is_ended_is_ended_at_the_provider_too(service: Harness, emulator: Emulator) -> None:
    gmail, outlook = await service.link("gmail", ANNA), await service.link("outlook", WORK)
    stub = await service.connections()

    ended = [await stub.Disconnect(pb.DisconnectRequest(connection_id=each.connection_id)) for each in (gmail, outlook)]

    assert [each.connection.state for each in ended] == [connection_pb2.CONNECTION_STATE_DISCONNECTED] * 2
    assert [each.revoked for each in ended] == [True, False]
    assert ended[1].manage_url.startswith("https://")
    assert not emulator.google.grants.grants_of(ANNA)[-1].alive
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.fetch(gmail.connection_id)
    assert from_rpc_error(refused.value).reason == "DISCONNECTED"


# --- starts that are refused


@pytest.mark.parametrize(
    ("name", "error"), [("callers.json", TokenFileError), ("keys.json", KeyFileError)], ids=["callers", "keys"]
)
async def test_without_a_usable_file_it_does_not_start(
    name: str, error: type[Exception], tmp_path: Path, database_url: str, emulator: Emulator
) -> None:
    callers(tmp_path)
    (tmp_path / name).chmod(0o644)

    with pytest.raises(error, match=name):
        async with harness(tmp_path, database_url, emulator):
            pass


async def test_without_a_database_it_does_not_start(tmp_path: Path, emulator: Emulator) -> None:
    with pytest.raises(OSError):
        async with harness(tmp_path, f"postgresql+asyncpg://x@/x?host={tmp_path}", emulator):
            pass


async def test_beyond_this_machine_it_has_to_have_a_certificate(tmp_path: Path, database_url: str) -> None:
    callers(tmp_path)
    settings = load(
        ConnectorsSettings,
        {
            "ADIUVA_CONNECTORS_LISTEN": "0.0.0.0:0",
            "ADIUVA_DATABASE_URL": database_url,
            "ADIUVA_TOKEN_FILE": str(tmp_path / "callers.json"),
            "ADIUVA_KEY_FILE": str(tmp_path / "keys.json"),
        },
    )

    with pytest.raises(Exception, match="without TLS"):
        async with running(settings):
            pass
