"""Who is connected to this replica. The newest session of a device wins at once; a stale one can remove nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from device_bridge.server.devices.domain import Notice, NoticeKind
from device_bridge.server.errors import DeviceRevoked, SessionRetired, SessionSuperseded
from device_bridge.server.routing.domain import Parcel
from device_bridge.server.sessions.domain import CloseReason, Terms
from device_bridge.server.sessions.ports import CallDesk
from device_bridge.server.sessions.session import Session

_log = structlog.get_logger(__name__)


class Sessions:
    """The live sessions of this replica, by device.

    Args:
        desk: Where the calls are.
        rng: For spreading reconnects.
    """

    def __init__(self, desk: CallDesk, *, rng: random.Random) -> None:
        self._desk = desk
        self._rng = rng
        self._live: dict[str, Session] = {}
        self._arriving: Counter[str] = Counter()
        self._newest_elsewhere: dict[str, int] = {}
        self._to_release: dict[str, int] = {}
        self.release_wanted = asyncio.Event()
        """Set when a lease waits for its release."""

    def __len__(self) -> int:
        return len(self._live)

    def get(self, device_id: str) -> Session | None:
        """Return the live session of a device, if it is here."""
        return self._live.get(device_id)

    def epochs(self) -> dict[str, int]:
        """Return the epochs of the live sessions, by device."""
        return {device_id: session.epoch for device_id, session in self._live.items()}

    @contextmanager
    def arriving(self, device_id: str) -> Iterator[None]:
        """Inside the block a newer session of the device is being opened here.

        What the database says meanwhile about its epochs is most likely about that session: an older one is not ended
        for it, or its calls would be lost instead of moving over.
        """
        self._arriving[device_id] += 1
        try:
            yield
        finally:
            self._arriving[device_id] -= 1
            if not self._arriving[device_id]:
                del self._arriving[device_id]
                self.overtaken(device_id, self._newest_elsewhere.pop(device_id, 0))

    def overtaken(self, device_id: str, epoch: int) -> None:
        """The database says that the device's newest session has this epoch: an older one here ends."""
        if device_id in self._arriving:
            self._newest_elsewhere[device_id] = max(epoch, self._newest_elsewhere.get(device_id, 0))
            return
        session = self._live.get(device_id)
        if session is not None and session.epoch < epoch:
            _supersede(session)

    def attach(self, session: Session, terms: Terms) -> dict[str, Parcel]:
        """Make a session the device's own; an older one is told SUPERSEDED.

        Returns:
            The calls that were written before and have no answer yet, by key.

        Raises:
            SessionSuperseded: A newer session of the device was faster.
        """
        older = self._live.get(terms.device_id)
        newest = max(older.epoch if older is not None else 0, self._newest_elsewhere.get(terms.device_id, 0))
        if newest > terms.epoch:
            raise SessionSuperseded
        session.terms = terms
        self._live[terms.device_id] = session
        # First the calls move over, then the older session ends: it has none left to lose.
        wanted = self._desk.attach(session)
        if older is not None:
            _log.info("session superseded", device_id=terms.device_id, epoch=older.epoch, by=terms.epoch)
            _supersede(older)
        return wanted

    def detach(self, session: Session) -> None:
        """Forget a session that is over, if it is still the device's own, and have its lease released."""
        device_id = session.device_id
        if device_id and self._live.get(device_id) is session:
            del self._live[device_id]
            self.release_later(device_id, session.epoch)

    def release_later(self, device_id: str, epoch: int) -> None:
        """Have the lease of a session released."""
        self._to_release[device_id] = max(epoch, self._to_release.get(device_id, 0))
        self.release_wanted.set()

    def take_releases(self) -> dict[str, int]:
        """Return and forget the leases that wait for their release (device id to epoch)."""
        self.release_wanted.clear()
        releases, self._to_release = self._to_release, {}
        return releases

    def give_back_releases(self, releases: dict[str, int]) -> None:
        """The database could not be reached: release these later, unless the device came and went again since."""
        self._to_release = {**releases, **self._to_release}
        self.release_wanted.set()

    def lost(self, device_id: str, epoch: int) -> None:
        """The database says that the session with this epoch is not the device's newest, or that it was revoked."""
        self.overtaken(device_id, epoch + 1)

    def disconnect(self, device_id: str, *, up_to_epoch: int) -> bool:
        """End a device's session because somebody asked for it. Returns whether there was one here."""
        session = self._live.get(device_id)
        if session is None or session.epoch > up_to_epoch:
            return False
        session.close(
            CloseReason.DISCONNECTED,
            SessionRetired("Somebody asked for the end of this session. Connect again."),
            retry_after=self._rng.uniform(0.5, 2.0),
        )
        return True

    def revoke(self, device_id: str) -> None:
        """End a device's session for ever."""
        if session := self._live.get(device_id):
            session.close(CloseReason.REVOKED, DeviceRevoked(), permanent=True)

    def noticed(self, notice: Notice) -> None:
        """Another replica, or this one, said something about a device."""
        match notice.kind:
            case NoticeKind.REVOKED:
                self.revoke(notice.device_id)
            case NoticeKind.RELEASE:
                self.disconnect(notice.device_id, up_to_epoch=notice.epoch)
            case NoticeKind.CONNECTED:
                self.overtaken(notice.device_id, notice.epoch)
            case NoticeKind.DISCONNECTED | NoticeKind.CHANGED:
                pass

    def close_all(self) -> None:
        """The bridge stops: tell every device to come back soon, not all at once."""
        for session in list(self._live.values()):
            session.close(
                CloseReason.SHUTDOWN,
                SessionRetired("The bridge stops. Connect again."),
                retry_after=self._rng.uniform(0.2, 2.0),
            )


def _supersede(session: Session) -> None:
    session.close(CloseReason.SUPERSEDED, SessionSuperseded())
