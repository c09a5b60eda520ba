"""The tree of errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adiuva_rpc import errors
from adiuva_rpc.errors import (
    Aborted,
    AdiuvaError,
    CallerFault,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServerFault,
    TryAgain,
    leaf_classes,
)


def test_every_error_says_who_must_act() -> None:
    branches = (CallerFault, TryAgain, ServerFault)

    assert [leaf for leaf in leaf_classes() if not issubclass(leaf, branches)] == []


def test_the_base_errors_have_different_reasons() -> None:
    reasons = [cls.reason for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, AdiuvaError)]

    assert len(reasons) - 1 == len(set(reasons))  # AdiuvaError itself shares INTERNAL with Internal


def test_an_error_without_a_message_says_what_its_class_means() -> None:
    assert str(Aborted()) == "An etag or epoch is stale: somebody else was first. Read again, then decide."


def test_an_invalid_argument_names_its_field() -> None:
    error = InvalidArgument("schedule.cron", "has six fields instead of five")

    assert (error.message, error.field) == ("schedule.cron: has six fields instead of five", "schedule.cron")


def test_a_thing_that_is_not_found_is_named_by_kind_only() -> None:
    error = NotFound("run")

    assert (error.message, error.metadata) == ("There is no such run.", {"kind": "run"})


def test_a_limit_says_when_to_come_back() -> None:
    assert ResourceExhausted("Too many runs wait.", retry_after=2.5).retry_after == 2.5


def test_a_reason_that_is_not_upper_snake_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="UPPER_SNAKE"):
        type("Bad", (CallerFault,), {"reason": "not-a-reason"})


def test_errors_and_identity_import_no_grpc() -> None:
    script = (
        "import sys, adiuva_rpc.errors, adiuva_rpc.identity; print('grpc' in sys.modules or 'google' in sys.modules)"
    )

    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)

    assert answer.stdout.strip() == "False"
