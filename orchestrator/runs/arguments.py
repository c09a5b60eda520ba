"""Checking the arguments that a model wrote, before they are sent: guards against hostile JSON, then the tool's schema.

What is wrong is told to the model by place and rule. The values themselves are not repeated: they may be file text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry

from orchestrator.runs.domain import JsonObject

MAX_DEPTH = 8
"""How many objects and lists may stand inside each other, the outermost included."""
MAX_BYTES = 512 * 1024
MAX_FAULTS = 5
"""How many faults of one call the model is told of."""
MAX_INTEGER = 2**63 - 1


class BadArguments(Exception):
    """The arguments cannot be sent. The message is for the model."""


def parse_arguments(text: str) -> JsonObject:
    """Return the JSON object that a model wrote; nothing at all stands for no arguments.

    Raises:
        BadArguments: no JSON object, too large, nested deeper than `MAX_DEPTH`, a key twice, NaN or Infinity, an
            integer beyond 64 bits, or half a surrogate pair.
    """
    if not text.strip():
        return {}
    if len(text) > MAX_BYTES:
        raise BadArguments(f"The arguments have more than {MAX_BYTES} characters.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        text.encode()
        _check(value, 0)
    except (ValueError, RecursionError):
        raise BadArguments(
            f"The arguments are no JSON that can be sent: every key once, numbers within 64 bits, {MAX_DEPTH} levels."
        ) from None
    if not isinstance(value, dict):
        raise BadArguments("The arguments must be one JSON object.")
    return value


def check_arguments(arguments: JsonObject, schema: Mapping[str, Any]) -> None:
    """Check arguments against a tool's JSON Schema.

    Raises:
        BadArguments: they do not keep it.
    """
    validator = _Validator(dict(schema), registry=_NO_REFERENCES)
    try:
        faults = list(islice(validator.iter_errors(arguments), MAX_FAULTS))
    except Exception:  # noqa: BLE001 - the schema is the device's, and broken in a way of its own
        return  # The device checks every call by itself.
    if faults:
        raise BadArguments("; ".join(sorted({_sentence(fault) for fault in faults})) + ".")


def canonical_json(arguments: Mapping[str, Any]) -> str:
    """Return the text in which arguments are sent: the same arguments, the same text."""
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


# The schema comes from a device. Patterns are left to it, for a regular expression can be made to run for ever and
# would do so in the process that all users share; references must not make this process fetch anything.
_Validator: Callable[..., Draft202012Validator] = validators.extend(  # type: ignore[no-untyped-call]  # types-jsonschema
    Draft202012Validator,
    {"pattern": lambda *_: iter(()), "patternProperties": lambda *_: iter(()), "format": lambda *_: iter(())},
)
_NO_REFERENCES: Registry[Any] = Registry()


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _check(value: object, depth: int) -> None:
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth + 1)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("too large")
    elif isinstance(value, float) and value in {float("inf"), float("-inf")}:
        # 1e999 is Infinity without its name.
        raise ValueError("not finite")


def _sentence(fault: ValidationError) -> str:
    place = ".".join(str(part) for part in fault.absolute_path if isinstance(part, int) or _plain(part))
    rule = _RULES.get(str(fault.validator))
    return f"{place or 'arguments'}: {'is not allowed here' if rule is None else rule(fault)}"


def _plain(name: object) -> bool:
    return isinstance(name, str) and len(name) <= 40 and name.replace("_", "").isalnum()


def _missing(fault: ValidationError) -> str:
    present = fault.instance if isinstance(fault.instance, dict) else {}
    wanted: list[str] = list(fault.validator_value) if isinstance(fault.validator_value, list) else []
    return "needs " + ", ".join(name for name in wanted if name not in present)


def _unknown(fault: ValidationError) -> str:
    schema = fault.schema if isinstance(fault.schema, Mapping) else {}
    known = schema.get("properties") or {}
    given: Any = fault.instance
    shown = [name for name in given if name not in known and _plain(name)][:MAX_FAULTS]
    return "has no argument named " + ", ".join(shown) if shown else "has arguments that do not exist"


def _type(fault: ValidationError) -> str:
    wanted: Any = fault.validator_value
    return "must be " + (wanted if isinstance(wanted, str) else " or ".join(wanted))


def _enum(fault: ValidationError) -> str:
    wanted: Any = fault.validator_value
    return "must be one of " + ", ".join(json.dumps(value) for value in wanted)


def _bound(sentence: str, fault: ValidationError) -> str:
    return sentence.format(fault.validator_value)


_RULES: dict[str, Callable[[ValidationError], str]] = {
    "required": _missing,
    "additionalProperties": _unknown,
    "type": _type,
    "enum": _enum,
    "minLength": partial(_bound, "must have at least {} characters"),
    "maxLength": partial(_bound, "must have at most {} characters"),
    "minimum": partial(_bound, "must be at least {}"),
    "maximum": partial(_bound, "must be at most {}"),
    "minItems": partial(_bound, "must have at least {} items"),
    "maxItems": partial(_bound, "must have at most {} items"),
    "minProperties": partial(_bound, "must have at least {} entries"),
    "maxProperties": partial(_bound, "must have at most {} entries"),
}
