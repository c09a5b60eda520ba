"""What the chat-completions API refuses: the rules that a request must keep, with the provider's own error shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FIELDS = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "prompt_cache_key",
        "user",
        "metadata",
        "store",
    }
)
_MESSAGE_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal"},
    "tool": {"role", "content", "tool_call_id"},
}


class Refused(Exception):
    """The request is refused."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the error as the API writes it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def check_request(raw: bytes, *, models: frozenset[str], strict_schemas: bool) -> Mapping[str, Any]:
    """Return the request's body.

    Raises:
        Refused: it breaks a rule.
    """
    try:
        body = json.loads(raw.decode("utf-8", errors="strict"))
    except ValueError as error:
        raise Refused("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise Refused("The body must be an object.")
    for name in body:
        if name not in _FIELDS:
            raise Refused(f"Unrecognized request argument supplied: {name}", param=name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Refused("you must provide a model parameter", param="model")
    if models and body["model"] not in models:
        raise Refused("The model does not exist.", status=404, param="model", code="model_not_found")
    _check_messages(body.get("messages"))
    _check_tools(body)
    if "response_format" in body:
        _check_response_format(body["response_format"], strict_schemas=strict_schemas)
    return body


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refused("[] is too short - 'messages'", param="messages")
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _MESSAGE_FIELDS:
            raise Refused("Invalid role", param=f"{where}.role")
        if unknown := set(message) - _MESSAGE_FIELDS[role]:
            raise Refused(f"Unknown parameter {sorted(unknown)}", param=where)
        if role == "tool":
            _take_answer(message, open_calls, where)
            continue
        if open_calls:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following did not have response messages: {sorted(open_calls)}",
                param=where,
            )
        if role == "assistant":
            open_calls = _calls(message, where)
        elif not isinstance(message.get("content"), str):
            raise Refused("Invalid type for content: expected a string", param=f"{where}.content")
    if open_calls:
        raise Refused("An assistant message with 'tool_calls' must be followed by tool messages", param="messages")


def _take_answer(message: Mapping[str, Any], open_calls: set[str], where: str) -> None:
    if message.get("tool_call_id") not in open_calls:
        raise Refused("messages with role 'tool' must be a response to a preceding 'tool_calls'", param=where)
    if not isinstance(message.get("content"), str):
        raise Refused("Invalid type for content: expected a string", param=f"{where}.content")
    open_calls.remove(message["tool_call_id"])


def _calls(message: Mapping[str, Any], where: str) -> set[str]:
    content = message.get("content")
    if "tool_calls" not in message:
        if not isinstance(content, str):
            raise Refused("Invalid type for content: expected a string, but got null", param=f"{where}.content")
        return set()
    if content is not None and not isinstance(content, str):
        raise Refused("Invalid type for content", param=f"{where}.content")
    calls = message["tool_calls"]
    if not isinstance(calls, list) or not calls:
        raise Refused("[] is too short", param=f"{where}.tool_calls")
    ids: set[str] = set()
    for call in calls:
        function = call.get("function", {})
        well_formed = (
            call.get("type") == "function"
            and isinstance(call.get("id"), str)
            and 0 < len(call["id"]) <= 64
            and isinstance(function.get("arguments"), str)
            and _NAME.fullmatch(str(function.get("name")))
        )
        if not well_formed or call["id"] in ids:
            raise Refused("Invalid tool call", param=f"{where}.tool_calls")
        ids.add(call["id"])
    return ids


def _check_tools(body: Mapping[str, Any]) -> None:
    if "tools" not in body:
        if "tool_choice" in body or "parallel_tool_calls" in body:
            raise Refused("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return
    tools = body["tools"]
    if not isinstance(tools, list) or not tools:
        raise Refused("[] is too short - 'tools'", param="tools")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"tools[{index}].function"
        function = tool.get("function") if tool.get("type") == "function" else None
        if not isinstance(function, dict) or not _NAME.fullmatch(str(function.get("name"))):
            raise Refused("Invalid function", param=where)
        if not isinstance(function.get("description", ""), str) or len(function.get("description", "")) > 1024:
            raise Refused("Invalid description", param=f"{where}.description")
        parameters = function.get("parameters", {"type": "object"})
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            raise Refused("Invalid schema for function: type must be 'object'", param=f"{where}.parameters")
        _check_schema(parameters, f"{where}.parameters")
        if function["name"] in names:
            raise Refused("Tool names must be unique.", param=where)
        names.add(function["name"])


def _check_response_format(given: Any, *, strict_schemas: bool) -> None:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in {"text", "json_object", "json_schema"}:
        raise Refused("Invalid value", param="response_format.type")
    if kind != "json_schema":
        return
    if not strict_schemas:
        raise Refused("'response_format' of type 'json_schema' is not supported", param="response_format")
    wrapped = given.get("json_schema")
    if not isinstance(wrapped, dict) or not _NAME.fullmatch(str(wrapped.get("name"))):
        raise Refused("Missing required parameter", param="response_format.json_schema.name")
    schema = wrapped.get("schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Refused("schema must be a JSON Schema of 'type: \"object\"'", param="response_format.json_schema.schema")
    _check_schema(schema, "response_format.json_schema.schema")
    if wrapped.get("strict"):
        _check_strict(schema, "response_format.json_schema.schema")


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Refused(f"Invalid schema: {error.message}", param=where) from error


def _check_strict(schema: object, where: str) -> None:
    if isinstance(schema, Mapping):
        if schema.get("type") == "object":
            properties = schema.get("properties", {})
            if schema.get("additionalProperties") is not False:
                raise Refused("'additionalProperties' is required to be supplied and to be false.", param=where)
            if set(schema.get("required", ())) != set(properties):
                raise Refused("'required' must be an array including every key in properties.", param=where)
        for name, value in schema.items():
            _check_strict(value, f"{where}.{name}")
    elif isinstance(schema, Sequence) and not isinstance(schema, str):
        for value in schema:
            _check_strict(value, where)
