"""The options and answers that the commands share."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc.aio
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from adiuva_rpc.client_config import load_client_config

Client = Annotated[
    Path | None,
    typer.Option("--client", help="The client.json to use; by default $ADIUVA_CLIENT or the one of `adiuva up`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON instead of a table.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Where everything is kept; by default $ADIUVA_DATA or ~/.local/share/adiuva."),
]

ResultT = TypeVar("ResultT")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a command's coroutine."""
    return asyncio.run(work)


@asynccontextmanager
async def orchestrator(client: Path | None) -> AsyncIterator[grpc.aio.Channel]:
    """Give a channel to the orchestrator.

    Raises:
        ClientConfigError: there is no usable client.json.
    """
    config = load_client_config(client)
    async with config.channel(config.orchestrator) as channel:
        yield channel


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON shows it: field names of the contract, zeros and empty lists included."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def printable(text: str) -> str:
    """Return text that came from files or models, safe for a terminal: control and direction characters are shown."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def usage_error(sentence: str) -> typer.BadParameter:
    """Return an error for a command that was asked wrongly; raise it."""
    return typer.BadParameter(sentence)
