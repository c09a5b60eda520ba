"""Strict parameters: a table says what a route takes, and anything else is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What the text of a parameter must look like."""

    STRING = "string"
    INTEGER = "integer"
    """Digits with an optional minus; `minimum` and `maximum` hold for it."""
    BOOLEAN = "boolean"
    """`true` or `false`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a route."""

    kind: Kind = Kind.STRING
    required: bool = False
    repeated: bool = False
    values: tuple[str, ...] = ()
    """The only values allowed; empty is any."""
    minimum: int | None = None
    maximum: int | None = None


class BadParameter(Exception):
    """A parameter is unknown, missing, given twice, or has a value that is not allowed. Each half gives it a shape."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def checked(pairs: Iterable[tuple[str, str]], allowed: Mapping[str, Parameter]) -> dict[str, list[str]]:
    """Return the values by name, in the order in which they came; a parameter that was not given is not in it.

    Args:
        pairs: The parameters of a query or a form: `request.query.items()`.
        allowed: The route's table.

    Raises:
        BadParameter: The first thing that `allowed` does not allow.
    """
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in allowed:
            raise BadParameter(name, "unknown parameter")
        _check_value(name, value, allowed[name])
        given.setdefault(name, []).append(value)
    for name, parameter in allowed.items():
        if parameter.required and name not in given:
            raise BadParameter(name, "required parameter is missing")
        if not parameter.repeated and len(given.get(name, [])) > 1:
            raise BadParameter(name, "given more than once")
    return given


def _check_value(name: str, value: str, parameter: Parameter) -> None:
    if parameter.values and value not in parameter.values:
        raise BadParameter(name, f"invalid value {value!r}")
    if parameter.kind is Kind.BOOLEAN and value not in {"true", "false"}:
        raise BadParameter(name, f"not a boolean: {value!r}")
    if parameter.kind is not Kind.INTEGER:
        return
    if not value.removeprefix("-").isdecimal() or not value.isascii():
        raise BadParameter(name, f"not an integer: {value!r}")
    if parameter.minimum is not None and int(value) < parameter.minimum:
        raise BadParameter(name, f"less than {parameter.minimum}")
    if parameter.maximum is not None and int(value) > parameter.maximum:
        raise BadParameter(name, f"more than {parameter.maximum}")
