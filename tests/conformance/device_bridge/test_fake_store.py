"""The fake store is a store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from device_bridge.server.devices.domain import Notice
from tests.conformance.device_bridge.device_store import DeviceStoreConformance
from tests.conformance.device_bridge.enrolment_store import EnrolmentStoreConformance
from tests.conformance.device_bridge.kit import Kit
from tests.conformance.device_bridge.session_store import SessionStoreConformance
from tests.fakes.bridge_store import FakeBridgeStore


@pytest.fixture
def kit() -> Kit:
    store = FakeBridgeStore()

    async def later() -> None:
        store.now += timedelta(days=1)

    async def notices() -> list[Notice]:
        told = [notice for notice in store.notices if notice.user_id == made.user]
        store.notices.clear()
        return told

    made = Kit(store, store, store, expire_leases=later, expire_codes=later, notices=notices)
    return made


class TestSessions(SessionStoreConformance):
    """As the suite says."""


class TestDevices(DeviceStoreConformance):
    """As the suite says."""


class TestEnrolment(EnrolmentStoreConformance):
    """As the suite says."""
