"""Each benchmark still runs, at a size at which its figures mean nothing; and the report says what they say."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks.bench import Bench, Scale, percentile
from tests.benchmarks.database import private_postgres
from tests.benchmarks.figures import Figure, Part, Report, at_least, at_most, ratio_at_least, ratio_at_most
from tests.benchmarks.report import as_json, show, this_machine
from tests.benchmarks.suite import BENCHMARKS, measured


@pytest.mark.system
@pytest.mark.parametrize("name", BENCHMARKS)
async def test_a_benchmark_still_runs(name: str, new_database: Callable[[], str], tmp_path: Path) -> None:
    part = await measured(name, Bench(scale=Scale.TINY, new_database=new_database, directory=tmp_path / name))

    assert part.fault == ""
    assert part.figures
    for figure in part.figures:
        assert math.isfinite(figure.value)
        assert figure.floor is None or figure.floor > 0


async def test_a_benchmark_that_breaks_is_reported_and_ends_nothing(tmp_path: Path) -> None:
    def no_database() -> str:
        raise ConnectionError("there is no database")

    part = await measured("journal", Bench(scale=Scale.TINY, new_database=no_database, directory=tmp_path))

    assert part.fault == "ConnectionError: there is no database"


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure(what="a", value=80, unit="", floor=10, target=ratio_at_least(8)), True),
        (Figure(what="a", value=79, unit="", floor=10, target=ratio_at_least(8)), False),
        (Figure(what="a", value=13, unit="", floor=10, target=ratio_at_most(1.3)), True),
        (Figure(what="a", value=14, unit="", floor=10, target=ratio_at_most(1.3)), False),
        (Figure(what="a", value=13, unit="", target=ratio_at_most(1.3)), False),
        (Figure(what="a", value=5, unit="", floor=1, target=at_least(5)), True),
        (Figure(what="a", value=0, unit="", target=at_most(0)), True),
        (Figure(what="a", value=1, unit=""), None),
    ],
)
def test_a_target_is_about_the_ratio_or_about_the_figure(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_the_report_says_plainly_what_was_missed() -> None:
    missed = Figure(what="calls", value=10, unit="calls/s", floor=5, floor_is="relay", target=ratio_at_least(8))
    parts = (
        Part(name="calls", seconds=1, figures=(missed,)),
        Part(name="run", seconds=2, fault="ValueError: broken"),
    )
    report = Report(machine=this_machine(), scale="full", parts=parts)
    printed = io.StringIO()

    show(report, Console(file=printed, width=120))
    told = json.loads(as_json(report))

    assert "NO" in printed.getvalue()
    assert "≥ 8x" in printed.getvalue()
    assert "ValueError: broken" in printed.getvalue()
    assert told["machine"]["cores"] >= 1
    assert told["benchmarks"][0]["figures"][0] | {"ratio": 2.0, "met": False} == told["benchmarks"][0]["figures"][0]
    assert told["benchmarks"][1]["fault"] == "ValueError: broken"


def test_a_percentile_lies_between_the_values() -> None:
    assert percentile([3.0], 95) == 3.0
    assert percentile(list(map(float, range(101))), 95) == pytest.approx(95.0)


@pytest.mark.slow
def test_the_database_of_the_benchmarks_waits_for_the_disk() -> None:
    with private_postgres() as new_database:
        assert new_database() != new_database()
