"""What a valid definition, schedule and request look like. Each fault names the field as in the proto, and why."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from typing import Final, NoReturn

from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import (
    AgentDefinition,
    Budgets,
    CloudConnector,
    LocalDirectory,
    MessageFilter,
    Schedule,
)
from orchestrator.schedules import validity

MAX_NAME_CHARS: Final = 200
MAX_PROMPT_CHARS: Final = 8_000
MAX_REASON_CHARS: Final = 500
MAX_ADDRESSES: Final = 100
MAX_ADDRESS_CHARS: Final = 320
MAX_SUBJECTS: Final = 20
MAX_SUBJECT_CHARS: Final = 200
MAX_CONTAINERS: Final = 50
MAX_CONTAINER_CHARS: Final = 512
MAX_QUERY_CHARS: Final = 1_000
MAX_PATHS: Final = 20
MAX_PATH_BYTES: Final = 1_024
MAX_PATH_COMPONENTS: Final = 64
MAX_EXTENSIONS: Final = 100
MAX_EXTENSION_CHARS: Final = 32
MAX_BUDGETS: Final = Budgets(
    max_model_calls=10_000,
    max_tokens=100_000_000,
    max_tool_calls=100_000,
    max_read_bytes=10 * 1024**3,
    max_creates=10_000,
    max_wall_time=timedelta(hours=24),
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_EXTENSION = re.compile(r"\.[^\s/\\*?]+")
_ADDRESS = re.compile(r"[^\s@<>(),;:\"\\]*@[^\s@<>(),;:\"\\]+")
"""Of a mail address or, when nothing stands before the `@`, of a domain."""
_ELSEWHERE = re.compile(r"[/\\~]|[^/]*:")  # a root's name holds no colon


def is_uuid(text: str) -> bool:
    """Return whether this is a UUID in its usual spelling, with hyphens."""
    return _UUID.fullmatch(text) is not None


def check_request_id(request_id: str) -> None:
    """Refuse a request_id that is no UUID.

    Raises:
        InvalidArgument: `request_id`.
    """
    if not is_uuid(request_id):
        raise InvalidArgument("request_id", "a random UUID is required, a new one for each new request")


def check_pause_reason(reason: str) -> None:
    """Refuse a reason that is too long or holds control characters.

    Raises:
        InvalidArgument: `reason`.
    """
    if len(reason) > MAX_REASON_CHARS:
        raise InvalidArgument("reason", f"at most {MAX_REASON_CHARS} characters")
    if _controls(reason):
        raise InvalidArgument("reason", "must not hold control characters")


def check_definition(definition: AgentDefinition, *, inline: bool) -> None:
    """Refuse a definition that breaks a rule of the contract.

    Args:
        definition: As the conversion made it: with normal paths and extensions.
        inline: Whether a run brings it along, instead of a stored agent; it must have a client_agent_id then.

    Raises:
        InvalidArgument: The first wrong field, such as "definition.local_directory.directory_paths[0]".
    """
    _check_name(definition.display_name)
    _check_client_agent_id(definition.client_agent_id, required=inline)
    match definition.source:
        case LocalDirectory() as local:
            _check_local_directory(local)
        case CloudConnector() as cloud:
            _check_cloud_connector(cloud)
    if not definition.data_types:
        _refuse("data_types", "at least one is required")
    _check_prompt(definition.prompt_template)
    _check_budgets(definition.budgets)


def check_schedule(schedule: Schedule) -> None:
    """Refuse a schedule that is not valid.

    Raises:
        InvalidArgument: The first wrong field, such as "schedule.cron".
    """
    validity.check(schedule)


def normal_path(path: str) -> str:
    """Return the path without what changes nothing: empty and `.` components, a slash at the end.

    One that is not relative comes back as it is, so that the rule can say so.
    """
    if _ELSEWHERE.match(path):
        return path
    return "/".join(component for component in path.split("/") if component not in {"", "."})


def normal_extension(extension: str) -> str:
    """Return the extension in lower case, with its dot: `MD` and `.md` are the same."""
    lower = extension.strip().lower()
    return lower if lower.startswith(".") else f".{lower}"


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        _refuse("display_name", f"1 to {MAX_NAME_CHARS} characters are required")
    if _controls(name):
        _refuse("display_name", "must not hold control characters")


def _check_client_agent_id(client_agent_id: str, *, required: bool) -> None:
    if required and not client_agent_id:
        _refuse("client_agent_id", "required for a run of an inline definition: what was processed is kept under it")
    if client_agent_id and not is_uuid(client_agent_id):
        _refuse("client_agent_id", "must be a UUID")


def _check_local_directory(local: LocalDirectory) -> None:
    if local.device_id and not _ID.fullmatch(local.device_id):
        _refuse("local_directory.device_id", "is not the id of a device; leave it empty for any connected one")
    if not 1 <= len(local.directory_paths) <= MAX_PATHS:
        _refuse("local_directory.directory_paths", f"1 to {MAX_PATHS} folders are required")
    for index, path in enumerate(local.directory_paths):
        field = f"local_directory.directory_paths[{index}]"
        if fault := _path_fault(path):
            _refuse(field, fault)
        if path in local.directory_paths[:index]:
            _refuse(field, "is named twice")
    if len(local.file_extensions) > MAX_EXTENSIONS:
        _refuse("local_directory.file_extensions", f"at most {MAX_EXTENSIONS}")
    for index, extension in enumerate(local.file_extensions):
        if not _EXTENSION.fullmatch(extension) or len(extension) > MAX_EXTENSION_CHARS or _controls(extension):
            _refuse(f"local_directory.file_extensions[{index}]", "must be the end of a file's name, such as '.md'")


def _path_fault(path: str) -> str:
    """Return what is wrong with a wire path, empty for nothing."""
    if _ELSEWHERE.match(path):
        return "name a folder of the device such as 'clients/acme'; absolute paths, drives and URLs are refused"
    if not path:
        return "name a folder of the device such as 'clients/acme'"
    if "\\" in path or _controls(path):
        return "must not hold backslashes or control characters; components are separated by '/'"
    components = path.split("/")
    if ".." in components:
        return "must not hold '..'"
    if len(path.encode()) > MAX_PATH_BYTES or len(components) > MAX_PATH_COMPONENTS:
        return f"at most {MAX_PATH_BYTES} bytes and {MAX_PATH_COMPONENTS} components"
    return ""


def _check_cloud_connector(cloud: CloudConnector) -> None:
    if not _ID.fullmatch(cloud.connection_id):
        _refuse("cloud_connector.connection_id", "the id of a connection is required")
    _check_filter(cloud.filter)


def _check_filter(wanted: MessageFilter) -> None:
    field = "cloud_connector.filter"
    for name, addresses in (("senders", wanted.senders), ("recipients", wanted.recipients)):
        _check_list(f"{field}.{name}", addresses, MAX_ADDRESSES, MAX_ADDRESS_CHARS)
        for index, address in enumerate(addresses):
            if not _ADDRESS.fullmatch(address):
                _refuse(f"{field}.{name}[{index}]", "must be a mail address, or a domain such as '@example.org'")
    _check_list(f"{field}.subject_contains", wanted.subject_contains, MAX_SUBJECTS, MAX_SUBJECT_CHARS)
    _check_list(f"{field}.containers", wanted.containers, MAX_CONTAINERS, MAX_CONTAINER_CHARS)
    if len(wanted.provider_query) > MAX_QUERY_CHARS or _controls(wanted.provider_query):
        _refuse(f"{field}.provider_query", f"at most {MAX_QUERY_CHARS} characters, without control characters")


def _check_list(field: str, texts: tuple[str, ...], most: int, most_chars: int) -> None:
    if len(texts) > most:
        _refuse(field, f"at most {most}")
    for index, text in enumerate(texts):
        if not text.strip() or len(text) > most_chars or _controls(text):
            _refuse(f"{field}[{index}]", f"1 to {most_chars} characters are required, without control characters")
        if text in texts[:index]:
            _refuse(f"{field}[{index}]", "is named twice")


def _check_prompt(prompt: str) -> None:
    if len(prompt) > MAX_PROMPT_CHARS:
        _refuse("prompt_template", f"at most {MAX_PROMPT_CHARS} characters")
    if _controls(prompt, allowed="\n\r\t"):
        _refuse("prompt_template", "must not hold control characters other than line ends and tabs")


def _check_budgets(budgets: Budgets) -> None:
    pairs = {
        "max_model_calls": (budgets.max_model_calls, MAX_BUDGETS.max_model_calls),
        "max_tokens": (budgets.max_tokens, MAX_BUDGETS.max_tokens),
        "max_tool_calls": (budgets.max_tool_calls, MAX_BUDGETS.max_tool_calls),
        "max_read_bytes": (budgets.max_read_bytes, MAX_BUDGETS.max_read_bytes),
        "max_creates": (budgets.max_creates, MAX_BUDGETS.max_creates),
    }
    for name, (value, most) in pairs.items():
        if not 0 < value <= most:
            _refuse(f"budgets.{name}", f"must be from 1 to {most}, or 0 for the default")
    if not timedelta(0) < budgets.max_wall_time <= MAX_BUDGETS.max_wall_time:
        _refuse("budgets.max_wall_time", "must be at most 24 hours, or 0 for the default")


def _controls(text: str, *, allowed: str = "") -> bool:
    return any(unicodedata.category(character) == "Cc" and character not in allowed for character in text)


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidArgument(f"definition.{field}", description)
