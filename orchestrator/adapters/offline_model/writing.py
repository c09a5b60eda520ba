"""The changes that are to be made: which were made already, and which come next."""

from __future__ import annotations

from orchestrator.adapters.offline_model.conversation import Call, Conversation, Result


class Writing:
    """Makes each change once. What depends on a change that is not made yet waits for the next turn.

    Attributes:
        pending: The calls to make next, in order.
    """

    def __init__(self, conversation: Conversation, tools: frozenset[str]) -> None:
        self.pending: list[Call] = []
        self._conversation = conversation
        self._tools = tools
        self._asked: set[tuple[str, str]] = set()

    def do(self, call: Call) -> Result | None:
        """Return how the call ended; None when it is to be made first, or cannot be made here."""
        result = self._conversation.result(call)
        if result is None and call.name in self._tools and call.key not in self._asked:
            self._asked.add(call.key)
            self.pending.append(call)
        return result
