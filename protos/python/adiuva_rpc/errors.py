"""The errors we raise on purpose, as a tree by who must act.

    AdiuvaError
    ├─ CallerFault      the caller changes the request, then tries again
    │    InvalidArgument, OutOfRange, NotFound, AlreadyExists, FailedPrecondition, Unauthenticated,
    │    PermissionDenied, Unimplemented
    ├─ TryAgain         the same request may succeed later, or after reading again
    │    Aborted, ResourceExhausted, Unavailable, DeadlineExceeded
    └─ ServerFault      somebody must look at our log
         Internal

A service declares its own leaves beside its domain, each with its own `reason`:

    class RunConflict(Aborted):
        \"\"\"Someone else advanced the run. Read it again, then decide.\"\"\"

        reason = "RUN_CONFLICT"

`adiuva_rpc.status` gives each a status code; a leaf below one of the classes above needs no entry of its own.
The message of an error is a public sentence: it goes to the caller as it is. This module imports no grpc, so that
domain modules may use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

_REASON = re.compile(r"[A-Z][A-Z0-9_]{2,62}")


class AdiuvaError(Exception):
    """Root of the errors we raise on purpose.

    Attributes:
        reason: UPPER_SNAKE, fixed per class: what a program acts on.
        message: One sentence for the caller; never a secret, file text, message text or another library's text.
        metadata: Further facts for a program, e.g. {"kind": "run"}. Keys are lower_snake, values short.
        retry_after: Seconds after which to try again, if known.
    """

    reason: ClassVar[str] = "INTERNAL"
    retry_after: float | None = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse a reason that is not UPPER_SNAKE, when the class is made."""
        super().__init_subclass__(**kwargs)
        if not _REASON.fullmatch(cls.reason):
            msg = f"{cls.__qualname__}.reason must be UPPER_SNAKE, not {cls.reason!r}"
            raise TypeError(msg)

    def __init__(self, message: str = "", *, metadata: Mapping[str, str] | None = None) -> None:
        self.message = message or _first_sentence(type(self).__doc__)
        self.metadata = dict(metadata or {})
        super().__init__(self.message)


class CallerFault(AdiuvaError):
    """The caller must change something."""

    reason = "CALLER_FAULT"


class TryAgain(AdiuvaError):
    """The same request may succeed later."""

    reason = "TRY_AGAIN"


class ServerFault(AdiuvaError):
    """We must repair something."""

    reason = "SERVER_FAULT"


class InvalidArgument(CallerFault):
    """A field of the request is wrong, whatever the state of the system.

    Attributes:
        field: Path of the field, as in the proto: "schedule.cron". Empty when it is the whole message.
        description: What is wrong with it, without repeating a value that may be private.
    """

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, description: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{field}: {description}" if field else description, metadata=metadata)
        self.field = field
        self.description = description


class OutOfRange(CallerFault):
    """The request reads past the end of what there is."""

    reason = "OUT_OF_RANGE"


class NotFound(CallerFault):
    """There is no such thing, or it is not the caller's: the answer is the same."""

    reason = "NOT_FOUND"

    def __init__(self, kind: str, message: str = "", *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message or f"There is no such {kind}.", metadata={"kind": kind, **(metadata or {})})
        self.kind = kind


class AlreadyExists(CallerFault):
    """A thing with that name or id exists and is another one."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(CallerFault):
    """The thing is not in a state that allows this. Trying again does not help until the state changes."""

    reason = "FAILED_PRECONDITION"


class Unauthenticated(CallerFault):
    """The credential is missing or not accepted."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(CallerFault):
    """The caller is known and may not do this."""

    reason = "PERMISSION_DENIED"


class Unimplemented(CallerFault):
    """This server does not offer the method."""

    reason = "UNIMPLEMENTED"


class Aborted(TryAgain):
    """An etag or epoch is stale: somebody else was first. Read again, then decide."""

    reason = "ABORTED"


class ResourceExhausted(TryAgain):
    """A limit is reached. Nothing was done; try again after `retry_after` seconds."""

    reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self, message: str = "", *, retry_after: float | None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.retry_after = retry_after


class Unavailable(TryAgain):
    """A part that is needed cannot be reached now."""

    reason = "UNAVAILABLE"

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.retry_after = retry_after


class DeadlineExceeded(TryAgain):
    """The time given for the call is over. Whether it had an effect is not known."""

    reason = "DEADLINE_EXCEEDED"


class Internal(ServerFault):
    """Something is broken here; the log knows more."""

    reason = "INTERNAL"


def leaf_classes(root: type[AdiuvaError] = AdiuvaError) -> Iterator[type[AdiuvaError]]:
    """Yield the classes below `root` that have no subclass of their own, as far as they are imported."""
    children = root.__subclasses__()
    if not children:
        yield root
    for child in children:
        yield from leaf_classes(child)


def _first_sentence(docstring: str | None) -> str:
    """An error raised without a message says what its class means."""
    return " ".join((docstring or "").split("\n\n")[0].split())
