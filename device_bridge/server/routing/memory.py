"""How calls ended, for ten minutes: for a caller that crashed before it heard."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from device_bridge.server.routing.domain import Answer, Call, Finished, Outcome

REMEMBER_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Remembered:
    answer: Answer
    size: int
    until: float


class OutcomeMemory:
    """Answers of calls that have ended, bounded in time, number and bytes; the oldest go first.

    The pieces of a chunked result are not kept: the device has them, and repeating the call brings them.

    Args:
        seconds: How long an answer is kept.
        max_answers: How many.
        max_bytes: Of outcomes together.
    """

    def __init__(
        self, *, seconds: float = REMEMBER_SECONDS, max_answers: int = 20_000, max_bytes: int = 64 << 20
    ) -> None:
        self._seconds = seconds
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[tuple[str, str], _Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size_bytes(self) -> int:
        """What is kept, in bytes of outcomes."""
        return self._bytes

    def remember(self, call: Call, answer: Answer, now: float) -> None:
        """Keep an answer; a later one of the same call replaces it."""
        if isinstance(answer, Finished) and answer.outcome.pieces:
            answer = replace(answer, outcome=Outcome(answer.outcome.encoded))
        size = answer.outcome.size_bytes if isinstance(answer, Finished) else 0
        self._forget((call.user_id, call.call_id))
        self._answers[call.user_id, call.call_id] = _Remembered(answer, size, now + self._seconds)
        self._bytes += size
        while len(self._answers) > self._max_answers or self._bytes > self._max_bytes:
            self._forget(next(iter(self._answers)))

    def recall(self, user_id: str, call_id: str, now: float) -> Answer | None:
        """Return how a call of a user ended, if it is still known."""
        self.expire(now)
        found = self._answers.get((user_id, call_id))
        return found.answer if found is not None else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._answers:
            oldest = next(iter(self._answers))
            if self._answers[oldest].until > now:
                return
            self._forget(oldest)

    def _forget(self, which: tuple[str, str]) -> None:
        if (found := self._answers.pop(which, None)) is not None:
            self._bytes -= found.size
