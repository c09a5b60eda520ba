"""What a subscriber of a mailbox goes on from.

{"version": 1, "since": "2026-11-02T09:00:00+00:00", "links": {"inbox": "https://…/delta?$deltatoken=…"}, "listings": 3}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from connectors.messages.domain import JsonObject

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlookState:
    """Where the last listing ended."""

    since: datetime
    """Where the window began that everything since then goes on from."""
    links: Mapping[str, str] = field(repr=False)
    """By folder, the delta link. Graph keeps the options of the first request behind it."""
    listings: int = 0
    """Incremental ones since the last look through the days before."""

    def to_json(self) -> JsonObject:
        """Return it as it is kept."""
        return {
            "version": _VERSION,
            "since": self.since.isoformat(),
            "links": dict(self.links),
            "listings": self.listings,
        }

    @classmethod
    def from_json(cls, value: JsonObject | None) -> Self | None:
        """Return what `to_json` made; None for anything else, which then is as good as forgotten."""
        if value is None or value.get("version") != _VERSION:
            return None
        try:
            since = datetime.fromisoformat(str(value["since"]))
            links = {str(folder): str(link) for folder, link in dict(value["links"]).items()}
            listings = int(value["listings"])
        except (KeyError, ValueError, TypeError):
            return None
        return cls(since=since, links=links, listings=listings) if since.tzinfo else None
