"""What is set about Outlook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlookConfig:
    """How mailboxes are listed and read. The quota of a mailbox (4 at a time, 1,000 a minute) is `ProviderHttp`'s."""

    concurrency: int = 4
    page_size: int = 50
    """Messages a page with their bodies; Graph gives up on large ones."""
    slim_page_size: int = 250
    """Messages a page without bodies."""
    carried_bytes: int = 32 * 2**20
    """Of the messages that a listing brings along, so that they need not be read one by one."""
    filtered_at_most: int = 5_000
    """Messages after which Graph ends a delta round with a filter, whatever is left."""
    sweep_every: int = 12
    """Incremental listings after which one also looks through `sweep_window`: a message that was moved away and back
    between two listings is never told as new."""
    sweep_window: timedelta = timedelta(days=7)
    attachment_bytes: int = 25 * 2**20
    """Of one attachment."""
