"""Whatever happens to a connection, no log line and no error shows a token, a code, a verifier or an address."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from adiuva_rpc.telemetry import QUIET_LIBRARIES
from connectors.adapters.sql.audit import SqlAuditTrail
from connectors.adapters.sql.connections import SqlConnections
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.flows import SqlFlows
from connectors.adapters.sql.grants import SqlGrants
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import connections
from connectors.connections.domain import Connection
from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault, ProviderUnavailable, Throttled
from connectors.providers.port import Flow, GrantRefused
from tests.connectors.connections.lab import ADDRESS, USER, Lab, Stores, World, replica
from tests.fakes.identity import CANARY


@dataclass(slots=True)
class Life:
    """A connection's life, with everything that was raised in it."""

    lab: Lab
    engine: AsyncEngine
    errors: list[BaseException] = field(default_factory=list)

    async def fails(self, call: Awaitable[object]) -> None:
        """Something goes wrong, and is kept for being looked at."""
        with pytest.raises(Exception) as failed:
            await call
        self.errors.append(failed.value)

    async def consents(self) -> Connection:
        """Every way to link an account, and to fail at it."""
        lab = self.lab
        await lab.begin(login_hint=ADDRESS)
        await self.fails(lab.begin(login_hint=f"{ADDRESS}\n"))
        await self.fails(lab.begin(redirect_uri=f"https://evil.test/{CANARY}"))
        await self.fails(lab.complete(f"state={CANARY}&code={CANARY}-code"))
        await self.fails(lab.complete(lab.answer(f"{CANARY}-code")))
        for options in ({"scopes": frozenset({"openid"})}, {"offline": False}):
            await lab.begin()
            await self.fails(lab.complete(lab.answer(lab.identity.consent(ADDRESS, **options))))
        await lab.begin()
        await self.fails(
            lab.complete(lab.answer("").replace("code=", f"error=access_denied&error_description={CANARY}"))
        )
        await lab.begin()
        lab.identity.faults.append(OperatorFault())
        await self.fails(lab.complete(lab.answer(lab.identity.consent(ADDRESS))))
        device = await lab.begin(flow=Flow.DEVICE_CODE)
        await self.fails(lab.linking.poll(USER, device.flow_id, actor=USER))
        lab.clock.advance(timedelta(seconds=5))
        lab.identity.approve_device(device.user_code, ADDRESS)
        await lab.linking.poll(USER, device.flow_id, actor=USER)
        connection = await lab.link()
        await lab.reauthorize(connection)
        await self.fails(lab.complete(lab.answer(lab.identity.consent(f"other.{ADDRESS}"))))
        return connection

    async def refreshes(self, connection: Connection) -> None:
        """Every way to refresh, and to fail at it."""
        lab, source = self.lab, self.lab.keeper.source(connection)
        for fault in (OperatorFault(), ProviderUnavailable(), Throttled(retry_after=1.0)):
            lab.expire()
            lab.identity.faults.append(fault)
            await self.fails(lab.token(connection))
        await source.replace(await lab.token(connection))
        for health in (Throttled(retry_after=1.0), ConnectionBlocked(), OperatorFault(), NeedsReauth()):
            await lab.health.failed(connection.connection_id, health)
        await self.fails(lab.testing.test(USER, connection.connection_id))
        await lab.link()
        lab.expire()
        lab.identity.faults.append(GrantRefused(f"{CANARY} was revoked", claims=CANARY))
        await self.fails(lab.token(connection))

    async def breaks(self, connection: Connection) -> None:
        """What is stored does not open, the database and the provider fail, the connection ends."""
        lab = self.lab
        await lab.link()
        async with transaction(self.engine) as database:
            mine = connections.c.connection_id == connection.connection_id
            await database.execute(update(connections).where(mine).values(refresh_token=b"changed"))
        await self.fails(lab.token(connection))
        await lab.link()
        lab.clock.advance(timedelta(days=3))
        lab.identity.faults.append(OperatorFault())
        await lab.upkeep.keep_alive()
        await lab.upkeep.sweep()
        lab.identity.faults.append(RuntimeError(f"{CANARY}-refresh was not taken"))
        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
        await self.fails(lab.token(connection))


@pytest.fixture
async def life(database_url: str, everything: None) -> AsyncIterator[Life]:
    async with pool(database_url) as engine:
        await upgrade(engine)
        stores = Stores(SqlConnections(engine), SqlGrants(engine), SqlFlows(engine), SqlAuditTrail(engine))
        async with replica(World(), stores) as lab:
            yield Life(lab, engine)


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log at DEBUG, as a process does that was started so: only the libraries that show what they carry stay quiet."""
    caplog.set_level(logging.DEBUG)
    for name in QUIET_LIBRARIES:
        caplog.set_level(logging.WARNING, logger=name)


async def test_no_log_line_and_no_error_shows_what_is_secret(
    life: Life, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with anyio.fail_after(30):
        connection = await life.consents()
        await life.refreshes(connection)
        await life.breaks(connection)

    output = capsys.readouterr()
    assert "account linked" in output.out
    assert "OPERATOR_FAULT" in output.out
    assert CANARY not in output.out + output.err
    assert CANARY not in caplog.text
    assert len(life.errors) > 15
    for error in life.errors:
        assert CANARY not in "".join(traceback.format_exception(error)) + repr(vars(error)), repr(error)


async def test_the_audit_trail_holds_no_address_and_no_secret(life: Life) -> None:
    connection = await life.consents()
    await life.refreshes(connection)

    events = await life.lab.stores.audit.page(user_id=None, connection_id="", limit=1000, before="")

    assert len(events) > 10
    assert CANARY not in repr(events)


@pytest.mark.parametrize("shown", [lambda lab: lab.begin(login_hint=ADDRESS), lambda lab: lab.link()])
async def test_nothing_that_is_printed_shows_it_either(life: Life, shown: Callable[[Lab], Awaitable[object]]) -> None:
    made = await shown(life.lab)

    assert CANARY not in repr(made)
