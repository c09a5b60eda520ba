"""What a provider answers, as values: an error of one message must not end the reading of the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError, Internal
from connectors.messages.domain import LeftOut, Listing, Message, MessageFilter, Query, Ref, Unreadable, Vanished
from connectors.messages.limits import within_limits
from connectors.providers.port import Provider, Session

MAX_SURPRISES: Final = 5
"""Errors of a kind that no provider may raise, in one fetch: so many are bad messages, more are a bad provider."""

_log = structlog.get_logger(__name__)


@unique
class Gone(Enum):
    """Why a message does not come."""

    VANISHED = "vanished"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider, or the grant, failed: no message after this one can be had."""

    error: AdiuvaError


Read = Message | Unreadable | Gone | Failed


class Reader:
    """Reads messages for one fetch.

    Args:
        provider: Of the connection.
        session: Of this fetch.
        wanted: The filter, in normal form.
        max_body_chars: How long a text may be.
    """

    def __init__(self, provider: Provider, session: Session, wanted: MessageFilter, *, max_body_chars: int) -> None:
        self._provider = provider
        self._session = session
        self._wanted = wanted
        self._max_body_chars = max_body_chars
        self._slots = asyncio.Semaphore(max(1, provider.concurrency))
        self._surprises = 0
        self._failed: Failed | None = None

    @property
    def failed(self) -> bool:
        """Whether a message has failed: further ones need not be begun."""
        return self._failed is not None

    async def read(self, ref: Ref) -> Read:
        """Read one message; whatever goes wrong is its outcome."""
        async with self._slots:
            # Whoever waits here is later in the round than the one that failed: slots are given in order.
            if self._failed is not None:
                return self._failed
            outcome = await self._attempt(ref)
        if isinstance(outcome, Failed):
            self._failed = outcome
        return outcome

    async def _attempt(self, ref: Ref) -> Read:
        try:
            message = await self._provider.read(self._session, ref, self._wanted, max_body_chars=self._max_body_chars)
            return within_limits(message, max_body_chars=self._max_body_chars)
        except Vanished:
            return Gone.VANISHED
        except LeftOut:
            return Gone.LEFT_OUT
        except Unreadable as unreadable:
            return unreadable
        except AdiuvaError as error:
            return Failed(error)
        except Exception as surprise:  # noqa: BLE001 - one message must not keep all later ones from their reader
            return self._surprised(surprise)

    def _surprised(self, surprise: Exception) -> Read:
        unforeseen = unforeseen_error(surprise, connection_id=self._session.connection_id)
        self._surprises += 1
        if self._surprises > MAX_SURPRISES:
            return Failed(unforeseen)
        return Unreadable("The message could not be read.")


async def listing_of(provider: Provider, session: Session, query: Query) -> Listing | Failed:
    """Ask the provider what is new; whatever goes wrong is returned."""
    try:
        return await provider.list_new(session, query)
    except AdiuvaError as error:
        return Failed(error)
    except Exception as surprise:  # noqa: BLE001 - see unforeseen_error
        return Failed(unforeseen_error(surprise, connection_id=session.connection_id))


def unforeseen_error(surprise: Exception, *, connection_id: str) -> Internal:
    """Log an error that no provider may raise, without its text, which may be a message's; return one to raise."""
    _log.error(
        "a provider failed for an unforeseen reason",
        connection_id=connection_id,
        error=type(surprise).__name__,
        at=_where(surprise),
    )
    return Internal("The provider's answer could not be handled here.")


def _where(error: Exception) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
