"""Errors as statuses, and back."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]  # no stubs
from google.rpc.status_pb2 import Status as StatusMessage  # type: ignore[import-untyped]  # no stubs
from hypothesis import given, strategies as st

from adiuva_rpc import errors
from adiuva_rpc.errors import Aborted, AdiuvaError, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from adiuva_rpc.status import (
    BASE_STATUS,
    DETAILS_KEY,
    ErrorTable,
    RpcFailure,
    RpcStatus,
    from_rpc_error,
    plain_status,
    to_status,
)


class RunConflict(Aborted):
    """Someone else advanced the run."""

    reason = "RUN_CONFLICT"


def sent(status: RpcStatus) -> RpcFailure:
    """What a client makes of a status."""
    trailing = grpc.aio.Metadata(*status.trailing_metadata())
    return from_rpc_error(
        grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, details=status.message, debug_error_string="")
    )


def test_every_error_of_the_kit_has_a_status() -> None:
    kit = {cls for cls in errors.leaf_classes() if cls.__module__.startswith("adiuva_rpc")}

    assert kit & BASE_STATUS.missing() == set()
    assert {cls.__name__ for cls in BASE_STATUS} <= set(vars(errors))


def test_a_leaf_without_a_status_is_found() -> None:
    class Stray(AdiuvaError):
        """Below no branch."""

        reason = "STRAY"

    assert Stray in BASE_STATUS.missing()
    assert BASE_STATUS.missing(RunConflict) == set()
    assert ErrorTable({Stray: grpc.StatusCode.DATA_LOSS}).missing(Stray) == set()


def test_the_same_error_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match="registered twice: NotFound"):
        _ = BASE_STATUS | ErrorTable({NotFound: grpc.StatusCode.INTERNAL})


def test_an_error_cannot_be_ok() -> None:
    with pytest.raises(ValueError, match="cannot be OK"):
        ErrorTable({NotFound: grpc.StatusCode.OK})


def test_an_entry_of_its_own_goes_before_that_of_an_ancestor() -> None:
    table = BASE_STATUS | ErrorTable({RunConflict: grpc.StatusCode.FAILED_PRECONDITION})

    assert table[RunConflict] is grpc.StatusCode.FAILED_PRECONDITION
    assert BASE_STATUS[RunConflict] is grpc.StatusCode.ABORTED
    assert len(table) == len(BASE_STATUS) + 1


def test_a_declared_error_arrives_with_code_reason_sentence_and_metadata() -> None:
    status = to_status(RunConflict("Read the run again.", metadata={"epoch": "7"}))

    assert sent(status) == RpcFailure(
        grpc.StatusCode.ABORTED, "RUN_CONFLICT", "Read the run again.", metadata={"epoch": "7"}
    )


def test_a_retry_delay_arrives() -> None:
    assert sent(to_status(ResourceExhausted("Full.", retry_after=2.5))).retry_after == 2.5
    assert sent(to_status(Unavailable("Gone.", retry_after=float(10**9)))).retry_after == 86_400
    assert sent(to_status(Unavailable("Gone.", retry_after=-1.0))).retry_after == 0
    assert sent(to_status(Unavailable("Gone."))).retry_after is None


def test_an_invalid_argument_carries_the_field_for_programs() -> None:
    message = StatusMessage.FromString(to_status(InvalidArgument("page_size", "at most 1000")).details)
    violations = BadRequest()

    assert message.details[1].Unpack(violations)
    assert [(each.field, each.description) for each in violations.field_violations] == [("page_size", "at most 1000")]


def test_an_unknown_error_says_nothing_but_a_reference() -> None:
    status = to_status(ValueError("password=hunter2 in /home/anna/secret.txt"))

    assert status.code is grpc.StatusCode.INTERNAL
    assert status.reference is not None
    assert status.message == f"internal error; ref {status.reference}"
    assert b"hunter2" not in status.details


def test_an_error_missing_from_the_table_is_an_unknown_one() -> None:
    assert to_status(NotFound("run"), ErrorTable({})).reference is not None


def test_the_declared_error_in_a_group_decides() -> None:
    group = BaseExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("inner", [NotFound("run"), RunConflict()])])

    assert sent(to_status(group)).reason == "NOT_FOUND"
    assert to_status(ExceptionGroup("tasks", [ValueError("x")])).reference is not None


def test_a_status_that_a_handler_chose_has_the_name_of_its_code_as_reason() -> None:
    assert sent(plain_status(grpc.StatusCode.NOT_FOUND, "")).reason == "NOT_FOUND"


@pytest.mark.parametrize(
    "details",
    [b"", b"\xff\xff", StatusMessage(details=[]).SerializeToString(), b"\x1a\x02\x0a\x00"],
    ids=["empty", "garbage", "without details", "with an empty detail"],
)
def test_details_that_mean_nothing_are_passed_over(details: bytes) -> None:
    failure = sent(RpcStatus(grpc.StatusCode.UNAVAILABLE, "connection refused", details))

    assert failure == RpcFailure(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "connection refused")


def test_the_reason_of_another_domain_is_not_taken_for_ours() -> None:
    message = StatusMessage()
    message.details.add().Pack(ErrorInfo(reason="API_KEY_INVALID", domain="googleapis.com"))

    failure = sent(RpcStatus(grpc.StatusCode.UNAUTHENTICATED, "", message.SerializeToString()))

    assert failure.reason == "UNAUTHENTICATED"


def test_an_error_of_the_transport_has_no_metadata_and_is_understood() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None, details=None)

    assert from_rpc_error(error) == RpcFailure(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "")


@given(message=st.text(max_size=2000), keys=st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=30))
def test_any_text_makes_a_status_that_fits_into_headers(message: str, keys: dict[str, str]) -> None:
    status = to_status(AdiuvaErrorOf(message, keys))

    headers = len(quote(status.message)) + len(b64encode(status.details)) + len(DETAILS_KEY)
    assert headers < 7 << 10
    assert len(sent(status).metadata) <= 8


def test_a_text_that_is_not_unicode_makes_no_second_error() -> None:
    assert sent(to_status(NotFound("file", "no file \udcff"))).reason == "NOT_FOUND"


class AdiuvaErrorOf(Aborted):
    """An error with any text."""

    reason = "ANY_TEXT"

    def __init__(self, message: str, metadata: dict[str, str]) -> None:
        super().__init__(message, metadata=metadata)
