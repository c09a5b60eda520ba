"""The query options of OData, as far as Graph's mail and chats know them: $filter, $orderby, $select, $top."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.emulator.microsoft.graph import GraphError, bad_request
from tests.emulator.parameters import Kind, Parameter

_CLAUSE = re.compile(r"\s*([A-Za-z][A-Za-z/]*)\s+(eq|ne|gt|ge|lt|le)\s+('(?:[^']|'')*'|[^\s']+)\s*(?:\band\b|$)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,7})?)?)(Z|[+-]\d\d:\d\d)")
_OPERATORS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("Equal", lambda one, other: bool(one == other)),
    "ne": ("NotEqual", lambda one, other: bool(one != other)),
    "gt": ("GreaterThan", lambda one, other: bool(one > other)),
    "ge": ("GreaterThanOrEqual", lambda one, other: bool(one >= other)),
    "lt": ("LessThan", lambda one, other: bool(one < other)),
    "le": ("LessThanOrEqual", lambda one, other: bool(one <= other)),
}


def top(maximum: int) -> Parameter:
    """Return the parameter `$top` of a collection."""
    return Parameter(kind=Kind.INTEGER, minimum=1, maximum=maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One comparison of a `$filter`."""

    name: str
    operator: str
    value: Any

    def holds(self, actual: Any) -> bool:
        """Return whether it is true of a property's value; texts are compared without regard to case."""
        if isinstance(actual, str) and isinstance(self.value, str):
            return _OPERATORS[self.operator][1](actual.lower(), self.value.lower())
        return _OPERATORS[self.operator][1](actual, self.value)


def parse_filter(text: str, properties: Mapping[str, tuple[type, Sequence[str]]]) -> list[Clause]:
    """Return the comparisons of a `$filter`, all of which must hold.

    Args:
        text: `receivedDateTime ge 2026-11-02T00:00:00Z and isRead eq false`.
        properties: By name, the type of the value (datetime, bool, str) and the operators that may be used.

    Raises:
        GraphError: It is anything else.
    """
    clauses: list[Clause] = []
    at = 0
    while at < len(text) or not clauses:
        found = _CLAUSE.match(text, at)
        if found is None:
            raise bad_request(f"Invalid filter clause: syntax error at position {at} in '{text}'.")
        clauses.append(_clause(found[1], found[2], found[3], properties))
        at = found.end()
    if re.search(r"\band\s*$", text):
        raise bad_request(f"Invalid filter clause: expression expected at position {len(text)} in '{text}'.")
    return clauses


def _clause(name: str, operator: str, literal: str, properties: Mapping[str, tuple[type, Sequence[str]]]) -> Clause:
    if name not in properties:
        raise bad_request(f"Invalid filter clause: Could not find a property named '{name}' that can be filtered by.")
    kind, operators = properties[name]
    if operator not in operators:
        kind_name = _OPERATORS[operator][0]
        raise bad_request(
            f"The entity property '{name}' and operationKind '{kind_name}' is not allowed in $filter query."
        )
    return Clause(name=name, operator=operator, value=_literal(kind, literal))


def _literal(kind: type, literal: str) -> Any:
    if kind is str and literal.startswith("'"):
        return literal[1:-1].replace("''", "'")
    if kind is bool and literal in {"true", "false"}:
        return literal == "true"
    if kind is datetime and (found := _MOMENT.fullmatch(literal)):
        return datetime.fromisoformat(found[1][:26] + found[2].replace("Z", "+00:00")).astimezone(UTC)
    raise bad_request(f"Invalid filter clause: '{literal}' is not a value of type {kind.__name__}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One property of an `$orderby`."""

    name: str
    descending: bool


def parse_orderby(text: str, names: Sequence[str]) -> list[Order]:
    """Return the properties of an `$orderby`.

    Raises:
        GraphError: It names something that cannot be sorted by.
    """
    orders = []
    for part in text.split(","):
        words = part.split()
        if not 1 <= len(words) <= 2 or words[0] not in names or words[1:] not in ([], ["asc"], ["desc"]):
            raise bad_request(f"The query specified in the URI is not valid: cannot order by '{part.strip()}'.")
        orders.append(Order(name=words[0], descending=words[1:] == ["desc"]))
    return orders


def check_efficiency(clauses: Sequence[Clause], orders: Sequence[Order]) -> None:
    """Refuse what Exchange cannot do in one go.

    With both options, every property of `$orderby` has to be in `$filter`, in the same order and before all others.
    """
    filtered = list(dict.fromkeys(clause.name for clause in clauses))
    if clauses and filtered[: len(orders)] != [order.name for order in orders]:
        raise GraphError(400, "InefficientFilter", "The restriction or sort order is too complex for this operation.")


def parse_select(text: str, names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return the names of a `$select`; `id` is always among them.

    Raises:
        GraphError: One of them does not exist.
    """
    selected = [name.strip() for name in text.split(",")]
    for name in selected:
        if name not in names:
            raise bad_request(
                "Parsing OData Select and Expand failed: "
                f"Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
            )
    return tuple(dict.fromkeys(["id", *selected]))


def instant(moment: datetime, *, milliseconds: bool = False) -> str:
    """Return a time as Graph writes it: mail with seconds, chats with milliseconds."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}Z" if milliseconds else f"{text}Z"
