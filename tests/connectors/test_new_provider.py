"""A provider that is added to the catalog is served like the others: linked, listed and read over the wire."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import grpc.aio
import pytest

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb, message_service_pb2 as messages_pb
from adiuva_rpc.status import from_rpc_error
from connectors.catalog import PROVIDERS, Builder, Maker
from connectors.providers.network import BaseUrl
from connectors.providers.port import Provider
from connectors.providers.quotas import Quota, Rate
from tests.connectors.harness import Harness, emulated, harness
from tests.connectors.providers.madeup.provider import Postbox, PostboxIdentity
from tests.connectors.providers.postbox_service import ADDRESS, Letter, PostboxService, postbox_service
from tests.emulator.core import Clock


def maker_of(service: PostboxService) -> Maker:
    """Return what a new provider adds to the catalog."""

    async def postbox(builder: Builder) -> Provider | None:
        base = BaseUrl(service.base_url, "postbox.example")
        identity = PostboxIdentity(base, now=builder.now, sleep=builder.sleep)
        builder.parts.push_async_callback(identity.aclose)
        quota = Quota(now=builder.now, sleep=builder.sleep, concurrency=4, per_connection=[Rate.per_second(100)])
        return Postbox(await builder.http(base, quota), identity)

    return postbox


@pytest.fixture
async def postbox() -> AsyncIterator[PostboxService]:
    with anyio.fail_after(40):
        async with postbox_service(Clock(datetime.now(UTC), ticking=True)) as service:
            yield service


@pytest.fixture
async def service(postbox: PostboxService, tmp_path: Path, database_url: str) -> AsyncIterator[Harness]:
    async with (
        emulated() as emulator,
        harness(tmp_path, database_url, emulator, makers=[*PROVIDERS, maker_of(postbox)]) as running,
    ):
        yield running


async def test_letters_come_once_and_the_unreadable_one_holds_nothing_up(
    service: Harness, postbox: PostboxService
) -> None:
    now = postbox.core.now()
    for letter in (Letter(now, "First"), Letter(now, None), Letter(now, "Third", file=b"bytes")):
        postbox.put(letter)

    linked = await service.link("postbox", ADDRESS)
    first = await service.fetch(linked.connection_id)
    await service.commit(linked.connection_id, first.completed.cursor_token)
    second = await service.fetch(linked.connection_id)
    postbox.put(Letter(postbox.core.now(), "Fourth"))
    third = await service.fetch(linked.connection_id)

    assert (linked.provider, linked.account, linked.state) == (
        "postbox",
        ADDRESS,
        connection_pb2.CONNECTION_STATE_ACTIVE,
    )
    assert [message.text for message in first.messages] == ["First", "Third"]
    assert (first.completed.delivered, first.completed.unreadable) == (2, 1)
    assert (second.messages, second.completed.provider_calls) == ([], 1)
    assert [message.text for message in third.messages] == ["Fourth"]
    (attachment,) = first.messages[1].attachments
    request = messages_pb.GetAttachmentRequest(
        connection_id=linked.connection_id,
        provider_id=first.messages[1].provider_id,
        attachment_id=attachment.attachment_id,
    )
    pieces = (await service.messages()).GetAttachment(request)
    assert b"".join([piece.data async for piece in pieces]) == b"bytes"


async def test_it_is_tested_and_ended_like_any_other(service: Harness) -> None:
    linked = await service.link("postbox", ADDRESS)
    stub = await service.connections()

    tested = await stub.TestConnection(pb.TestConnectionRequest(connection_id=linked.connection_id))
    ended = await stub.Disconnect(pb.DisconnectRequest(connection_id=linked.connection_id))

    assert tested.connection.account == ADDRESS
    assert (ended.revoked, ended.manage_url) == (False, "https://postbox.example/consents")
    assert service.connectors.registry.names == ("gmail", "outlook", "postbox", "teams")


async def test_what_it_cannot_do_is_refused_in_the_same_words(service: Harness) -> None:
    linked = await service.link("postbox", ADDRESS)
    stub = await service.connections()

    with pytest.raises(grpc.aio.AioRpcError) as no_codes:
        await stub.BeginAuthorization(
            pb.BeginAuthorizationRequest(
                request_id=str(uuid.uuid4()), provider="postbox", flow=pb.AUTHORIZATION_FLOW_DEVICE_CODE
            )
        )
    with pytest.raises(grpc.aio.AioRpcError) as no_senders:
        await service.fetch(linked.connection_id, filter={"senders": ["ada@example.com"]})

    assert from_rpc_error(no_codes.value).reason == "FLOW_UNSUPPORTED"
    assert from_rpc_error(no_senders.value).reason == "FILTER_UNSUPPORTED"
