"""Who is connected here: takeovers, in any order of what the database and the devices do."""

from __future__ import annotations

import random

import pytest

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.devices.domain import Notice, NoticeKind
from device_bridge.server.errors import DeviceRevoked, SessionRetired, SessionSuperseded, StoreUnavailable
from device_bridge.server.routing.domain import ByteBudget, Outcome
from device_bridge.server.sessions.domain import Limits, Terms
from device_bridge.server.sessions.leases import Leases
from device_bridge.server.sessions.registry import Sessions
from device_bridge.server.sessions.session import Session, Surroundings
from tests.device_bridge.server.routing.examples import Table
from tests.device_bridge.server.sessions.examples import frame, hello
from tests.fakes.bridge_store import FakeBridgeStore


class Replica:
    """The sessions of a replica under test."""

    def __init__(self) -> None:
        self.table = Table()
        self.sessions = Sessions(self.table.table, rng=random.Random(1))  # noqa: S311 - the same every time
        self.shared = Surroundings(
            limits=Limits(),
            desk=self.table.table,
            budget=ByteBudget(1000),
            clock=lambda: self.table.now,
            too_large=Outcome(b"too large"),
        )

    def session(self) -> Session:
        """A session that waits to be admitted."""
        session = Session(self.shared)
        session.receive(frame(1, hello()))
        return session

    def come(self, epoch: int, device_id: str = "laptop") -> Session:
        """A session that is admitted."""
        session = self.session()
        terms = Terms(session_id=f"s-{epoch}", epoch=epoch, user_id="anna", device_id=device_id, need_tools=False)
        wanted = self.sessions.attach(session, terms)
        session.admit(terms, known=None, wanted=wanted)
        self.table.table.resume(session)
        return session

    def notice(self, kind: NoticeKind, epoch: int) -> None:
        self.sessions.noticed(Notice(kind=kind, device_id="laptop", user_id="anna", epoch=epoch))


@pytest.fixture
def replica() -> Replica:
    return Replica()


def error_of(session: Session) -> AdiuvaError | None:
    assert session.ending is not None
    return session.ending.error


def test_the_newest_session_wins(replica: Replica) -> None:
    old, new = replica.come(1), replica.come(2)

    assert replica.sessions.get("laptop") is new
    assert isinstance(error_of(old), SessionSuperseded)
    assert new.ending is None


def test_a_session_that_comes_too_late_is_refused(replica: Replica) -> None:
    new = replica.come(2)

    with pytest.raises(SessionSuperseded):
        replica.come(1)

    assert replica.sessions.get("laptop") is new


def test_a_stale_session_removes_nothing(replica: Replica) -> None:
    old, new = replica.come(1), replica.come(2)

    replica.sessions.detach(old)

    assert replica.sessions.get("laptop") is new
    assert replica.sessions.take_releases() == {}


def test_a_session_that_is_over_has_its_lease_released(replica: Replica) -> None:
    session = replica.come(3)

    replica.sessions.detach(session)

    assert len(replica.sessions) == 0
    assert replica.sessions.release_wanted.is_set()
    assert replica.sessions.take_releases() == {"laptop": 3}
    assert not replica.sessions.release_wanted.is_set()


def test_a_session_that_never_came_in_leaves_no_trace(replica: Replica) -> None:
    replica.sessions.detach(replica.session())

    assert replica.sessions.take_releases() == {}


def test_a_newer_session_elsewhere_ends_the_one_here(replica: Replica) -> None:
    session = replica.come(1)

    replica.notice(NoticeKind.CONNECTED, 1)
    assert session.ending is None
    replica.notice(NoticeKind.CONNECTED, 2)

    assert isinstance(error_of(session), SessionSuperseded)


def test_while_a_newer_session_opens_here_its_own_notice_does_not_end_the_older_one(replica: Replica) -> None:
    old = replica.come(1)
    replica.table.submit()

    with replica.sessions.arriving("laptop"):
        replica.notice(NoticeKind.CONNECTED, 2)
        replica.sessions.lost("laptop", 1)
        assert old.ending is None
        replica.come(2)

    assert isinstance(error_of(old), SessionSuperseded)
    assert replica.table.waiter.answers == {}


def test_a_session_that_is_overtaken_elsewhere_while_it_opens_is_refused(replica: Replica) -> None:
    with replica.sessions.arriving("laptop"):
        replica.notice(NoticeKind.CONNECTED, 3)
        with pytest.raises(SessionSuperseded):
            replica.come(2)


def test_an_arrival_that_fails_leaves_no_stale_session_behind(replica: Replica) -> None:
    old = replica.come(1)

    with replica.sessions.arriving("laptop"):
        replica.notice(NoticeKind.CONNECTED, 2)
    # The newer session came to nothing here, but the database knows it as the newest.

    assert isinstance(error_of(old), SessionSuperseded)


def test_a_revoked_device_is_cut_off(replica: Replica) -> None:
    session = replica.come(1)

    replica.notice(NoticeKind.REVOKED, 1)

    assert isinstance(error_of(session), DeviceRevoked)


def test_a_request_to_disconnect_does_not_hit_a_newer_session(replica: Replica) -> None:
    session = replica.come(5)

    replica.notice(NoticeKind.RELEASE, 4)
    assert session.ending is None
    replica.notice(NoticeKind.RELEASE, 5)

    assert isinstance(error_of(session), SessionRetired)


class Broken(FakeBridgeStore):
    """A store whose database is away."""

    async def release(self, epochs: object) -> None:
        raise StoreUnavailable


def leases(replica: Replica, store: FakeBridgeStore) -> Leases:
    return Leases(store=store, sessions=replica.sessions, replica="r", interval=1.0, lease_seconds=3.0)


async def test_a_session_that_the_database_forgot_is_ended_at_the_next_renewal(replica: Replica) -> None:
    session = replica.come(1)

    await leases(replica, FakeBridgeStore()).renew()

    assert isinstance(error_of(session), SessionSuperseded)


async def test_leases_that_cannot_be_released_are_released_later(replica: Replica) -> None:
    replica.sessions.detach(replica.come(1))

    with pytest.raises(StoreUnavailable):
        await leases(replica, Broken()).release()

    assert replica.sessions.release_wanted.is_set()
    await leases(replica, FakeBridgeStore()).release()
    assert replica.sessions.take_releases() == {}
