"""The emulator's time as everybody's time, and a client that lives by it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import datetime

from connectors.providers.http import Bounds, ProviderHttp
from connectors.providers.network import BaseUrl
from connectors.providers.quotas import Quota, Rate
from tests.connectors.providers.support import LeastJitter, ManualClock
from tests.emulator.core import Clock, Core


class EmulatedTime(ManualClock):
    """The emulator's clock, which whoever sleeps moves on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(clock.now())

    @property
    def at(self) -> datetime:
        return self._clock.now()

    @at.setter
    def at(self, moment: datetime) -> None:
        self._clock.set(moment)


def http_of(
    core: Core,
    base_url: str,
    host: str,
    *,
    concurrency: int = 20,
    per_connection: Iterable[Rate] = (),
    per_scope: Iterable[Rate] = (),
    bounds: Bounds | None = None,
) -> ProviderHttp:
    """Return a client of an emulated API, whose own waits are as short as they can be; the caller closes it."""
    time = EmulatedTime(core.clock)
    quota = Quota(
        now=time.now,
        sleep=time.sleep,
        concurrency=concurrency,
        per_connection=per_connection,
        per_scope=per_scope,
    )
    return ProviderHttp(
        BaseUrl(base_url, host),
        quota=quota,
        now=time.now,
        sleep=time.sleep,
        rng=LeastJitter(),
        bounds=bounds,
        # It trusts nobody, and is needed for nothing on this machine; to load the system's authorities takes a while.
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
