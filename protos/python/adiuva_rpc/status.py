"""Errors on the wire: which status code an error has, and what a status from a peer means.

Every error leaves with a `google.rpc.ErrorInfo(reason, domain="adiuva", metadata)` in `grpc-status-details-bin`;
InvalidArgument adds BadRequest, a known retry delay adds RetryInfo. An error that nobody declared leaves as INTERNAL
with a reference; its own text goes to the log only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]  # no stubs
from google.rpc.status_pb2 import Status as StatusMessage  # type: ignore[import-untyped]  # no stubs

from adiuva_rpc import errors
from adiuva_rpc.errors import AdiuvaError, InvalidArgument, leaf_classes

DOMAIN = "adiuva"
DETAILS_KEY = "grpc-status-details-bin"
MAX_MESSAGE_BYTES = 512
"""Longer texts are cut: a status travels in HTTP/2 headers, which peers bound to 8 KiB, twice and encoded."""
MAX_METADATA_ENTRIES = 8
MAX_METADATA_BYTES = 128
MAX_RETRY_SECONDS = 86_400.0


class ErrorTable(Mapping[type[AdiuvaError], grpc.StatusCode]):
    """Which status code an error class has. Frozen; tables are joined with `|`, which refuses duplicates.

    A class without an entry of its own has the code of its nearest ancestor with one:

        STATUS = BASE_STATUS | ErrorTable({DeviceOffline: grpc.StatusCode.UNAVAILABLE})
    """

    def __init__(self, codes: Mapping[type[AdiuvaError], grpc.StatusCode]) -> None:
        if wrong := [cls.__name__ for cls, code in codes.items() if code is grpc.StatusCode.OK]:
            msg = f"an error cannot be OK: {', '.join(wrong)}"
            raise ValueError(msg)
        self._codes = MappingProxyType(dict(codes))

    def __getitem__(self, cls: type[AdiuvaError]) -> grpc.StatusCode:
        """Return the code of `cls` or of its nearest ancestor in the table."""
        for ancestor in cls.__mro__:
            if ancestor in self._codes:
                return self._codes[ancestor]
        raise KeyError(cls)

    def __iter__(self) -> Iterator[type[AdiuvaError]]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __or__(self, other: ErrorTable) -> ErrorTable:
        """Join two tables.

        Raises:
            ValueError: A class is in both.
        """
        if both := self._codes.keys() & other._codes.keys():
            msg = f"registered twice: {', '.join(sorted(cls.__name__ for cls in both))}"
            raise ValueError(msg)
        return ErrorTable({**self._codes, **other._codes})

    def missing(self, root: type[AdiuvaError] = AdiuvaError) -> set[type[AdiuvaError]]:
        """Return the leaf classes below `root` that no entry covers. A test says that this is empty."""
        return {cls for cls in leaf_classes(root) if not any(ancestor in self._codes for ancestor in cls.__mro__)}


BASE_STATUS = ErrorTable(
    {
        errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
        errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
        errors.Aborted: grpc.StatusCode.ABORTED,
        errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
        errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.Internal: grpc.StatusCode.INTERNAL,
    }
)
"""The codes of `adiuva_rpc.errors`; a service joins its own table to it."""


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """A status as it goes to the caller.

    Attributes:
        code: Never OK.
        message: The public sentence.
        details: A serialised google.rpc.Status for `grpc-status-details-bin`.
        reference: What joins an unknown error to its line in the log; None for an error that was raised on purpose.
    """

    code: grpc.StatusCode
    message: str
    details: bytes
    reference: str | None = None

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Return the trailing metadata that carries the details."""
        return ((DETAILS_KEY, self.details),)


def to_status(error: BaseException, table: ErrorTable = BASE_STATUS) -> RpcStatus:
    """Return the status of an error that ended a handler. Total, without I/O; the caller logs unknown errors.

    An exception group is looked into: the first declared error in it decides, an unknown one only when there is none.
    """
    chosen = decisive(error)
    code = table.get(type(chosen)) if isinstance(chosen, AdiuvaError) else None
    if not isinstance(chosen, AdiuvaError) or code is None:
        reference = secrets.token_hex(6)
        message = f"internal error; ref {reference}"
        info = ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"reference": reference})
        return RpcStatus(grpc.StatusCode.INTERNAL, message, _packed(grpc.StatusCode.INTERNAL, message, info), reference)
    message = _cut(chosen.message, MAX_MESSAGE_BYTES)
    details: list[Message] = [ErrorInfo(reason=chosen.reason, domain=DOMAIN, metadata=_bounded(chosen.metadata))]
    if isinstance(chosen, InvalidArgument):
        violation = BadRequest.FieldViolation(
            field=_cut(chosen.field, MAX_METADATA_BYTES), description=_cut(chosen.description, MAX_MESSAGE_BYTES)
        )
        details.append(BadRequest(field_violations=[violation]))
    if chosen.retry_after is not None:
        details.append(_retry_info(chosen.retry_after))
    return RpcStatus(code, message, _packed(code, message, *details))


def plain_status(code: grpc.StatusCode, message: str) -> RpcStatus:
    """Return the status of a handler that chose its code itself: the code's name is the reason."""
    text = _cut(message, MAX_MESSAGE_BYTES)
    return RpcStatus(code, text, _packed(code, text, ErrorInfo(reason=code.name, domain=DOMAIN)))


def decisive(error: BaseException) -> BaseException:
    """Return the error in `error` that says what happened: the first declared one, else the first of all."""
    found = list(leaves(error))
    return next((leaf for leaf in found if isinstance(leaf, AdiuvaError)), found[0])


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors inside a (nested) exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """What a failed call says to its caller.

    Attributes:
        code: The status code.
        reason: The peer's reason (`AdiuvaError.reason`); the code's name when the status is not one of ours, e.g. when
            the peer could not be reached at all.
        message: The peer's sentence; may be shown to the user when the peer is one of ours.
        retry_after: Seconds, from RetryInfo.
        metadata: From ErrorInfo.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def from_rpc_error(error: grpc.aio.AioRpcError) -> RpcFailure:
    """Return what a failed call means. Total: details that are absent, foreign or broken are passed over."""
    failure = RpcFailure(error.code(), error.code().name, error.details() or "")
    for detail in _details(error):
        if isinstance(detail, ErrorInfo) and detail.domain == DOMAIN:
            failure = replace(failure, reason=detail.reason or failure.reason, metadata=dict(detail.metadata))
        elif isinstance(detail, RetryInfo):
            delay = detail.retry_delay
            failure = replace(failure, retry_after=max(0.0, delay.seconds + delay.nanos / 1e9))
    return failure


def _details(error: grpc.aio.AioRpcError) -> Iterator[Message]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                yield from _unpacked(StatusMessage.FromString(value))
            except DecodeError:
                return


def _unpacked(status: StatusMessage) -> Iterator[Message]:
    for packed in status.details:
        for message in (ErrorInfo(), RetryInfo()):
            if packed.Unpack(message):
                yield message


def _packed(code: grpc.StatusCode, message: str, *details: Message) -> bytes:
    status = StatusMessage(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return bytes(status.SerializeToString())


def _retry_info(seconds: float) -> RetryInfo:
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(round(min(max(seconds, 0.0), MAX_RETRY_SECONDS) * 1000))
    return info


def _bounded(metadata: Mapping[str, str]) -> dict[str, str]:
    entries = list(metadata.items())[:MAX_METADATA_ENTRIES]
    return {_cut(str(key), MAX_METADATA_BYTES): _cut(str(value), MAX_METADATA_BYTES) for key, value in entries}


def _cut(text: str, limit: int) -> str:
    # Lone surrogates cannot be put into a proto string: an error's text must never make a second error.
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"
