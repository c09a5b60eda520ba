"""The commands of `adiuva devices`."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import grpc.aio
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Column, Table

from adiuva.device_bridge.v1 import (
    device_pb2,
    device_service_pb2 as pb,
    device_service_pb2_grpc as pb_grpc,
    tool_pb2,
    tool_service_pb2 as tools_pb,
    tool_service_pb2_grpc as tools_grpc,
)
from device_bridge.cli.output import as_dict, ask, cell, fail, out, print_json

MAX_TIMEOUT = 300.0
PAGE_SIZE = 1000

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, show, enrol and revoke devices, and call their tools."
)

Client = Annotated[
    Path | None,
    typer.Option("--client", help="The client.json to use; by default $ADIUVA_CLIENT or the one of `adiuva up`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON instead of a table.")]
DeviceId = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.", show_default=False)]


@app.command("list")
def list_devices(
    everything: Annotated[bool, typer.Option("--all", help="Revoked devices too.")] = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """List the devices, newest first."""

    async def question(channel: grpc.aio.Channel) -> list[device_pb2.Device]:
        stub: pb_grpc.DeviceServiceAsyncStub = pb_grpc.DeviceServiceStub(channel)
        devices: list[device_pb2.Device] = []
        request = pb.ListDevicesRequest(page_size=PAGE_SIZE, include_revoked=everything)
        while True:
            page = await stub.ListDevices(request)
            devices += page.devices
            if not page.next_page_token:
                return devices
            request.page_token = page.next_page_token

    devices = ask(client, question)
    if as_json:
        print_json({"devices": [as_dict(device) for device in devices]})
    elif not devices:
        out.print("No devices yet. `adiuva devices enrol` makes a code with which one joins.")
    else:
        table = Table(Column("device", no_wrap=True), "name", "state", "roots", "agent", "last seen")
        for device in devices:
            roots = ", ".join(device.root_names) or "none"
            table.add_row(
                device.device_id,
                cell(device.display_name),
                _state(device),
                cell(roots),
                cell(device.agent_version),
                _time(device.last_seen_at, device.HasField("last_seen_at")),
            )
        out.print(table)


@app.command()
def show(device: DeviceId, client: Client = None, as_json: AsJson = False) -> None:
    """Show one device."""

    async def question(channel: grpc.aio.Channel) -> device_pb2.Device:
        stub: pb_grpc.DeviceServiceAsyncStub = pb_grpc.DeviceServiceStub(channel)
        return (await stub.GetDevice(pb.GetDeviceRequest(device_id=device))).device

    _show(ask(client, question), as_json=as_json)


@app.command()
def tools(
    device: DeviceId,
    toolset: Annotated[str, typer.Option("--toolset", help="Only the tools of this family.")] = "",
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """List the tools that a device advertised last, also while it is offline."""

    async def question(channel: grpc.aio.Channel) -> pb.ListToolsResponse:
        stub: pb_grpc.DeviceServiceAsyncStub = pb_grpc.DeviceServiceStub(channel)
        return await stub.ListTools(pb.ListToolsRequest(device_id=device))

    answer = ask(client, question)
    listed = [tool for tool in answer.tools if toolset in {"", tool.toolset}]
    if as_json:
        print_json({"tools": [_tool_as_dict(tool) for tool in listed], "hash": answer.hash})
        return
    table = Table(Column("tool", no_wrap=True), "family", "effect", "what it does")
    for tool in listed:
        effect = tool_pb2.EffectClass.Name(tool.effect_class).removeprefix("EFFECT_CLASS_")
        table.add_row(cell(tool.name), cell(tool.toolset), effect.lower().replace("_", " "), cell(tool.description))
    out.print(table)


@app.command()
def call(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id; '-' for the one connected last.")],
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")],
    arguments: Annotated[
        str, typer.Argument(metavar="ARGS", help="A JSON object, @FILE, or - for standard input.")
    ] = "{}",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, max=MAX_TIMEOUT, help="Seconds.")] = 30.0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a device that is offline, until the timeout.")] = False,
    call_id: Annotated[str, typer.Option("--call-id", help="To repeat a call without repeating its effect.")] = "",
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """Call a tool on a device. Outside a run only tools that read may be called."""
    message = tool_pb2.ToolCall(
        call_id=call_id,
        device_id="" if device == "-" else device,
        tool=tool,
        arguments_json=_arguments(arguments),
        offline_policy=tool_pb2.OFFLINE_POLICY_WAIT if wait else tool_pb2.OFFLINE_POLICY_FAIL_FAST,
    )
    message.timeout.FromMilliseconds(round(timeout * 1000))

    async def question(channel: grpc.aio.Channel) -> tools_pb.CallToolResponse:
        stub: tools_grpc.ToolServiceAsyncStub = tools_grpc.ToolServiceStub(channel)
        return await stub.CallTool(tools_pb.CallToolRequest(call=message), timeout=timeout + 5.0)

    answer = ask(client, question)
    failure = answer.outcome.failure if answer.outcome.HasField("failure") else None
    if as_json:
        print_json(_outcome_as_dict(answer))
        raise typer.Exit(0 if failure is None else 1)
    if failure is not None:
        fail(failure.reason, failure.message or "The tool failed.")
    out.print_json(answer.outcome.result_json or "null")
    for effect in answer.outcome.effects:
        kind = tool_pb2.EffectKind.Name(effect.kind).removeprefix("EFFECT_KIND_").lower()
        out.print(f"{kind} {cell(effect.entity_type)} {cell(effect.entity_id)}: {cell(effect.title)}")


@app.command()
def enrol(
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=1440, help="How long the code works.")] = 10,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """Make a one-time code with which a new device joins."""
    request = pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
    request.lifetime.FromSeconds(minutes * 60)

    async def question(channel: grpc.aio.Channel) -> pb.CreateEnrolmentCodeResponse:
        stub: pb_grpc.DeviceServiceAsyncStub = pb_grpc.DeviceServiceStub(channel)
        return await stub.CreateEnrolmentCode(request)

    answer = ask(client, question)
    if as_json:
        print_json(as_dict(answer))
        return
    out.print(f"[bold]{answer.code}[/]")
    out.print(f"It works once, until {_time(answer.expires_at, known=True)}. On the new device:")
    out.print(f"  adiuva device --code {answer.code}")


@app.command()
def revoke(
    device: DeviceId,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    client: Client = None,
    as_json: AsJson = False,
) -> None:
    """End a device's right to connect, for ever, and cut it off."""
    if not yes:
        typer.confirm(f"Revoke {device} for ever?", abort=True)

    async def question(channel: grpc.aio.Channel) -> device_pb2.Device:
        stub: pb_grpc.DeviceServiceAsyncStub = pb_grpc.DeviceServiceStub(channel)
        return (await stub.RevokeDevice(pb.RevokeDeviceRequest(device_id=device, reason=reason))).device

    _show(ask(client, question), as_json=as_json)


def _show(device: device_pb2.Device, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(device))
        return
    table = Table.grid(padding=(0, 3))
    rows = {
        "device": device.device_id,
        "name": cell(device.display_name),
        "owner": cell(device.user_id),
        "state": _state(device),
        "roots": cell(", ".join(device.root_names) or "none"),
        "agent": cell(device.agent_version),
        "sessions": str(device.session_epoch),
        "enrolled": _time(device.enrolled_at, device.HasField("enrolled_at")),
        "connected": _time(device.connected_at, device.HasField("connected_at")),
        "last seen": _time(device.last_seen_at, device.HasField("last_seen_at")),
    }
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", value)
    out.print(table)


def _state(device: device_pb2.Device) -> str:
    if device.HasField("revoked_at"):
        return "[red]revoked[/]"
    return "[green]online[/]" if device.online else "offline"


def _time(moment: Timestamp, known: bool) -> str:
    return moment.ToDatetime().strftime("%Y-%m-%d %H:%M:%S UTC") if known else "never"


def _arguments(given: str) -> str:
    """Return the arguments as JSON text, wherever they come from; what is no JSON object is a wrong command."""
    try:
        if given == "-":
            text = sys.stdin.read()
        elif given.startswith("@"):
            text = Path(given[1:]).read_text(encoding="utf-8")
        else:
            text = given
        if not isinstance(json.loads(text), dict):
            raise typer.BadParameter('the arguments must be a JSON object, such as \'{"path": "."}\'')
    except OSError as error:
        raise typer.BadParameter(f"{given[1:]}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise typer.BadParameter('the arguments are not JSON; quote them, as in \'{"path": "."}\'') from None
    return text


def _tool_as_dict(tool: tool_pb2.ToolDescriptor) -> dict[str, Any]:
    return {**as_dict(tool), "input_schema": _parsed(tool.input_schema_json)}


def _outcome_as_dict(answer: tools_pb.CallToolResponse) -> dict[str, Any]:
    shown = as_dict(answer)
    if answer.outcome.HasField("result_json"):
        shown["outcome"]["result"] = _parsed(answer.outcome.result_json)
    return shown


def _parsed(text: str) -> object:
    """Return JSON that a device wrote as a value, or as the text it is when it cannot be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
