"""What is set about Gmail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

LOOK_BACK: Final = timedelta(days=30)
"""How old a message may be that turns up now, such as one that the user rescued from spam; older ones are moved or
imported, and no news."""
SEARCH_FROM: Final = 200
"""Changes in one listing from which on a search is made of what a filter can also check by reading each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GmailConfig:
    """What calls cost, in Gmail's quota units, and how many go at a time. The quota itself is `ProviderHttp`'s."""

    get_units: int = 20
    list_units: int = 5
    history_units: int = 2
    profile_units: int = 1
    labels_units: int = 1
    attachment_units: int = 20
    concurrency: int = 20
    page_size: int = 500
    """Messages a page; Gmail gives no more."""
    max_pages: int = 10_000
    """Of one listing: one that never ends would hold us for ever."""
