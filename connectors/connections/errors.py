"""What else can go wrong with authorizations and watches, beside `connectors.errors`."""

from __future__ import annotations

from adiuva_rpc.errors import AlreadyExists, NotFound, ResourceExhausted, Unavailable


class ConnectionUnknown(NotFound):
    """The user has no such connection."""

    reason = "CONNECTION_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("connection", "The user has no such connection. Correct connection_id, or link the account.")


class RequestIdReused(AlreadyExists):
    """The request_id was used for another request. Use a new one for each new request."""

    reason = "REQUEST_ID_REUSED"


class TooManyFlows(ResourceExhausted):
    """The user has too many authorizations under way. Complete one, or wait until the oldest expires."""

    reason = "TOO_MANY_FLOWS"


class PolledTooEarly(ResourceExhausted):
    """The provider was asked a moment ago. Ask again after the delay."""

    reason = "POLLED_TOO_EARLY"


class SlowWatcher(Unavailable):
    """The watcher was too slow to keep up. Watch again: the new snapshot is the repair."""

    reason = "SLOW_WATCHER"


class WatchInterrupted(Unavailable):
    """The service lost sight of changes for a moment. Watch again: the new snapshot is the repair."""

    reason = "WATCH_INTERRUPTED"


class ConnectorsStopping(Unavailable):
    """The service stops. Call again; another replica answers, or this one when it is back."""

    reason = "CONNECTORS_STOPPING"
