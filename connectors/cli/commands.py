"""The commands of `adiuva connections`."""

from __future__ import annotations

import uuid
from typing import Annotated

import grpc.aio
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb, connection_service_pb2_grpc as pb_grpc
from connectors.cli.keys import app as keys
from connectors.cli.linking import Way, consent
from connectors.cli.output import AsJson, Client, as_dict, ask, cell, err, out, print_json

PAGE_SIZE = 1000

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Link, list, test and end accounts for mail and chat."
)
app.add_typer(keys, name="keys")

ConnectionId = Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id.", show_default=False)]
WayOption = Annotated[
    Way,
    typer.Option(
        "--by",
        help="browser: one on this machine. paste: one elsewhere, whose last address you paste here. "
        "device-code: a code that you type in elsewhere (Microsoft only).",
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only show the address; don't open a browser.")]


@app.command()
def link(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="gmail, outlook or teams.", show_default=False)],
    way: WayOption = Way.BROWSER,
    account: Annotated[str, typer.Option("--account", help="The account that you mean, to be preselected.")] = "",
    no_browser: NoBrowser = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """Link an account: you consent at the provider, and agents can read its new messages."""

    async def question(channel: grpc.aio.Channel) -> connection_pb2.Connection:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)

        async def begin(flow: pb.AuthorizationFlow.ValueType, redirect_uri: str) -> pb.Authorization:
            request = pb.BeginAuthorizationRequest(
                request_id=str(uuid.uuid4()),
                provider=provider,
                flow=flow,
                redirect_uri=redirect_uri,
                login_hint=account,
            )
            return (await stub.BeginAuthorization(request, timeout=60.0)).authorization

        return await consent(channel, begin, way, open_browser=not no_browser)

    _linked(ask(client, question), as_json=as_json)


@app.command()
def reauthorize(
    connection: ConnectionId,
    way: WayOption = Way.BROWSER,
    no_browser: NoBrowser = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """Consent again for a connection. It keeps its id and goes on where it was."""

    async def question(channel: grpc.aio.Channel) -> connection_pb2.Connection:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)

        async def begin(flow: pb.AuthorizationFlow.ValueType, redirect_uri: str) -> pb.Authorization:
            request = pb.ReauthorizeRequest(
                request_id=str(uuid.uuid4()), connection_id=connection, flow=flow, redirect_uri=redirect_uri
            )
            return (await stub.Reauthorize(request, timeout=60.0)).authorization

        return await consent(channel, begin, way, open_browser=not no_browser)

    _linked(ask(client, question), as_json=as_json)


@app.command("list")
def list_connections(
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """List the linked accounts, newest first."""

    async def question(channel: grpc.aio.Channel) -> list[connection_pb2.Connection]:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)
        found: list[connection_pb2.Connection] = []
        request = pb.ListConnectionsRequest(page_size=PAGE_SIZE, include_disconnected=everything)
        while True:
            page = await stub.ListConnections(request)
            found += page.connections
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    connections = ask(client, question)
    if as_json:
        print_json({"connections": [as_dict(connection) for connection in connections]})
    elif not connections:
        out.print("No accounts are linked yet. `adiuva connections link gmail` links one.")
    else:
        table = Table(
            Column("connection", no_wrap=True),
            Column("account, state and last answer", overflow="fold"),
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        for one in connections:
            last = _time(one.last_success_at, known=one.HasField("last_success_at"))
            table.add_row(one.connection_id, f"{cell(one.provider)} {cell(one.account) or '—'}\n{_state(one)}, {last}")
        out.print(table)


@app.command()
def show(connection: ConnectionId, client: Client = None, as_json: AsJson = False) -> None:
    """Show one connection."""

    async def question(channel: grpc.aio.Channel) -> connection_pb2.Connection:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)
        return (await stub.GetConnection(pb.GetConnectionRequest(connection_id=connection))).connection

    _show(ask(client, question), as_json=as_json)


@app.command("test")
def probe(connection: ConnectionId, client: Client = None, as_json: AsJson = False) -> None:
    """Ask the provider whose account it is: shows whether the connection works."""

    async def question(channel: grpc.aio.Channel) -> pb.TestConnectionResponse:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)
        return await stub.TestConnection(pb.TestConnectionRequest(connection_id=connection), timeout=60.0)

    answer = ask(client, question)
    if as_json:
        print_json(as_dict(answer))
        return
    took = answer.took.ToTimedelta().total_seconds()
    out.print(f"[green]works[/]: {cell(answer.connection.account)} answered in {took:.2f} s")


@app.command()
def disconnect(
    connection: ConnectionId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """End a connection: its grant is revoked at the provider, where that can be done, and destroyed here."""
    if not yes:
        typer.confirm(f"End {connection}? To use the account again you have to link it anew.", abort=True)

    async def question(channel: grpc.aio.Channel) -> pb.DisconnectResponse:
        stub: pb_grpc.ConnectionServiceAsyncStub = pb_grpc.ConnectionServiceStub(channel)
        return await stub.Disconnect(pb.DisconnectRequest(connection_id=connection), timeout=60.0)

    answer = ask(client, question)
    if as_json:
        print_json(as_dict(answer))
        return
    out.print("Ended. Its grant was destroyed here" + (" and revoked at the provider." if answer.revoked else "."))
    if answer.manage_url:
        out.print(f"The provider still lists the consent; remove it at {cell(answer.manage_url)}", soft_wrap=True)


def _linked(connection: connection_pb2.Connection, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(connection))
        return
    err.print(f"[green]linked[/] {cell(connection.account)} ({cell(connection.provider)})")
    out.print(connection.connection_id)
    err.print(f"[dim]an agent for it: adiuva agents create NAME --connection {connection.connection_id}[/]")


def _show(connection: connection_pb2.Connection, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(connection))
        return
    table = Table.grid(padding=(0, 3))
    rows = {
        "connection": connection.connection_id,
        "provider": cell(connection.provider),
        "account": cell(connection.account) or "—",
        "owner": cell(connection.user_id),
        "state": _state(connection),
        "why": cell(" ".join(part for part in (connection.reason, connection.message) if part)) or "—",
        "scopes": cell(", ".join(connection.scopes)) or "—",
        "last answer": _time(connection.last_success_at, known=connection.HasField("last_success_at")),
        "asked to wait until": _time(connection.next_allowed_at, known=connection.HasField("next_allowed_at")),
        "linked": _time(connection.created_at, known=True),
        "changed": _time(connection.updated_at, known=True),
    }
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", value)
    out.print(table)


def _state(connection: connection_pb2.Connection) -> str:
    name = connection_pb2.ConnectionState.Name(connection.state).removeprefix("CONNECTION_STATE_")
    color = {"ACTIVE": "green", "NEEDS_REAUTH": "red", "BLOCKED": "red", "DECRYPT_FAILED": "red"}.get(name)
    plain = name.lower().replace("_", " ")
    return f"[{color}]{plain}[/]" if color else plain


def _time(moment: Timestamp, *, known: bool) -> str:
    return moment.ToDatetime().strftime("%Y-%m-%d %H:%M:%S UTC") if known else "never"
