"""The table of calls: each ends once, whatever happens to its device, its callers and its time."""

from __future__ import annotations

import pytest

from device_bridge.server.errors import DeviceUnknown
from device_bridge.server.routing.calls import Stage
from device_bridge.server.routing.domain import OfflinePolicy
from tests.device_bridge.server.routing.examples import Answers, FakeLink, Table

WAIT = OfflinePolicy.WAIT


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def link(table: Table) -> FakeLink:
    link = FakeLink()
    table.connect(link)
    return link


def is_empty(table: Table) -> bool:
    return len(table.table) == 0 and table.table.idle.is_set()


def test_a_call_goes_to_its_device_and_its_answer_back(table: Table, link: FakeLink) -> None:
    table.submit()

    answer = table.answer(link)

    assert table.waiter.only() == answer
    assert is_empty(table)


def test_two_callers_with_the_same_call_id_get_their_own_answers(table: Table) -> None:
    links = {user: FakeLink(f"laptop-of-{user}", user_id=user) for user in ("anna", "ben")}
    waiters = {user: Answers() for user in links}
    for user, link in links.items():
        table.connect(link)
        table.submit("same", waiter=waiters[user], user_id=user, device_id=link.device_id)

    answers = {user: table.answer(link, "same") for user, link in reversed(links.items())}

    assert {user: waiter.only("same") for user, waiter in waiters.items()} == answers


def test_a_repeated_call_joins_the_one_under_way(table: Table, link: FakeLink) -> None:
    table.submit()
    other = table.submit(waiter=Answers())

    answer = table.answer(link)

    assert link.calls == ["c1"]
    assert table.waiter.only() == other.only() == answer


def test_the_same_call_id_with_other_arguments_is_refused(table: Table, link: FakeLink) -> None:
    table.submit()

    other = table.submit(waiter=Answers(), arguments_json='{"a":1}')

    assert other.error() == ("CALL_ID_REUSED", "NOT_DELIVERED")
    assert table.waiter.answers == {}


def test_a_call_that_has_ended_runs_again(table: Table, link: FakeLink) -> None:
    table.submit()
    table.answer(link)

    table.submit(waiter=Answers())

    assert link.calls == ["c1", "c1"]


def test_a_newer_worker_takes_over_a_call(table: Table, link: FakeLink) -> None:
    table.submit(epoch=1)
    older = link.delivered[0].key

    newer = table.submit(waiter=Answers(), epoch=2)

    assert table.waiter.error() == ("CALL_CANCELLED", "DELIVERED_UNKNOWN")
    assert link.withdrawn == [older]
    assert table.answer(link) == newer.only()


def test_a_stale_worker_joins_the_newer_one(table: Table, link: FakeLink) -> None:
    table.submit(epoch=2)

    table.submit(waiter=Answers(), epoch=1)

    assert link.calls == ["c1"]


def test_another_users_device_is_unknown(table: Table, link: FakeLink) -> None:
    table.submit(user_id="mallory")

    assert table.waiter.error() == ("DEVICE_UNKNOWN", "NOT_DELIVERED")
    assert link.delivered == []


def test_a_device_that_is_not_here_is_looked_up(table: Table) -> None:
    table.submit(device_id="nowhere")
    assert table.table.lookup_wanted.is_set()

    (entry,) = table.table.take_unresolved()
    table.table.resolve(entry, DeviceUnknown())

    assert table.waiter.error() == ("DEVICE_UNKNOWN", "NOT_DELIVERED")
    assert is_empty(table)


def test_an_empty_device_id_means_what_the_look_up_finds(table: Table, link: FakeLink) -> None:
    table.submit(device_id="")

    table.find("laptop")

    assert link.delivered[0].call.device_id == "laptop"


def test_a_call_to_an_offline_device_fails_at_once(table: Table) -> None:
    table.submit()

    table.find()

    assert table.waiter.error() == ("DEVICE_OFFLINE", "NOT_DELIVERED")
    assert table.table.devices == 0


def test_a_patient_call_waits_for_its_device(table: Table) -> None:
    table.submit(offline_policy=WAIT)
    table.find()
    assert table.table.standing("anna", "c1", table.now) is Stage.WAITING

    link = FakeLink()
    table.connect(link)

    assert table.answer(link) == table.waiter.only()


def test_a_patient_call_waits_no_longer_than_its_timeout(table: Table) -> None:
    table.submit(offline_policy=WAIT, timeout=5.0)
    table.find()

    table.after(4.9)
    assert table.waiter.answers == {}
    table.after(0.2)

    assert table.waiter.error() == ("CALL_TIMEOUT", "NOT_DELIVERED")
    assert table.table.devices == 0


def test_a_device_lost_in_mid_call_fails_the_call_at_once(table: Table, link: FakeLink) -> None:
    link.slots = 1
    table.submit("sent")
    table.submit("waiting")

    table.table.detach(link)

    assert table.waiter.error("sent") == ("DEVICE_LOST", "DELIVERED_UNKNOWN")
    assert table.waiter.error("waiting") == ("DEVICE_LOST", "NOT_DELIVERED")
    assert is_empty(table)
    assert table.table.devices == 0


def test_a_call_that_was_not_written_was_not_delivered(table: Table, link: FakeLink) -> None:
    link.writes = False
    table.submit()

    table.table.detach(link)

    assert table.waiter.error() == ("DEVICE_LOST", "NOT_DELIVERED")


def test_a_patient_call_survives_its_session_and_is_wanted_by_the_next(table: Table, link: FakeLink) -> None:
    link.slots = 1
    table.submit("sent", offline_policy=WAIT)
    table.submit("waiting", offline_policy=WAIT)
    table.table.detach(link)

    newer = FakeLink(epoch=2, room=2)
    wanted = table.connect(newer)

    assert [parcel.call.call_id for parcel in wanted.values()] == ["sent"]
    assert newer.calls == ["waiting"]
    newer.delivered += wanted.values()
    table.answer(newer, "sent")
    table.answer(newer, "waiting")
    assert set(table.waiter.answers) == {"sent", "waiting"}


def test_on_takeover_every_call_moves_to_the_newer_session(table: Table, link: FakeLink) -> None:
    table.submit("written")
    link.writes = False
    table.submit("unwritten")

    newer = FakeLink(epoch=2)
    wanted = table.connect(newer)
    table.table.detach(link)

    assert [parcel.call.call_id for parcel in wanted.values()] == ["written"]
    assert newer.calls == ["unwritten"]
    assert table.waiter.answers == {}


def test_a_stale_session_can_neither_answer_nor_detach(table: Table, link: FakeLink) -> None:
    table.submit()
    newer = FakeLink(epoch=2)
    table.connect(newer)

    table.answer(link)
    table.table.detach(link)
    table.table.room_made(link)

    assert table.waiter.answers == {}
    table.submit("c2")
    assert newer.calls == ["c2"]


def test_a_full_queue_refuses_the_new_call_with_a_delay(table: Table) -> None:
    table = Table(waiting_calls=1)
    link = FakeLink(room=1)
    table.connect(link)
    for call_id in ("sent", "waiting", "refused"):
        table.submit(call_id)

    assert table.waiter.error("refused") == ("TOO_MANY_CALLS", "NOT_DELIVERED")
    answer = table.waiter.only("refused")
    assert answer.error.retry_after == 1.0  # type: ignore[union-attr]  # a rejection, as error() said
    assert set(table.waiter.answers) == {"refused"}


def test_a_queue_is_bounded_in_bytes_too() -> None:
    table = Table(waiting_bytes=100)
    table.connect(FakeLink(room=1))
    for call_id in ("sent", "waiting", "refused"):
        table.submit(call_id, arguments_json='{"a":"' + 60 * "x" + '"}')

    assert set(table.waiter.answers) == {"refused"}


def test_the_whole_table_is_bounded() -> None:
    table = Table(max_calls=2)
    for call_id in ("a", "b", "refused"):
        table.submit(call_id, offline_policy=WAIT)

    assert table.waiter.error("refused") == ("TOO_MANY_CALLS", "NOT_DELIVERED")


def test_an_answer_makes_room_for_the_next_call(table: Table) -> None:
    link = FakeLink(room=1)
    table.connect(link)
    table.submit("first")
    table.submit("second")
    assert link.calls == ["first"]

    table.answer(link, "first")

    assert link.calls == ["first", "second"]


def test_a_call_ends_at_its_timeout_and_the_device_is_told(table: Table, link: FakeLink) -> None:
    table.submit(timeout=2.0)

    table.after(2.1)

    assert table.waiter.error() == ("CALL_TIMEOUT", "DELIVERED_UNKNOWN")
    assert link.withdrawn == [link.delivered[0].key]
    table.answer(link)
    assert len(table.waiter.answers["c1"]) == 1


def test_a_cancelled_call_ends_at_once_and_the_device_is_told(table: Table, link: FakeLink) -> None:
    table.submit()

    assert table.table.cancel("anna", "c1")
    assert not table.table.cancel("anna", "c1")

    assert table.waiter.error() == ("CALL_CANCELLED", "DELIVERED_UNKNOWN")
    assert link.withdrawn == [link.delivered[0].key]


def test_a_call_can_be_cancelled_while_its_device_is_looked_up(table: Table) -> None:
    table.submit()
    entries = table.table.take_unresolved()

    table.table.cancel("anna", "c1")
    table.table.resolve(entries[0], "laptop")

    assert table.waiter.error() == ("CALL_CANCELLED", "NOT_DELIVERED")
    assert table.table.take_unresolved() == []


def test_nobody_can_cancel_the_call_of_another_user(table: Table, link: FakeLink) -> None:
    table.submit()

    assert not table.table.cancel("mallory", "c1")


def test_a_call_that_everybody_left_is_cancelled(table: Table, link: FakeLink) -> None:
    table.submit()
    other = table.submit(waiter=Answers())

    table.table.leave("anna", "c1", table.waiter)
    assert link.withdrawn == []
    table.table.leave("anna", "c1", other)

    assert link.withdrawn == [link.delivered[0].key]
    assert is_empty(table)
    assert table.waiter.answers == other.answers == {}


def test_how_a_call_stands_can_be_asked(table: Table, link: FakeLink) -> None:
    assert table.table.standing("anna", "c1", table.now) is None
    table.submit()
    assert table.table.standing("anna", "c1", table.now) is Stage.RUNNING

    answer = table.answer(link)

    assert table.table.standing("anna", "c1", table.now) == answer
    assert table.table.standing("mallory", "c1", table.now) is None
    table.after(600.1)
    assert table.table.standing("anna", "c1", table.now) is None


def test_a_stopping_bridge_refuses_new_calls_and_lets_those_on_devices_finish(table: Table) -> None:
    link = FakeLink(room=1)
    table.connect(link)
    table.submit("on the device")
    table.submit("waiting")

    table.table.stop_accepting()
    table.submit("new")

    assert table.waiter.error("waiting") == ("BRIDGE_STOPPING", "NOT_DELIVERED")
    assert table.waiter.error("new") == ("BRIDGE_STOPPING", "NOT_DELIVERED")
    assert not table.table.idle.is_set()
    table.answer(link, "on the device")
    assert table.table.idle.is_set()


def test_at_the_end_of_the_bridge_every_caller_hears_of_it(table: Table, link: FakeLink) -> None:
    table.submit()

    table.table.end_all()

    assert table.waiter.error() == ("BRIDGE_STOPPING", "DELIVERED_UNKNOWN")


def test_ten_thousand_devices_leave_no_trace() -> None:
    table = Table()

    for number in range(10_000):
        link = FakeLink(f"device-{number}")
        table.connect(link)
        table.submit(f"c{number}", device_id=link.device_id)
        table.answer(link, f"c{number}")
        table.table.detach(link)

    assert table.table.devices == 0
    assert is_empty(table)
    assert len(table.table._deadlines) == 0


def test_five_thousand_failing_calls_leave_no_trace() -> None:
    table = Table()

    for number in range(5_000):
        table.submit(f"c{number}")
        table.find()

    assert is_empty(table)
    assert table.table.devices == 0
    assert len(table.table._deadlines) == 0
    assert table.table._bytes == 0
