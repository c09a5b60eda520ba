"""How the commands reach the service and answer: tables for people, JSON for programs, one line for what went wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import grpc
import grpc.aio
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape

from adiuva_rpc.client_config import ClientConfigError, load_client_config
from adiuva_rpc.status import RpcFailure, from_rpc_error
from adiuva_rpc.tls import TlsFileError

FAILED = 1
"""Exit code of a command that the service or a provider refused."""

_HINTS = {
    "PROVIDER_UNKNOWN": "The README tells how the operator sets a provider up.",
    "NEEDS_REAUTH": "`adiuva connections reauthorize` does that.",
    "FLOW_UNSUPPORTED": "Without a browser here, use `--by paste`.",
    "CONNECTION_UNKNOWN": "`adiuva connections list` shows the connections there are.",
    "UNAUTHENTICATED": "The token in client.json is not accepted; start `adiuva up` again.",
    "USER_REQUIRED": "Use the client.json of a user; this one belongs to a service.",
}
_UNREACHABLE = "The connectors cannot be reached. Is `adiuva up` running, with the same --data directory?"

Client = Annotated[
    Path | None,
    typer.Option("--client", help="The client.json to use; by default $ADIUVA_CLIENT or the one of `adiuva up`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON instead of a table.")]

ResponseT = TypeVar("ResponseT")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def ask(client: Path | None, question: Callable[[grpc.aio.Channel], Awaitable[ResponseT]]) -> ResponseT:
    """Ask the connectors something and return the answer.

    Args:
        client: The client.json to use; the usual one when None.
        question: Asks on a channel that carries the client's token.

    Raises:
        typer.Exit: With FAILED, after one line on stderr that says why.
    """

    async def work() -> ResponseT:
        config = load_client_config(client)
        if config.connectors is None:
            raise ClientConfigError("the client configuration names no connectors; start `adiuva up` again")
        async with config.channel(config.connectors) as channel:
            return await question(channel)

    with _reported():
        return asyncio.run(work())


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        failure = from_rpc_error(error)
        fail(failure.reason, _sentence(failure))
    except (ClientConfigError, TlsFileError) as error:
        fail("CLIENT_CONFIG", str(error))


def _sentence(failure: RpcFailure) -> str:
    if failure.code is grpc.StatusCode.UNAVAILABLE and failure.reason == "UNAVAILABLE":
        return _UNREACHABLE
    sentences = [failure.message, _HINTS.get(failure.reason, "")]
    if failure.retry_after is not None:
        sentences.append(f"Try again in {failure.retry_after:g} s.")
    return " ".join(sentence for sentence in sentences if sentence)


def fail(reason: str, sentence: str) -> NoReturn:
    """Say on one line why it could not be done, and end the command.

    Raises:
        typer.Exit: Always, with FAILED.
    """
    err.print(f"[bold red]error[/] \\[{escape(reason)}] {escape(printable(sentence))}")
    raise typer.Exit(FAILED)


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON shows it: field names of the contract, zeros and empty lists included."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def printable(text: str) -> str:
    """Return text that came from elsewhere, safe for a terminal: control and direction characters are shown."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def cell(text: str) -> str:
    """Return text for a table: safe for the terminal and for rich's markup."""
    return escape(printable(text))
