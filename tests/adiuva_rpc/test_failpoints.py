"""Failpoints: nothing unless a test asks, then exactly what it asks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adiuva_rpc.failpoints import FailpointError, Failpoints, failpoint

SCRIPT = """
from adiuva_rpc.failpoints import failpoint

for number in range(5):
    print(number, flush=True)
    failpoint("place")
"""


def test_nothing_happens_unless_armed() -> None:
    failpoint("anywhere")
    Failpoints("").reach("anywhere")
    Failpoints("elsewhere=raise").reach("anywhere")


def test_an_armed_one_raises_every_time(tmp_path: Path) -> None:
    points = Failpoints("a.place=raise; b=kill", tmp_path)

    for _ in range(2):
        with pytest.raises(FailpointError, match=r"a\.place"):
            points.reach("a.place")
    assert (tmp_path / "a.place").exists()
    assert not (tmp_path / "b").exists()


def test_one_with_a_hit_number_acts_at_that_hit_only(tmp_path: Path) -> None:
    points = Failpoints("place=raise@3", tmp_path)

    points.reach("place")
    points.reach("place")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FailpointError):
        points.reach("place")
    points.reach("place")


@pytest.mark.parametrize(
    "text", ["place", "place=explode", "place=kill@0", "place=kill@x", "=kill", "a b=kill", "../x/=kill"]
)
def test_a_specification_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a failpoint"):
        Failpoints(text)


def test_kill_is_a_real_one_and_leaves_its_mark(tmp_path: Path) -> None:
    environment = {"ADIUVA_FAILPOINTS": "place=kill@3", "ADIUVA_FAILPOINTS_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, env=environment, check=False
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1", "2"]
    assert (tmp_path / "place").read_text().split()[1] == "3"


def test_hang_stops_the_process_until_it_is_killed(tmp_path: Path) -> None:
    environment = {"ADIUVA_FAILPOINTS": "place=hang", "ADIUVA_FAILPOINTS_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.kill()
        rest = process.stdout.read()

    assert rest == ""
    assert (tmp_path / "place").exists()


def test_a_process_that_was_killed_once_is_not_killed_when_it_is_started_again(tmp_path: Path) -> None:
    environment = {"ADIUVA_FAILPOINTS": "place=kill@3", "ADIUVA_FAILPOINTS_DIR": str(tmp_path)}

    codes = [
        subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=False).returncode
        for _ in range(2)
    ]

    assert codes == [-signal.SIGKILL, 0]
