"""Filters: what is well formed, their normal form, and what tells two of them apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Final

from connectors.errors import FilterInvalid
from connectors.messages.domain import MessageFilter

MAX_VALUES: Final = 100
"""In one field."""
MAX_VALUE_CHARS: Final = 512
MAX_QUERY_CHARS: Final = 1_000

_FORMAT: Final = 1
_ADDRESS = re.compile(r"[^\s@,;<>()\"]*@[^\s@,;<>()\"]+")
"""An address, or a domain with a leading `@`, without what could end a quotation in a provider's query."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def normal(wanted: MessageFilter) -> MessageFilter:
    """Return the filter as it is kept and given to providers: without blanks, repeats and an order of its own.

    Addresses become lower case, as case is ignored there. Containers stay as they are: some providers' ids differ in
    nothing but case.

    Raises:
        FilterInvalid: with the field, such as `filter.senders`.
    """
    query = wanted.provider_query.strip()
    if len(query) > MAX_QUERY_CHARS:
        raise FilterInvalid("filter.provider_query", f"must have at most {MAX_QUERY_CHARS} characters")
    _printable("filter.provider_query", query)
    return MessageFilter(
        senders=_addresses("filter.senders", wanted.senders),
        recipients=_addresses("filter.recipients", wanted.recipients),
        subject_contains=_values("filter.subject_contains", wanted.subject_contains, same=str.casefold),
        containers=_values("filter.containers", wanted.containers),
        unread_only=wanted.unread_only,
        has_attachment=wanted.has_attachment,
        include_sent=wanted.include_sent,
        provider_query=query,
    )


def fingerprint(wanted: MessageFilter) -> str:
    """Return what two filters in normal form have in common only when they mean the same messages: 32 characters."""
    fields = asdict(wanted)
    fields["subject_contains"] = sorted(text.casefold() for text in wanted.subject_contains)
    text = json.dumps([_FORMAT, fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _addresses(field: str, values: Iterable[str]) -> tuple[str, ...]:
    found = _values(field, (value.lower() for value in values))
    if not all(_ADDRESS.fullmatch(value) for value in found):
        raise FilterInvalid(field, "must hold mail addresses, or domains with a leading @")
    return found


def _values(field: str, values: Iterable[str], *, same: Callable[[str], str] = str) -> tuple[str, ...]:
    stripped = [value.strip() for value in values]
    if len(stripped) > MAX_VALUES:
        raise FilterInvalid(field, f"must have at most {MAX_VALUES} values")
    if not all(0 < len(value) <= MAX_VALUE_CHARS for value in stripped):
        raise FilterInvalid(field, f"each value must have 1 to {MAX_VALUE_CHARS} characters")
    for value in stripped:
        _printable(field, value)
    return tuple(sorted({same(value): value for value in sorted(stripped, reverse=True)}.values()))


def _printable(field: str, value: str) -> None:
    if _UNPRINTABLE.search(value):
        raise FilterInvalid(field, "must not hold line breaks or control characters")
