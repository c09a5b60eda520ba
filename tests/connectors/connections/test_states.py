"""The states of a connection: what happens in each, as one table, and what holds whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.domain import Connection, ConnectionState, StoredGrant
from connectors.connections.states import SealedTokens
from connectors.errors import ConnectionPending, Disconnected, NeedsReauth, Throttled
from connectors.providers.port import Account
from connectors.vault.domain import WrappedKey

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ACCOUNT = Account(account_id="7", address="anna@example.org")
TOKENS = SealedTokens(refresh_token=b"r2", access_token=b"a2", expires_at=LATER, scopes=frozenset({"mail.read"}))
S = ConnectionState
P, A, T, N, B, D, X = (
    S.PENDING,
    S.ACTIVE,
    S.THROTTLED,
    S.NEEDS_REAUTH,
    S.BLOCKED,
    S.DECRYPT_FAILED,
    S.DISCONNECTED,
)

EVENTS: dict[str, Callable[[StoredGrant], StoredGrant | None]] = {
    "renewed": lambda grant: states.renewed(grant, TOKENS, ACCOUNT, now=LATER),
    "refreshed": lambda grant: states.refreshed(grant, TOKENS, known=grant.grant_version, now=LATER),
    "refreshed late": lambda grant: states.refreshed(grant, TOKENS, known=grant.grant_version - 1, now=LATER),
    "refused": lambda grant: states.refused(grant, known=grant.grant_version, reason="DEAD", claims="{}", now=LATER),
    "refused late": lambda grant: states.refused(
        grant, known=grant.grant_version - 1, reason="DEAD", claims="{}", now=LATER
    ),
    "access refused": lambda grant: states.access_refused(grant, now=LATER),
    "access refused now": lambda grant: states.access_refused(grant, known=grant.grant_version, now=LATER),
    "access refused late": lambda grant: states.access_refused(grant, known=grant.grant_version - 1, now=LATER),
    "undecryptable": lambda grant: states.undecryptable(
        grant, known=grant.grant_version, reason="KEY_MISSING", message="no key", now=LATER
    ),
    "opened": lambda grant: states.opened(grant, now=LATER),
    "succeeded": lambda grant: states.succeeded(grant, now=NOW),
    "succeeded later": lambda grant: states.succeeded(grant, now=LATER),
    "throttled": lambda grant: states.throttled(grant, until=LATER + timedelta(hours=1), now=LATER),
    "throttled in the past": lambda grant: states.throttled(grant, until=NOW, now=LATER),
    "unthrottled": lambda grant: states.unthrottled(grant, now=NOW),
    "unthrottled later": lambda grant: states.unthrottled(grant, now=LATER),
    "blocked": lambda grant: states.blocked(grant, now=LATER),
    "erased": lambda grant: states.erased(grant, reason=states.REVOKED, now=LATER),
}

TABLE: dict[str, dict[ConnectionState, ConnectionState]] = {
    "renewed": {P: A, A: A, T: A, N: A, B: A, D: A},
    "refreshed": {A: A, T: T, N: A, B: B, D: A},
    "refreshed late": {},
    "refused": {A: N, T: N, B: N, D: N},
    "refused late": {},
    "access refused": {A: N, T: N, B: N},
    "access refused now": {A: N, T: N, B: N},
    "access refused late": {},
    "undecryptable": {A: D, T: D, B: D, D: D},
    "opened": {D: A},
    "succeeded": {A: A, T: T, B: A},
    "succeeded later": {A: A, T: A, B: A},
    "throttled": {A: T, T: T},
    "throttled in the past": {},
    "unthrottled": {},
    "unthrottled later": {T: A},
    "blocked": {A: B, T: B},
    "erased": {P: X, A: X, T: X, N: X, B: X, D: X},
}
"""What becomes of each state; what is not here changes nothing."""


def a_grant(state: ConnectionState) -> StoredGrant:
    return StoredGrant(
        connection=Connection(
            connection_id="c",
            user_id="anna",
            provider="gmail",
            account_id="" if state is P else "7",
            account="" if state is P else "anna@example.org",
            scopes=frozenset({"mail.read"}),
            state=state,
            reason="" if state is A else "WHY",
            message="" if state is A else "Because.",
            next_allowed_at=NOW + timedelta(minutes=5) if state is T else None,
            created_at=NOW,
            updated_at=NOW,
            version=4,
        ),
        wrapped_key=None if state is X else WrappedKey("key-1", b"k"),
        grant_version=3,
        refresh_token=None if state in {P, X} else b"r1",
        access_token=None if state in {P, X} else b"a1",
        access_expires_at=None if state in {P, X} else NOW,
    )


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("event", EVENTS)
def test_each_event_does_to_each_state_what_the_table_says(event: str, state: ConnectionState) -> None:
    after = EVENTS[event](a_grant(state))

    assert (None if after is None else after.connection.state) == TABLE[event].get(state)


@given(st.sampled_from(list(ConnectionState)), st.lists(st.sampled_from(list(EVENTS)), max_size=12))
def test_whatever_happens_versions_only_grow_and_an_end_is_an_end(begin: ConnectionState, events: list[str]) -> None:
    grant = a_grant(begin)

    for event in events:
        after = EVENTS[event](grant)
        if after is None:
            continue
        assert after.connection.connection_id == grant.connection.connection_id
        changed = (after.connection.state, after.grant_version) != (grant.connection.state, grant.grant_version)
        grown = after.connection.version - grant.connection.version
        assert grown == 1 if changed else grown in {0, 1}
        assert after.grant_version - grant.grant_version in {0, 1}
        assert grant.connection.state is not X
        healthy = after.connection.state is A
        assert (after.connection.reason == "" and after.connection.message == "") if healthy else True
        assert (after.connection.next_allowed_at is not None) == (after.connection.state is T)
        assert (after.wrapped_key is None) == (after.connection.state is X)
        if after.connection.state is X:
            assert (after.refresh_token, after.access_token, after.claims) == (None, None, "")
        grant = after


@pytest.mark.parametrize(("state", "error"), [(P, ConnectionPending), (N, NeedsReauth), (X, Disconnected)])
def test_a_connection_that_cannot_work_is_not_tried(state: ConnectionState, error: type[AdiuvaError]) -> None:
    with pytest.raises(error):
        states.usable(a_grant(state).connection)


@pytest.mark.parametrize("state", [A, T, B, D])
def test_any_other_is_tried(state: ConnectionState) -> None:
    states.usable(a_grant(state).connection)


def test_a_throttle_ends_by_itself() -> None:
    connection = a_grant(T).connection
    over = NOW + timedelta(minutes=5)

    with pytest.raises(Throttled) as wait:
        states.allowed(connection, NOW)
    assert wait.value.retry_after == 300.0
    states.allowed(connection, over)
    assert states.seen_at(connection, NOW) is connection
    seen = states.seen_at(connection, over)
    assert (seen.state, seen.reason, seen.message, seen.next_allowed_at) == (A, "", "", None)
    assert states.seen_at(a_grant(A).connection, over) == a_grant(A).connection


def test_a_throttle_is_not_made_shorter_and_not_told_twice() -> None:
    throttled = EVENTS["throttled"](a_grant(A))
    assert throttled is not None

    assert EVENTS["throttled"](throttled) is None
    assert states.throttled(throttled, until=LATER + timedelta(minutes=1), now=LATER) is None


def test_a_key_that_is_still_missing_is_not_told_twice_and_another_fault_is() -> None:
    missing = EVENTS["undecryptable"](a_grant(A))
    assert missing is not None

    assert EVENTS["undecryptable"](missing) is None
    other = states.undecryptable(missing, known=3, reason="UNDECRYPTABLE", message="changed", now=LATER)
    assert other is not None
    assert other.connection.reason == "UNDECRYPTABLE"


def test_success_is_noted_without_a_new_version() -> None:
    grant = a_grant(A)

    after = EVENTS["succeeded"](grant)

    assert after is not None
    assert after.connection == replace(grant.connection, last_success_at=NOW)


def test_a_refresh_that_names_no_scopes_leaves_them() -> None:
    grant = a_grant(A)

    after = states.refreshed(grant, replace(TOKENS, scopes=frozenset()), known=3, now=LATER)

    assert after is not None
    assert after.connection.scopes == grant.connection.scopes
