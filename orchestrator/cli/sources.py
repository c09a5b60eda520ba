"""The options that tell what an agent looks at: folders of a device, or messages of a connection."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import agent_pb2
from orchestrator.cli.options import usage_error

Directories = Annotated[
    list[str] | None,
    typer.Option("--directory", "-d", help="A root's name on the device, or a folder below one. Can be repeated."),
]
Extensions = Annotated[
    list[str] | None, typer.Option("--extension", "-e", help="Only files ending so, such as .md. Can be repeated.")
]
Device = Annotated[str, typer.Option("--device", help="The device; any connected one of the user by default.")]
Connection = Annotated[
    str, typer.Option("--connection", help="Look at new messages of this connection instead of folders.")
]
Senders = Annotated[
    list[str] | None,
    typer.Option("--sender", help="Only messages from this address, or domain such as @acme.com. Can be repeated."),
]
Recipients = Annotated[
    list[str] | None, typer.Option("--recipient", help="Only mails to this address or domain. Can be repeated.")
]
Subjects = Annotated[
    list[str] | None, typer.Option("--subject", help="Only mails whose subject holds this. Can be repeated.")
]
Containers = Annotated[
    list[str] | None,
    typer.Option("--in", help="Only in this label, folder, chat or channel; the inbox or all chats by default."),
]
Unread = Annotated[bool | None, typer.Option("--unread/--read-too", help="Only mails that the user has not read.")]
HasAttachment = Annotated[
    bool | None, typer.Option("--has-attachment/--any-attachment", help="Only mails with attachments.")
]
IncludeSent = Annotated[bool | None, typer.Option("--include-sent/--no-sent", help="What the user has written, too.")]
Query = Annotated[
    str | None, typer.Option("--query", help="A search in the provider's own words. Gmail only.", metavar="TEXT")
]


def filter_of(
    sender: list[str] | None,
    recipient: list[str] | None,
    subject: list[str] | None,
    container: list[str] | None,
    unread: bool | None,
    has_attachment: bool | None,
    include_sent: bool | None,
    query: str | None,
) -> tuple[message_pb2.MessageFilter, list[str]]:
    """Return the filter as the options tell it, and the names of the fields that they name; '' empties a list."""
    fields: dict[str, Any] = {
        "senders": _texts(sender),
        "recipients": _texts(recipient),
        "subject_contains": _texts(subject),
        "containers": _texts(container),
        "unread_only": unread,
        "has_attachment": has_attachment,
        "include_sent": include_sent,
        "provider_query": query,
    }
    named = {name: value for name, value in fields.items() if value is not None}
    return message_pb2.MessageFilter(**named), list(named)


def _texts(given: list[str] | None) -> list[str] | None:
    return [text for text in given if text] if given else None


def with_source(
    definition: agent_pb2.AgentDefinition,
    *,
    directories: list[str] | None,
    extensions: list[str] | None,
    device: str,
    connection: str,
    wanted: tuple[message_pb2.MessageFilter, list[str]],
) -> agent_pb2.AgentDefinition:
    """Return the definition with what it looks at.

    Raises:
        typer.BadParameter: Neither folders nor a connection are named, or both, or options of the other.
    """
    message_filter, named = wanted
    if bool(directories) == bool(connection):
        raise usage_error(
            "name at least one folder with --directory (`adiuva devices list` shows the roots), or a connection with "
            "--connection (`adiuva connections list`); not both"
        )
    if not connection:
        if named:
            raise usage_error("--sender, --in and what else tells messages apart need --connection")
        local = agent_pb2.LocalDirectory(device_id=device, directory_paths=directories, file_extensions=extensions)
        definition.local_directory.CopyFrom(local)
        return definition
    if extensions or device:
        raise usage_error("--extension and --device are for folders: messages are processed on any connected device")
    definition.cloud_connector.connection_id = connection
    if named:
        definition.cloud_connector.filter.CopyFrom(message_filter)
    return definition


def change_source(
    changed: agent_pb2.AgentDefinition,
    *,
    directories: list[str] | None,
    extensions: list[str] | None,
    connection: str,
    wanted: tuple[message_pb2.MessageFilter, list[str]],
) -> list[str]:
    """Put into the definition what the options name of what an agent looks at, and return the paths of its fields."""
    message_filter, named = wanted
    paths: list[str] = []
    if directories:
        changed.local_directory.directory_paths.extend(directories)
        paths.append("definition.local_directory.directory_paths")
    if extensions:
        changed.local_directory.file_extensions.extend(extensions)
        paths.append("definition.local_directory.file_extensions")
    if paths and (connection or named):
        raise usage_error("an agent looks at folders or at messages; not both")
    if connection:
        changed.cloud_connector.connection_id = connection
        paths.append("definition.cloud_connector.connection_id")
    if named:
        changed.cloud_connector.filter.CopyFrom(message_filter)
        paths += [f"definition.cloud_connector.filter.{field}" for field in named]
    return paths


def source_line(definition: agent_pb2.AgentDefinition) -> str:
    """Return what an agent looks at, on one line."""
    if definition.HasField("cloud_connector"):
        cloud = definition.cloud_connector
        facts = ", ".join(_facts(cloud.filter))
        return f"connection {cloud.connection_id}" + (f" ({facts})" if facts else "")
    local = definition.local_directory
    endings = f" ({', '.join(local.file_extensions)})" if local.file_extensions else ""
    return ", ".join(local.directory_paths) + endings


def _facts(wanted: message_pb2.MessageFilter) -> list[str]:
    lists = {
        "from": wanted.senders,
        "to": wanted.recipients,
        "subject": wanted.subject_contains,
        "in": wanted.containers,
    }
    facts = [f"{name} {' or '.join(values)}" for name, values in lists.items() if values]
    flags = {
        "unread": wanted.unread_only,
        "with attachments": wanted.has_attachment,
        "sent ones too": wanted.include_sent,
    }
    facts += [name for name, is_set in flags.items() if is_set]
    return [*facts, f"query {wanted.provider_query!r}"] if wanted.provider_query else facts
