"""What a listing has found so far: each mail once, whatever Graph repeats."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from connectors.errors import WindowTooLarge
from connectors.messages.domain import JsonObject, Query, Ref
from connectors.providers.outlook.fields import KEPT_HEADERS
from connectors.providers.outlook.filters import listed, matches

_OVERHEAD: Final = 2_048
"""Bytes that a mail takes beside its texts, about."""
_PERSON: Final = 512
_LONGEST_ALIAS: Final = 998


class Harvest:
    """Collects the mails of one listing."""

    def __init__(self, query: Query, *, carried_bytes: int) -> None:
        self._query = query
        self._left_to_carry = carried_bytes
        self._refs: dict[str, Ref] = {}
        self._left_out: set[str] = set()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """What was found."""
        return tuple(self._refs.values())

    @property
    def left_out(self) -> int:
        """How many mails the filter excluded."""
        return len(self._left_out)

    def take(self, mail: JsonObject, *, folder: str, since: datetime) -> None:
        """Take an entry of a page: a mail, or that one is gone.

        Args:
            mail: As Graph tells it, whole or slim.
            folder: Where it lies.
            since: Where the window begins: Graph's filter is not relied upon.

        Raises:
            WindowTooLarge: There are more than the query allows.
        """
        provider_id = mail.get("id")
        if not isinstance(provider_id, str) or not provider_id:
            return
        if "@removed" in mail:
            self._refs.pop(provider_id, None)
            return
        received_at = moment(mail.get("receivedDateTime"))
        if received_at is not None and received_at < since.replace(microsecond=0):
            return
        if received_at is not None and not matches(mail, self._query.filter):
            # Told again, it may have become another one: a draft that was sent, a mail that is unread again.
            self._refs.pop(provider_id, None)
            self._left_out.add(provider_id)
            return
        self._left_out.discard(provider_id)
        found = Ref(
            provider_id=provider_id,
            received_at=received_at or self._query.now,
            container=folder,
            alias=str(mail.get("internetMessageId") or "").strip()[:_LONGEST_ALIAS],
        )
        known = self._refs.get(provider_id)
        carried = self._carried(mail) if known is None or known.carried is None else known.carried
        self._refs[provider_id] = replace(found, carried=carried)
        if len(self._refs) > self._query.max_refs:
            raise WindowTooLarge(retry_after=None)

    def _carried(self, mail: JsonObject) -> JsonObject | None:
        """Return what is brought along of a mail, while there is room: all of it, or nothing if it is not whole."""
        if not isinstance(mail.get("body"), dict) or "receivedDateTime" not in mail:
            return None
        people = [*listed(mail, "toRecipients"), *listed(mail, "ccRecipients")]
        size = _OVERHEAD + _PERSON * len(people) + sum(_size(mail.get(name)) for name in ("body", "uniqueBody"))
        if size > self._left_to_carry:
            return None
        self._left_to_carry -= size
        kept = [
            header
            for header in listed(mail, "internetMessageHeaders")
            if isinstance(header, dict) and str(header.get("name")).lower() in KEPT_HEADERS
        ]
        return {**mail, "internetMessageHeaders": kept}


def moment(told: object) -> datetime | None:
    """Return a time of Graph's (`2026-11-02T09:00:00Z`), or None for anything else."""
    try:
        found = datetime.fromisoformat(str(told))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _size(body: object) -> int:
    return sys.getsizeof(body.get("content")) if isinstance(body, dict) else 0
