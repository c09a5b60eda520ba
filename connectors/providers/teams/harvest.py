"""What a listing of Teams has found so far."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from connectors.errors import WindowTooLarge
from connectors.messages.domain import JsonObject, Query, Ref
from connectors.providers.microsoft.id_token import is_same_object
from connectors.providers.port import Session
from connectors.providers.teams.config import INSTANT
from connectors.providers.teams.items import Times, author_id, is_written, times_of, version_of


@dataclass(frozen=True, slots=True)
class Span:
    """What of a chat or a channel is listed."""

    since: datetime
    """Where the window began, of which this is a continuation."""
    reached: datetime | None = None
    """Up to when it was listed before; None for never."""
    again: timedelta = timedelta(0)
    """So much before that is listed again."""

    @property
    def begin(self) -> datetime:
        """After this the window begins."""
        return self.since - INSTANT

    @property
    def after(self) -> datetime:
        """What changed after this is listed."""
        return self.begin if self.reached is None else max(self.begin, self.reached - self.again)

    def is_news(self, times: Times, since: datetime) -> bool:
        """Return whether a message is to be listed. It may have been before: a day's messages are known at least.

        A reaction moves the time when a message changed, but what it says is still as old as it was.

        Args:
            times: The message's.
            since: Of the query: a day before the last listing. After that, what comes late is not known from a time.
        """
        known = self.begin if self.reached is None else max(self.begin, min(self.reached, since))
        return times.modified > self.after and times.said > known


@dataclass(slots=True)
class Harvest:
    """Collects the messages of one listing."""

    session: Session
    query: Query
    left_to_carry: int
    """Bytes."""
    refs: dict[str, Ref] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    def take(self, item: JsonObject, container: str, span: Span) -> datetime | None:
        """Take in a message if what it says is new.

        Args:
            item: As Graph tells it. The filter of a query is not always kept to: it may be any message.
            container: Where it is; see `places`.
            span: What of its place is listed.

        Returns:
            When it was last changed in any way; None for what has no time.

        Raises:
            WindowTooLarge: There are more than the query allows.
        """
        times, message_id = times_of(item), str(item.get("id") or "")
        if times is None or not message_id:
            return None
        if span.is_news(times, self.query.since):
            provider_id = f"{container}/{message_id}"
            if is_written(item) and self._is_wanted(item):
                self._add(item, times, provider_id, container)
            else:
                self.left_out.add(provider_id)
        return times.modified

    def _is_wanted(self, item: JsonObject) -> bool:
        own = is_same_object(self.session.account.account_id, author_id(item))
        return self.query.filter.include_sent or not own

    def _add(self, item: JsonObject, times: Times, provider_id: str, container: str) -> None:
        ref = Ref(provider_id=provider_id, received_at=times.said, container=container, version=version_of(times))
        if ref.key in self.refs:
            return
        size = len(json.dumps(item))
        if size <= self.left_to_carry:
            self.left_to_carry -= size
            ref = replace(ref, carried=item)
        self.refs[ref.key] = ref
        if len(self.refs) > self.query.max_refs:
            raise WindowTooLarge(retry_after=None)


def latest(*times: datetime | None) -> datetime:
    """Return the last of times, of which one at least is known."""
    return max(time for time in times if time is not None)


def written(at: datetime) -> str:
    """Return a time as Graph's filters take it: rounded down, to the millisecond."""
    utc = at.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"
