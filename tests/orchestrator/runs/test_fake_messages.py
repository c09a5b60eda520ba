"""The messages that the tests of runs use keep what the real ones keep."""

from __future__ import annotations

import pytest

from tests.conformance.orchestrator.messages import MessagesConformance, MessagesHarness
from tests.fakes.mailbox import FakeMailbox, FakeMessages


class TestFakeMessages(MessagesConformance):
    @pytest.fixture
    async def harness(self) -> MessagesHarness:
        mailbox = FakeMailbox()
        return MessagesHarness(FakeMessages(mailbox), mailbox)
