"""What is set about Teams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from connectors.providers.quotas import Cost

SCOPES: Final = ("User.Read", "Chat.Read")
"""What every user is asked for. Channels need `ChannelMessage.Read.All` besides: users cannot allow that themselves, so
they are not asked, and an administrator allows it for the whole organization."""
CHATS: Final = Cost()
CHANNELS: Final = Cost(scope="channels")
"""What calls cost. Teams counts those about channels by themselves, for the whole application."""
OVERLAP: Final = timedelta(minutes=1)
"""Times of two messages may be the same, clocks of Teams' machines differ a little, and a message may be told a little
late: so much is listed again each time. What was delivered is known, and is not delivered again."""
LATE: Final = timedelta(days=1)
"""The same, for channels: a delta query tells a thread as a whole, when anything in it has changed."""
INSTANT: Final = timedelta(milliseconds=1)
"""How exact Teams' times are."""
MAX_CHATS: Final = 2_000
"""How many chats' places are remembered one by one: those where something was said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsConfig:
    """How Teams is asked. The quota is `ProviderHttp`'s: one for all calls, and one for the scope `channels`."""

    concurrency: int = 4
    page_size: int = 50
    """Messages a page; Teams gives no more."""
    carried_bytes: int = 32 * 2**20
    """Of the messages that a listing keeps in memory; others are read again, one by one."""
