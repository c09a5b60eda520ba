"""The connectors' port as others meet it: engineers with grpcurl, callers without a right, providers' webhooks."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from psycopg import sql

from adiuva.connectors.v1 import (
    admin_service_pb2 as admin_pb,
    connection_service_pb2 as pb,
    message_service_pb2 as messages_pb,
)
from adiuva.connectors.v1.admin_service_pb2_grpc import AdminServiceStub
from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceStub
from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceStub
from tests.system.accounts import Providers, database, link
from tests.system.local_stack import LocalStack
from tests.system.test_grpcurl import GRPCURL, grpcurl
from tests.system.users import User, add_user

pytestmark = pytest.mark.system
with_grpcurl = pytest.mark.skipif(
    GRPCURL is None, reason="GRPCURL IS NOT INSTALLED: the commands of the README go untested"
)

ACCOUNT = "hook@example.com"
PUBSUB_PUSH = json.dumps(
    {
        "message": {
            "data": "eyJlbWFpbEFkZHJlc3MiOiJob29rQGV4YW1wbGUuY29tIiwiaGlzdG9yeUlkIjoiOTk5In0=",
            "messageId": "1",
        },
        "subscription": "projects/x/subscriptions/gmail",
    }
)
GRAPH_NOTE = json.dumps(
    {"value": [{"subscriptionId": "s", "changeType": "created", "resource": "me/messages/1", "clientState": "x"}]}
)
WEBHOOKS = {
    "a push of Pub/Sub": ("POST / HTTP/1.1", PUBSUB_PUSH),
    "a push to a path": ("POST /webhooks/gmail HTTP/1.1", PUBSUB_PUSH),
    "Graph asking for its token back": ("POST /webhooks/graph?validationToken=canary-1234 HTTP/1.1", ""),
    "a notification of Graph": ("POST /webhooks/graph HTTP/1.1", GRAPH_NOTE),
    "a call over HTTP/1.1": ("POST /adiuva.connectors.v1.ConnectionService/ListConnections HTTP/1.1", ""),
    "a page": ("GET / HTTP/1.1", ""),
}


@pytest.fixture(scope="module")
def hugo(cloud: LocalStack, providers: Providers, scratch: Path) -> User:
    """A user with a linked account."""
    user = add_user(cloud, "hugo", scratch)
    providers.do(lambda emulator: emulator.google.add_account(ACCOUNT))
    link(user, "gmail", ACCOUNT)
    return user


@contextlib.contextmanager
def channel(user: User, token: str = "", acting_for: str = "") -> Iterator[grpc.Channel]:
    """Give a channel to the connectors with a token, the user's own by default, that names another user if given."""
    client = user.client
    metadata = [("authorization", f"Bearer {token or client['token']}")]
    if acting_for:
        metadata.append(("adiuva-user", acting_for))

    class Credentials(grpc.AuthMetadataPlugin):
        def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
            callback(tuple(metadata), None)

    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(Path(client["ca_file"]).read_bytes()),
        grpc.metadata_call_credentials(Credentials()),
    )
    options = (("grpc.ssl_target_name_override", client["server_name"]),)
    with grpc.secure_channel(client["connectors"]["target"], credentials, options) as secure:
        yield secure


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """Return the status that a call is refused with."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    code: grpc.StatusCode = refused.value.code()
    return code


def posted(user: User, request_line: str, body: str, *, protocol: str) -> bytes:
    """Send an HTTP/1.1 request to the connectors' port, and return all that comes back.

    Args:
        user: Whose token it carries.
        request_line: Its first line.
        body: Its body.
        protocol: What the TLS handshake says is to be spoken; empty is no TLS.
    """
    host, _, port = user.client["connectors"]["target"].rpartition(":")
    head = (
        f"{request_line}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {user.client['token']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    received = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError), contextlib.ExitStack() as open_sockets:
        connection = open_sockets.enter_context(socket.create_connection((host, int(port)), timeout=10))
        if protocol:
            context = ssl.create_default_context(cafile=user.client["ca_file"])
            context.set_alpn_protocols([protocol])
            connection = open_sockets.enter_context(
                context.wrap_socket(connection, server_hostname=user.client["server_name"])
            )
        connection.sendall(head.encode() + body.encode())
        while piece := connection.recv(65_536):
            received += piece
    return received


def content(cloud: LocalStack, *, of: str) -> dict[str, list[str]]:
    """Return all rows of the connectors' schema that name a connection; others may change by themselves."""
    with database(cloud) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'connectors'").fetchall()
        return {
            table: sorted(
                row
                for (row,) in connection.execute(
                    sql.SQL("SELECT t::text FROM connectors.{} t WHERE t::text LIKE %s").format(sql.Identifier(table)),
                    [f"%{of}%"],
                ).fetchall()
            )
            for (table,) in tables
        }


# --- webhooks


@pytest.mark.parametrize("protocol", ["http/1.1", "h2", ""], ids=["as HTTP/1.1", "as if it were HTTP/2", "without TLS"])
@pytest.mark.parametrize("name", list(WEBHOOKS))
def test_nothing_that_a_provider_would_push_is_taken_in(
    name: str, protocol: str, hugo: User, cloud: LocalStack, providers: Providers
) -> None:
    (linked,) = hugo.json("connections", "list")["connections"]
    before = content(cloud, of=linked["connection_id"])
    providers.do(lambda emulator: emulator.reset_counters())

    answer = posted(hugo, *WEBHOOKS[name], protocol=protocol)

    # What there is speaks HTTP/2: its greeting, or nothing.
    assert not answer.startswith(b"HTTP/1.1 2")
    assert b"canary" not in answer
    assert len(answer) < 1024
    assert content(cloud, of=linked["connection_id"]) == before
    assert providers.do(lambda emulator: emulator.calls()) == []
    assert hugo.json("connections", "list")["connections"] == [linked]
    assert linked["account"] == ACCOUNT


@pytest.mark.parametrize("path", ["/", "/webhooks/gmail", "/adiuva.connectors.v1.ConnectionService/Notify"])
def test_there_is_no_other_method(path: str, hugo: User) -> None:
    with channel(hugo) as known:
        method = known.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        code = code_of(lambda: method(b"{}", timeout=10))

    assert code is grpc.StatusCode.UNIMPLEMENTED


# --- who may call


def test_a_user_is_neither_the_operator_nor_another_user(hugo: User) -> None:
    with channel(hugo) as own, channel(hugo, acting_for="local") as other:
        codes = {
            code_of(lambda: AdminServiceStub(own).RotateKeys(admin_pb.RotateKeysRequest(), timeout=10)),
            code_of(lambda: AdminServiceStub(own).ListAuditEvents(admin_pb.ListAuditEventsRequest(), timeout=10)),
            code_of(lambda: ConnectionServiceStub(other).ListConnections(pb.ListConnectionsRequest(), timeout=10)),
        }

    assert codes == {grpc.StatusCode.PERMISSION_DENIED}


def test_the_service_acts_for_users_and_has_to_name_them(hugo: User, cloud: LocalStack) -> None:
    token = (cloud.data / "tokens" / "service").read_text(encoding="utf-8").strip()
    with channel(hugo, token, "hugo") as named, channel(hugo, token) as unnamed:
        listed = ConnectionServiceStub(named).ListConnections(pb.ListConnectionsRequest(), timeout=10)
        code = code_of(lambda: ConnectionServiceStub(unnamed).ListConnections(pb.ListConnectionsRequest(), timeout=10))
        trail = AdminServiceStub(unnamed).ListAuditEvents(admin_pb.ListAuditEventsRequest(), timeout=10)

    assert [one.account for one in listed.connections] == [ACCOUNT]
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert {"hugo"} <= {event.user_id for event in trail.events}


@pytest.mark.parametrize("credential", ["adv_unknown", "", "x" * 5000])
def test_whoever_is_not_known_learns_nothing(credential: str, hugo: User) -> None:
    with channel(hugo, credential or "none") as stranger:
        code = code_of(lambda: ConnectionServiceStub(stranger).ListConnections(pb.ListConnectionsRequest(), timeout=10))

    assert code is grpc.StatusCode.UNAUTHENTICATED


def test_a_devices_code_opens_nothing_here(hugo: User) -> None:
    code = hugo.json("devices", "enrol")["code"]
    client = hugo.client
    options = (("grpc.ssl_target_name_override", client["server_name"]),)
    credentials = grpc.ssl_channel_credentials(Path(client["ca_file"]).read_bytes())
    with grpc.secure_channel(client["connectors"]["target"], credentials, options) as unsigned:
        list_connections = ConnectionServiceStub(unsigned).ListConnections
        refused = code_of(
            lambda: list_connections(
                pb.ListConnectionsRequest(), timeout=10, metadata=(("authorization", f"Enrolment {code}"),)
            )
        )

    assert refused in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def test_the_messages_of_another_users_connection_are_not_found(hugo: User, cloud: LocalStack, scratch: Path) -> None:
    (connection,) = hugo.json("connections", "list")["connections"]
    other = add_user(cloud, "igor", scratch)
    request = messages_pb.FetchMessagesRequest(connection_id=connection["connection_id"], subscriber=str(uuid.uuid4()))

    with channel(other) as of_igor, channel(hugo) as of_hugo:
        code = code_of(lambda: list(MessageServiceStub(of_igor).FetchMessages(request, timeout=20)))
        events = list(MessageServiceStub(of_hugo).FetchMessages(request, timeout=20))

    assert code is grpc.StatusCode.NOT_FOUND
    assert events[-1].HasField("completed")


# --- grpcurl


@with_grpcurl
def test_health_and_reflection_answer_grpcurl(cloud: LocalStack) -> None:
    assert "SERVING" in grpcurl(cloud, "connectors", "grpc.health.v1.Health/Check", data={})
    listed = grpcurl(cloud, "connectors", "list").split()
    assert {f"adiuva.connectors.v1.{name}" for name in ("ConnectionService", "MessageService", "AdminService")} <= set(
        listed
    )
    assert "rpc FetchMessages" in grpcurl(cloud, "connectors", "describe", "adiuva.connectors.v1.MessageService")


@with_grpcurl
def test_messages_are_fetched_with_grpcurl(cloud: LocalStack, providers: Providers) -> None:
    account = "local.user@example.com"
    providers.do(lambda emulator: emulator.google.add_account(account))
    owner = User(cloud, "local", cloud.data, cloud.data)
    connection = link(owner, "gmail", account)["connection_id"]

    events = grpcurl(
        cloud,
        "connectors",
        "adiuva.connectors.v1.MessageService/FetchMessages",
        data={"connection_id": connection, "subscriber": str(uuid.uuid4())},
    )

    assert "FETCH_MODE_WINDOW" in events
    assert "completed" in events
