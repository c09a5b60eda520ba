"""Logs: their form, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, strategies as st

from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.request_ids import bind_request_id
from adiuva_rpc.settings import Secret
from adiuva_rpc.telemetry import configure_logging, redact, run_in_logs
from tests.adiuva_rpc.probe import Probe, failure, probe_server

CANARIES = {
    "bearer": "Bearer canary-abcdefgh",
    "bearer in lower case": "authorization: bearer canary-abcdefgh",
    "enrolment": "Enrolment canary-1234",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.canary_signature",
    "google access token": "ya29.canary-abcdefghijkl",
    "google refresh token": "1//canary-abcdefghijkl",
    "our token": "adv_canary-abcdefghijkl",
    "model key": "sk-canary-abcdefghijkl",
    "form body": "grant_type=refresh_token&refresh_token=canary&client_secret=canary",
    "json body": '{"access_token": "canary", "expires_in": 3599}',
    "database url": "postgresql://adiuva:canary@db:5432/adiuva",
    "PEM": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    "PEM cut short": "-----BEGIN EC PRIVATE KEY-----\ncanary",
}


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configure JSON logs into memory; the function returns the lines so far."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    configure_logging("bridge", stream=stream, level="DEBUG", json=True)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers, root.level = before


def test_a_line_has_service_time_level_and_ids(lines: Callable[[], list[dict[str, Any]]]) -> None:
    bind_request_id("request-1")
    with run_in_logs("run-7"):
        structlog.get_logger("here").info("group done", files=12)
    structlog.get_logger("here").info("after")

    inside, after = lines()
    assert inside.pop("timestamp").endswith("Z")
    assert inside == {
        "service": "bridge",
        "event": "group done",
        "files": 12,
        "level": "info",
        "logger": "here",
        "request_id": "request-1",
        "run_id": "run-7",
    }
    assert "run_id" not in after


def test_libraries_log_in_the_same_form_and_only_from_warnings_on(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    logging.getLogger("sqlalchemy.engine").debug("SELECT secret FROM everything")
    logging.getLogger("httpx").info("GET https://example.com?refresh_token=x")
    logging.getLogger("sqlalchemy.pool").warning("pool exhausted")
    logging.getLogger("elsewhere").info("shown %s", "too")

    assert [(line["event"], line["logger"]) for line in lines()] == [
        ("pool exhausted", "sqlalchemy.pool"),
        ("shown too", "elsewhere"),
    ]


@pytest.mark.parametrize("text", CANARIES.values(), ids=CANARIES.keys())
def test_a_credential_is_masked_wherever_it_stands(lines: Callable[[], list[dict[str, Any]]], text: str) -> None:
    log = structlog.get_logger("here")
    log.info(text)
    log.info("value", detail=text)
    log.info("deep", request={"headers": [("x", text)], text: 1, "set": {text}})
    logging.getLogger("library").warning("failed: %s", text)
    try:
        fail(text)
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("library").exception("failed")

    assert len(lines()) == 6
    assert "canary" not in json.dumps(lines())


@pytest.mark.parametrize(
    "key", ["token", "access_token", "Refresh-Token", "client_secret", "password", "authorization", "code", "api_key"]
)
def test_the_value_of_a_telling_key_is_masked(lines: Callable[[], list[dict[str, Any]]], key: str) -> None:
    structlog.get_logger("here").info("event", **{key: "canary"}, inner={key: "canary"})

    assert lines()[0][key] == "***"
    assert "canary" not in json.dumps(lines())


def test_ordinary_facts_are_not_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    facts = {"input_tokens": 12, "status_code": 404, "reason": "NOT_FOUND", "exit_code": 2, "ok": True, "none": None}

    structlog.get_logger("here").info("run done", **facts, path="sample/acme/notes.md")

    assert lines()[0].items() >= {**facts, "path": "sample/acme/notes.md"}.items()


def test_what_cannot_be_written_as_json_does_not_break_the_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    deep: list[Any] = []
    deep.append(deep)

    structlog.get_logger("here").info("odd", secret_box=Secret("canary"), raw=b"canary", endless=deep, kind=Secret)

    assert lines()[0]["raw"] == "<6 bytes>"
    assert "canary" not in json.dumps(lines())


def fail(text: str) -> None:
    raise RuntimeError(text)


def test_a_traceback_shows_no_local_variables(lines: Callable[[], list[dict[str, Any]]]) -> None:
    def fails() -> None:
        message_text = "".join(["can", "ary"])
        raise ValueError(len(message_text))

    try:
        fails()
    except ValueError:
        structlog.get_logger("here").exception("failed")

    assert "ValueError: 6" in lines()[0]["exception"]
    assert "canary" not in json.dumps(lines())


def test_a_terminal_gets_text_that_is_masked_too() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root = logging.getLogger()
    before = (root.handlers, root.level)
    terminal = Terminal()
    configure_logging("bridge", stream=terminal)
    try:
        structlog.get_logger("here").info("listening", address="127.0.0.1:1", header="Bearer canary-abcdefgh")
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers, root.level = before

    assert "listening" in terminal.getvalue()
    assert "canary" not in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


async def test_a_whole_call_leaves_no_credential_and_no_message_in_the_log(
    lines: Callable[[], list[dict[str, Any]]], probe: Probe
) -> None:
    async def boom(_request: object, _context: object) -> None:
        raise ValueError("could not use Bearer canary-of-the-handler")

    probe.unary = boom
    async with probe_server(probe) as server:
        for token in ("token-of-anna", "canary-of-the-caller"):
            async with connect(f"127.0.0.1:{server.port}", authorization=bearer(token)) as channel:
                await failure(probe.echo(channel)("canary text of a message"))

    assert {"call failed", "call refused"} <= {line["event"] for line in lines()}
    assert "canary" not in json.dumps(lines())


@given(st.text())
def test_masking_is_total_and_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)
