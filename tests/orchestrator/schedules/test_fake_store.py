from __future__ import annotations

import pytest

from tests.conformance.orchestrator.schedules import ScheduleConformance, ScheduleLab
from tests.fakes.schedules import InMemorySchedules


class TestInMemorySchedules(ScheduleConformance):
    @pytest.fixture
    def lab(self) -> ScheduleLab:
        return InMemorySchedules()
