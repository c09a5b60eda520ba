"""What the device keeps for itself: its log tells what callers are not told, on one line, without any content."""

from __future__ import annotations

import logging
import os

import pytest

from tests.device_bridge.agent.sandbox.stage import Stage


async def test_a_file_with_two_names_is_noted(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    os.link(stage.write("a.txt", "content"), stage.root / "b.txt")

    with caplog.at_level(logging.INFO):
        assert await stage.read("root/b.txt") == "OK"

    assert "a file with 2 hard links was opened: root/b.txt" in caplog.text
    assert "content" not in caplog.text


@pytest.mark.parametrize(
    ("path", "reason"), [("root/../\nINFO all is well\x1b[2J", "PATH_DENIED"), ("root/.env", "DENIED_BY_POLICY")]
)
async def test_a_refusal_is_noted_on_one_line(
    stage: Stage, caplog: pytest.LogCaptureFixture, path: str, reason: str
) -> None:
    with caplog.at_level(logging.INFO):
        assert await stage.read(path) == reason

    (record,) = caplog.records
    assert record.getMessage() == f"refused with {reason}: {path!a}"
    assert record.getMessage().isprintable()


async def test_an_ordinary_answer_is_not_noted(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.write("a.txt")

    with caplog.at_level(logging.DEBUG):
        assert await stage.read("root/a.txt") == "OK"
        assert await stage.read("root/missing.txt") == "NOT_FOUND"

    assert not [record for record in caplog.records if record.name.startswith("device_bridge")]
