"""Checking the arguments of a call: cheap guards against hostile JSON first, then the tool's schema.

Whatever comes in, the answer is arguments that are safe to use or a `ToolError`. Its message names the place and
the rule, and never repeats a value (only names of arguments, when they look like names): values come from models,
which have read files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from device_bridge.agent.domain import JsonObject, Reason, ToolError, ToolSpec
from device_bridge.agent.tools.schemas import ROW_ID_FORMAT

MAX_DEPTH = 8
MAX_ARGUMENTS_BYTES = 1024 * 1024
MAX_VALUES = 50_000
_MAX_ERRORS = 20
_TOO_LARGE = 10**40

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ROW_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")

_formats = FormatChecker(formats=())


@_formats.checks("date")
def _is_date(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if _DATE.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


@_formats.checks(ROW_ID_FORMAT)
def _is_row_id(value: object) -> bool:
    return not isinstance(value, str) or _ROW_ID.fullmatch(value) is not None


class ArgumentCheck:
    """Checks the arguments of one tool. Made once, used for every call."""

    def __init__(self, spec: ToolSpec) -> None:
        self._validator = Draft202012Validator(dict(spec.input_schema), format_checker=_formats)

    def __call__(self, arguments: JsonObject) -> JsonObject:
        """Return the arguments as handlers use them: whole numbers as int.

        Raises:
            ToolError: INVALID_ARGUMENT; NOT_FOUND when an id is none of ours by its very look.
        """
        guarded = guard(arguments)
        errors = list(islice(self._validator.iter_errors(guarded), _MAX_ERRORS))
        if not errors:
            return guarded
        raise _refusal(errors)


def parse_arguments(text: str | bytes) -> JsonObject:
    """Return the JSON object in `text`, which is what a call carries on the wire; empty text is no arguments.

    Raises:
        ToolError: INVALID_ARGUMENT: no JSON, no object, too large, too deep, a key twice, NaN or Infinity.
    """
    if len(text) > MAX_ARGUMENTS_BYTES:
        raise _too_large()
    if not text.strip():
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _invalid("The arguments are not a valid JSON object with unique keys.") from error
    if not isinstance(value, dict):
        raise _invalid("The arguments must be a JSON object.")
    return value


def guard(arguments: JsonObject) -> JsonObject:
    """Return a copy of the arguments with whole numbers as int, when they are bounded, finite, storable JSON.

    Raises:
        ToolError: INVALID_ARGUMENT.
    """
    if not isinstance(arguments, dict):
        raise _invalid("The arguments must be a JSON object.")
    guarded = _Guard().copy(arguments, 1)
    if not isinstance(guarded, dict):
        raise TypeError
    return guarded


class _Guard:
    """One pass over one argument object, with what it has seen so far."""

    def __init__(self) -> None:
        self._size = 0
        self._values = 0

    def copy(self, value: Any, depth: int) -> Any:
        self._values += 1
        if depth > MAX_DEPTH + 1 or self._values > MAX_VALUES:
            raise _invalid("The arguments are nested too deeply or hold too many values.")
        if isinstance(value, dict):
            return {self._text(key): self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        return self._number(value)

    def _text(self, value: object) -> str:
        if not isinstance(value, str):
            raise _invalid("The arguments hold a key that is not text.")
        try:
            self._size += len(value.encode())
        except UnicodeEncodeError:
            raise _invalid("The arguments hold text that is not valid Unicode.") from None
        if "\0" in value:
            raise _invalid("The arguments hold a NUL character.")
        if self._size > MAX_ARGUMENTS_BYTES:
            raise _too_large()
        return value

    @staticmethod
    def _number(value: object) -> int | float:
        if isinstance(value, int):
            if abs(value) >= _TOO_LARGE:
                raise _invalid("The arguments hold a number that is too large.")
            return value
        if not isinstance(value, float) or not math.isfinite(value):
            raise _invalid("The arguments hold something that is not finite JSON.")
        return int(value) if value.is_integer() and abs(value) < _TOO_LARGE else value


def _refusal(errors: list[ValidationError]) -> ToolError:
    # An id that cannot exist is answered like one that does not: what it looks like makes no difference. But only
    # when nothing else is wrong, so that a model is told of its real mistake.
    others = [error for error in errors if not _about_row_id(error)]
    if not others:
        return ToolError(Reason.NOT_FOUND, f"{_place(errors[0])}: there is no such record: use an id from a list.")
    sentences = sorted({f"{_place(error)}: {_rule(error)}" for error in others})
    return _invalid("; ".join(sentences[:5]) + ".")


def _about_row_id(error: ValidationError) -> bool:
    schema = error.schema
    return (
        isinstance(schema, dict)
        and schema.get("format") == ROW_ID_FORMAT
        and error.validator in {"format", "maxLength"}
        and isinstance(error.instance, str)
    )


def _place(error: ValidationError) -> str:
    parts = [str(part) for part in error.absolute_path]
    return ".".join(part if _PLAIN_NAME.fullmatch(part) else "?" for part in parts) or "arguments"


def _rule(error: ValidationError) -> str:
    describe = _RULES.get(str(error.validator))
    return "is not allowed here" if describe is None else describe(error)


def _missing(error: ValidationError) -> str:
    present = error.instance if isinstance(error.instance, dict) else {}
    missing = [name for name in _wanted(error) if name not in present]
    return "needs " + ", ".join(missing)


def _unknown(error: ValidationError) -> str:
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    names = [name for name in _instance(error) if name not in known]
    shown = ", ".join(name for name in names[:5] if _PLAIN_NAME.fullmatch(name))
    return f"has no argument named {shown}" if shown else "has arguments that do not exist"


def _type(error: ValidationError) -> str:
    wanted = _wanted(error)
    return "must be " + (wanted if isinstance(wanted, str) else " or ".join(wanted))


_RULES: dict[str, Callable[[ValidationError], str]] = {
    "type": _type,
    "required": _missing,
    "additionalProperties": _unknown,
    "enum": lambda error: "must be one of " + ", ".join(json.dumps(value) for value in _wanted(error)),
    "format": lambda error: "must be a real date as YYYY-MM-DD" if error.validator_value == "date" else "must be an id",
    "pattern": lambda _error: "must not be blank",
    "minLength": lambda _error: "must not be empty",
    "maxLength": lambda error: f"must have at most {error.validator_value} characters",
    "minimum": lambda error: f"must be at least {error.validator_value}",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "minItems": lambda error: f"must have at least {error.validator_value} items",
    "maxItems": lambda error: f"must have at most {error.validator_value} items",
    "minProperties": lambda _error: "names nothing to change",
    "maxProperties": lambda error: f"must have at most {error.validator_value} entries",
}


def _wanted(error: ValidationError) -> Any:
    return error.validator_value


def _instance(error: ValidationError) -> Any:
    return error.instance


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _too_large() -> ToolError:
    return _invalid(f"The arguments are larger than {MAX_ARGUMENTS_BYTES} bytes.")


def _invalid(message: str) -> ToolError:
    return ToolError(Reason.INVALID_ARGUMENT, message)
