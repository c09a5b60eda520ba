"""How a device that said Hello comes in: its code is redeemed, it gets its epoch, its calls are found."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import structlog

from adiuva_rpc.failpoints import failpoint
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import BridgeStopping, StoreUnavailable, TooManySessions
from device_bridge.server.sessions.domain import Hello, Terms
from device_bridge.server.sessions.ports import Arrival, CallDesk, Enrolled, Enroller, SessionStore
from device_bridge.server.sessions.registry import Sessions
from device_bridge.server.sessions.session import Session

ADMISSION_SECONDS = 10.0
"""For the database. A device whose Welcome does not come tries again."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who dials, from its credential: a device, or somebody with a one-time code."""

    user_id: str = ""
    device_id: str = ""
    code: str = ""


class Admission:
    """Lets devices in.

    Args:
        store: Epochs and leases.
        enroller: Redeems codes.
        sessions: Who is here.
        desk: Where the calls are.
        replica: The address of this replica, for leases.
        lease_seconds: How long a lease lives without renewal.
        max_sessions: More are refused.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        enroller: Enroller,
        sessions: Sessions,
        desk: CallDesk,
        replica: str,
        lease_seconds: float,
        max_sessions: int,
    ) -> None:
        self._store = store
        self._enroller = enroller
        self._sessions = sessions
        self._desk = desk
        self._replica = replica
        self._lease_seconds = lease_seconds
        self._max_sessions = max_sessions
        self._open = 0
        self.deserted = asyncio.Event()
        """Set while no stream is open."""
        self.deserted.set()
        self.stopping = False
        """Set when the bridge stops: nobody comes in any more."""

    def enter(self) -> None:
        """Count a stream that opens, before anything is read from it.

        Raises:
            BridgeStopping: The bridge stops.
            TooManySessions: There is no room.
        """
        if self.stopping:
            raise BridgeStopping("The bridge stops. Connect again.", retry_after=1.0)
        if self._open >= self._max_sessions:
            raise TooManySessions(retry_after=5.0)
        self._open += 1
        self.deserted.clear()

    def leave(self) -> None:
        """Count a stream that has ended."""
        self._open -= 1
        if not self._open:
            self.deserted.set()

    @property
    def open_streams(self) -> int:
        """Streams that are open, admitted or not."""
        return self._open

    async def admit(self, session: Session, newcomer: Newcomer, hello: Hello) -> None:
        """Bring a session to READY, or raise why not.

        Raises:
            CodeRefused: The one-time code is not good any more.
            DeviceUnknown: The device was deleted since its credential was checked.
            DeviceRevoked: It was revoked since.
            SessionSuperseded: A newer session of the device was faster.
            StoreUnavailable: The database did not answer in time.
        """
        try:
            async with asyncio.timeout(ADMISSION_SECONDS):
                enrolled = await self._who(newcomer, hello)
                with self._sessions.arriving(enrolled.device_id):
                    terms, known = await self._open_session(enrolled, hello)
                    # From here to the end of the block nothing waits: there is no moment in which a device has two
                    # sessions, or none.
                    self._let_in(session, terms, known)
        except TimeoutError:
            raise StoreUnavailable from None

    async def _who(self, newcomer: Newcomer, hello: Hello) -> Enrolled:
        if not newcomer.code:
            return Enrolled(device_id=newcomer.device_id, user_id=newcomer.user_id, credential="")
        return await self._enroller.redeem(
            newcomer.code, installation_id=hello.installation_id, display_name=hello.display_name
        )

    def _let_in(self, session: Session, terms: Terms, known: Manifest | None) -> None:
        failpoint("bridge.before_welcome")
        if self.stopping:
            self._sessions.release_later(terms.device_id, terms.epoch)
            raise BridgeStopping("The bridge stops. Connect again.", retry_after=1.0)
        wanted = self._sessions.attach(session, terms)
        session.admit(terms, known=known, wanted=wanted)
        self._desk.resume(session)
        _log.info("session open", device_id=terms.device_id, epoch=terms.epoch, calls=len(wanted))

    async def _open_session(self, enrolled: Enrolled, hello: Hello) -> tuple[Terms, Manifest | None]:
        arrival = Arrival(
            device_id=enrolled.device_id,
            user_id=enrolled.user_id,
            session_id=str(uuid.uuid4()),
            agent_version=hello.agent_version,
            display_name=hello.display_name,
            root_names=hello.root_names,
            manifest=hello.manifest,
        )
        opening = await self._store.open_session(arrival, replica=self._replica, lease_seconds=self._lease_seconds)
        known = hello.manifest if hello.manifest.tools else opening.known
        terms = Terms(
            session_id=arrival.session_id,
            epoch=opening.epoch,
            user_id=enrolled.user_id,
            device_id=enrolled.device_id,
            need_tools=known is None,
            issued_credential=enrolled.credential,
        )
        return terms, known
