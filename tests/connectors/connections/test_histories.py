"""Whatever users and strangers do with authorizations: each is used once, by its user, in its time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, given, settings, strategies as st

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.authorizations import FLOW_LIFETIME, Authorization
from connectors.connections.authorizing import MAX_OPEN_FLOWS
from connectors.connections.domain import ConnectionState
from connectors.connections.errors import TooManyFlows
from connectors.connections.upkeep import GRACE
from connectors.errors import StateInvalid
from tests.connectors.connections.lab import Lab, World, in_memory, replica

USERS = ("anna", "ben")
ACCOUNTS = ("one@example.org", "two@example.org")

steps = st.tuples(
    st.sampled_from(
        ["begin", "begin", "complete", "complete", "steal", "deny", "wait", "sweep", "disconnect", "again"]
    ),
    st.integers(0, 11),
    st.integers(0, 1),
)


@dataclass(slots=True)
class History:
    """What happened so far."""

    lab: Lab
    flows: list[tuple[Authorization, str, int]] = field(default_factory=list)
    """Each with its user, and where its state is in what the provider was begun with."""
    used: set[str] = field(default_factory=set)

    async def live(self, what: str, which: int, user_number: int) -> None:
        """Let one thing happen, and check at once what has to hold."""
        user = USERS[user_number]
        match what:
            case "begin":
                await self.begin(user)
            case "wait":
                self.lab.clock.advance(timedelta(minutes=which))
            case "sweep":
                await self.lab.upkeep.sweep()
            case "disconnect" | "again":
                await self.change(what, user)
            case _ if self.flows:
                await self.end(what, self.flows[which % len(self.flows)], ACCOUNTS[user_number])
        await self.check()

    async def begin(self, user: str) -> None:
        waiting = [
            one
            for one, owner, _ in self.flows
            if owner == user and one.flow_id not in self.used and one.expires_at > self.lab.clock()
        ]
        try:
            flow = await self.lab.begin(user=user)
        except TooManyFlows:
            assert len(waiting) == MAX_OPEN_FLOWS
            return
        assert len(waiting) < MAX_OPEN_FLOWS
        self.flows.append((flow, user, len(self.lab.identity.begun) - 1))

    async def change(self, what: str, user: str) -> None:
        for connection in await self.lab.stores.connections.page(user, limit=1, after=None, include_disconnected=True):
            if what == "disconnect":
                await self.lab.disconnecting.disconnect(user, connection.connection_id, actor=user)
                self.used |= {one.flow_id for one, _, _ in self.flows if one.connection_id == connection.connection_id}
            elif connection.state is ConnectionState.ACTIVE:
                with suppress(TooManyFlows):
                    flow = await self.lab.reauthorize(connection)
                    self.flows.append((flow, user, len(self.lab.identity.begun) - 1))

    async def end(self, what: str, begun: tuple[Authorization, str, int], account: str) -> None:
        flow, owner, number = begun
        user = next(one for one in USERS if one != owner) if what == "steal" else owner
        answer = self.lab.answer(self.lab.identity.consent(account), begun=number)
        if what == "deny":
            answer = answer.replace("code=", "error=")
        good = flow.flow_id not in self.used and flow.expires_at > self.lab.clock() and user == owner
        exchanged = self.lab.identity.exchanges
        try:
            connection = await self.lab.complete(answer, user=user)
            assert good
            assert (connection.user_id, connection.state) == (owner, ConnectionState.ACTIVE)
        except StateInvalid:
            assert not good
            assert self.lab.identity.exchanges == exchanged
        except AdiuvaError:
            assert good
        if good:
            self.used.add(flow.flow_id)

    async def check(self) -> None:
        """One live connection an account and user; nothing PENDING without a flow that waits, after a sweep."""
        every = await self.lab.stores.connections.page(None, limit=1000, after=None, include_disconnected=False)
        linked = [(one.user_id, one.account_id) for one in every if one.account_id]
        assert len(linked) == len(set(linked))
        oldest = self.lab.clock() - FLOW_LIFETIME - GRACE
        await self.lab.upkeep.sweep()
        after = await self.lab.stores.connections.page(None, limit=1000, after=None, include_disconnected=False)
        assert all(one.created_at >= oldest for one in after if one.state is ConnectionState.PENDING)


@given(st.lists(steps, max_size=40))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
async def test_no_history_uses_a_flow_twice_or_for_somebody_else(history: list[tuple[str, int, int]]) -> None:
    _store, stores = in_memory()
    async with replica(World(), stores) as lab:
        past = History(lab)
        for what, which, user in history:
            await past.live(what, which, user)
