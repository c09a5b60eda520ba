"""Fetching a run's messages: what is new for the agent, as far as the journal does not hold it yet."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import Checkpoint, ConnectorsUnavailable, Item, RunError, RunFault
from orchestrator.runs.events import ItemsFound, MessagesFetched
from orchestrator.runs.incoming import (
    TOO_LARGE,
    UNREADABLE,
    Arrived,
    Begun,
    Ended,
    Fetch,
    IncomingMessage,
    Mark,
    Unread,
    Waiting,
    message_id,
)
from orchestrator.runs.mail import Mail, marked_text, missing_texts
from orchestrator.runs.ports import Inbox, Remembered
from orchestrator.runs.workbench import Workbench, error_of

MAX_BODY_CHARS = 8_000
MAX_NAMED = 100
"""How many messages one error names."""
MAX_CHECKPOINTS = 100
"""Of one fetch that are kept. The fewer there are, the more may come again after a failure."""
FETCH_ATTEMPTS = 3
"""Of a fetch that breaks because the connectors service does: then all of it comes once more."""

TOO_MANY_MESSAGES = "TOO_MANY_MESSAGES"

_UNREAD_SENTENCES = {
    UNREADABLE: "These messages could not be read. They are kept aside at the connectors service, and left out here.",
    TOO_LARGE: "These messages are too large to be read. They are left out.",
}

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fetched:
    """What came of a fetch, in the order in which it came."""

    provider: str = ""
    messages: dict[str, IncomingMessage] = field(default_factory=dict)
    """By their ids in the run."""
    unread: dict[str, str] = field(default_factory=dict)
    """Reason by id."""
    marks: list[tuple[int, str]] = field(default_factory=list)
    """Cursor tokens, each with how many messages came before it."""
    more: bool = False
    fault: RunFault | None = None
    """What ended it early. What came before is good all the same."""

    @property
    def empty(self) -> bool:
        """Whether it brought nothing that could be worked with."""
        return not self.messages and not self.unread and not self.marks


async def take_messages(bench: Workbench, inbox: Inbox, source: CloudConnector) -> Mail:
    """Fetch what is new and journal it, with what could not be read, what more there is, and what ended it early.

    A fetch that breaks after it has brought something does not end the run: that much is worked with.

    Raises:
        ConnectionFault, ConnectorsUnavailable: it brought nothing.
        RunCancelled: the run is to end.
        JournalLost: it cannot be known now what was processed before.
    """
    fetched = await _fetch(bench, inbox, source)
    remembered = await inbox.memory.recall(bench.run, list(fetched.messages))
    items = tuple(
        _item(path, message, remembered) for path, message in fetched.messages.items() if path not in remembered.done
    )
    # The items come last: a takeover that does not find them fetches again, with the same errors.
    await bench.journal.append(
        *bench.new_errors(*_errors(bench, fetched)),
        _fetched_event(fetched, [item.path for item in items], remembered.done),
        ItemsFound(items=items),
    )
    return Mail(fetched.messages)


async def take_again(bench: Workbench, inbox: Inbox, source: CloudConnector) -> tuple[Mail, set[str]]:
    """Fetch once more what the groups that are not finished still need, after a takeover.

    Returns:
        The messages, and the ids of those that are needed but have not come, because the fetch broke before. What a
        whole fetch does not bring is gone from the mailbox.

    Raises:
        ConnectionFault, ConnectorsUnavailable, RunCancelled: as `take_messages`.
    """
    progress = bench.progress
    needed: set[str] = set()
    for group in progress.groups or ():
        if group.group_id not in progress.finished_groups:
            paths = [item.path for item in group.items]
            needed |= missing_texts(paths, progress.conversations.get(group.group_id))
    if not needed:
        return Mail({}), set()
    fetched = await _fetch(bench, inbox, source)
    own = [item.path for item in progress.items or ()]
    strangers = [path for path in fetched.messages if path not in own]
    done = (await inbox.memory.recall(bench.run, strangers)).done
    # What is neither this run's nor processed waits for the next one: no checkpoint may go past it.
    new = next((place for place, path in enumerate(fetched.messages) if path not in own and path not in done), None)
    if new is not None:
        fetched.marks = [(place, token) for place, token in fetched.marks if place <= new]
    errors = bench.new_errors(*_errors(bench, fetched))
    await bench.journal.append(*errors, _fetched_event(fetched, own, done))
    lost = needed - set(fetched.messages) if fetched.fault is not None else set()
    return Mail({path: fetched.messages[path] for path in needed if path in fetched.messages}), lost


async def _fetch(bench: Workbench, inbox: Inbox, source: CloudConnector) -> Fetched:
    run = bench.run
    wanted = Fetch(
        user_id=run.user_id,
        connection_id=source.connection_id,
        subscriber=run.agent_key,
        filter=source.filter,
        max_messages=bench.limits.messages,
        max_body_chars=MAX_BODY_CHARS,
        within=max(min(bench.limits.fetching, bench.budget.time_left()), timedelta(seconds=1)),
    )
    best = Fetched()
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        fetched = Fetched()
        try:
            await bench.cancellation.interrupt(partial(_collect, inbox, wanted, fetched))
        except ConnectorsUnavailable as fault:
            fetched.fault = fault
        if fetched.fault is None or len(fetched.messages) >= len(best.messages):
            best = fetched
        # Where nothing came at all, the port has waited for the service already.
        if fetched.empty or not isinstance(fetched.fault, ConnectorsUnavailable):
            break
        logger.warning("fetch_broke", attempt=attempt, messages=len(fetched.messages))
    if best.fault is not None and best.empty:
        raise best.fault
    return best


async def _collect(inbox: Inbox, wanted: Fetch, into: Fetched) -> None:
    """Take in a fetch to its end.

    Raises:
        ConnectorsUnavailable: the service broke; it may be worth to fetch again.
    """
    try:
        async with aclosing(inbox.messages.fetch(wanted)) as events:
            async for event in events:
                match event:
                    case Begun(provider=provider):
                        into.provider = provider
                    case Arrived(message=message):
                        into.messages.setdefault(message_id(into.provider, message.key), message)
                    case Unread(key=key, reason=reason):
                        into.unread[message_id(into.provider, key)] = reason
                    case Waiting(until=until):
                        logger.info("provider_asks_to_wait", until=until.isoformat() if until else "")
                    case Mark(cursor_token=token):
                        into.marks.append((len(into.messages), token))
                    case Ended(cursor_token=token, more=more):
                        into.marks.append((len(into.messages), token))
                        into.more = more
    except ConnectorsUnavailable:
        raise
    except RunFault as fault:
        into.fault = fault


def _item(path: str, message: IncomingMessage, remembered: Remembered) -> Item:
    failures = remembered.failures.get(path)
    at = message.received_at
    return Item(
        path=path,
        size_bytes=len(marked_text(message).encode()),
        mtime_ns=0 if at is None else int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1_000,
        thread=message.thread_id,
        tries=failures.tries if failures else 0,
        failures=failures.blamed if failures else 0,
    )


def _fetched_event(fetched: Fetched, items: list[str], done: frozenset[str]) -> MessagesFetched:
    """Return what a fetch means for the run's items, which are in the order of the messages.

    Args:
        fetched: The fetch.
        items: The ids of the run's items.
        done: The messages that earlier runs processed.
    """
    place_of = {path: place for place, path in enumerate(items)}
    before: list[int] = [0]
    """For each number of messages, how many of the items are among the first so many."""
    outrun = 0
    for path in fetched.messages:
        place = place_of.get(path)
        before.append(before[-1] if place is None else max(before[-1], place + 1))
        if path in done:
            outrun = before[-1]
    checkpoints = [Checkpoint(items=before[place], cursor_token=token) for place, token in fetched.marks]
    return MessagesFetched(
        checkpoints=tuple(_thinned(checkpoints)),
        redelivered=sum(path in done for path in fetched.messages),
        outrun=outrun,
        more=fetched.more,
    )


def _thinned(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Return the last checkpoint after each item, and no more than are worth keeping; the last one always."""
    last = list({checkpoint.items: checkpoint for checkpoint in checkpoints}.values())
    every = -(-len(last) // MAX_CHECKPOINTS)
    return last[::-1][:: every or 1][::-1]


def _errors(bench: Workbench, fetched: Fetched) -> list[RunError]:
    errors = [] if fetched.fault is None else [error_of(fetched.fault, bench.run.run_id)]
    by_reason: dict[str, list[str]] = {}
    for path, reason in fetched.unread.items():
        by_reason.setdefault(reason if reason in _UNREAD_SENTENCES else UNREADABLE, []).append(path)
    errors += [
        RunError(reason=reason, message=_UNREAD_SENTENCES[reason], items=tuple(paths[:MAX_NAMED]))
        for reason, paths in sorted(by_reason.items())
    ]
    if fetched.more:
        most = bench.limits.messages
        message = f"There are more messages than one run takes. This run takes at most {most}, and the next the rest."
        errors.append(RunError(reason=TOO_MANY_MESSAGES, message=message))
    return errors
