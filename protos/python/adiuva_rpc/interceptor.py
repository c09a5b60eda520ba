"""What surrounds every handler: identity before any message, readable messages, errors as statuses, a request id.

All handlers, also unary ones, are served as streams of requests. So a call is refused before it has sent anything, and
one that never sends its message ends after `request_seconds` instead of holding a slot for ever: grpc.aio starts a
unary handler only when the message is there, and nothing times that.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import structlog
from structlog.contextvars import bind_contextvars

from adiuva_rpc.context import Context
from adiuva_rpc.errors import AdiuvaError, DeadlineExceeded, Internal, InvalidArgument, Unimplemented
from adiuva_rpc.identity import Gate, acting_as
from adiuva_rpc.request_ids import REQUEST_ID_HEADER, bind_request_id
from adiuva_rpc.status import ErrorTable, RpcStatus, decisive, leaves, plain_status, to_status

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
Spans = Callable[[str, Sequence[tuple[str, str | bytes]]], contextlib.AbstractContextManager[object]]
"""Called with the method and the metadata; the handler runs inside."""

_log = structlog.get_logger(__name__)


class MalformedMessage(InvalidArgument):
    """Bytes that are not the message that the method expects."""

    reason = "MALFORMED_MESSAGE"

    def __init__(self) -> None:
        super().__init__("", "The message cannot be read.")


class MessageMissing(InvalidArgument):
    """The caller ended its side without the one message of the request."""

    reason = "MESSAGE_MISSING"

    def __init__(self) -> None:
        super().__init__("", "The call ended without a request message.")


class MethodNotFound(Unimplemented):
    """This server has no such method."""

    reason = "METHOD_NOT_FOUND"


class ResponseTooLarge(Internal):
    """The response is larger than a message may be."""

    reason = "RESPONSE_TOO_LARGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds of one call.

    Attributes:
        request_seconds: Until the request message of a unary request has arrived.
        unary_seconds: Longest a call with one response may take, from its admission.
        max_message_bytes: Largest response message.
    """

    request_seconds: float = 10.0
    unary_seconds: float = 120.0
    max_message_bytes: int = 4 << 20


class Interceptor(grpc.aio.ServerInterceptor):
    """The one interceptor of a server.

    Args:
        gate: Says who may call what.
        table: The status codes of errors.
        limits: Bounds of one call.
        spans: For tracing; nothing by default.
        certificates: Whether peers present verified client certificates.
    """

    def __init__(
        self,
        gate: Gate,
        table: ErrorTable,
        *,
        limits: CallLimits | None = None,
        spans: Spans | None = None,
        certificates: bool = False,
    ) -> None:
        self._gate = gate
        self._table = table
        self._limits = limits or CallLimits()
        self._spans: Spans = spans or (lambda _method, _metadata: contextlib.nullcontext())
        self._certificates = certificates
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the handler of the method, surrounded; for an unknown method one that says so."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._unknown)
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = (handler, self._surround(method, handler))
            self._wrapped[method] = known
        return known[1]

    def _surround(self, method: str, handler: Handler) -> Handler:
        async def call(requests: AsyncIterator[Any], inner: Any) -> bytes | None:
            context = Context(inner)
            try:
                return await self._call(method, handler, requests, context)
            except (Exception, asyncio.CancelledError, BaseExceptionGroup) as error:  # noqa: BLE001 - all become statuses
                await self._end(method, context, error)
                return None

        deserializer = _guarded(handler.request_deserializer)
        if handler.response_streaming:
            serializer = _bounded(handler.response_serializer, self._limits.max_message_bytes)
            return grpc.stream_stream_rpc_method_handler(call, deserializer, serializer)
        return grpc.stream_unary_rpc_method_handler(call, deserializer)

    async def _call(
        self, method: str, handler: Handler, requests: AsyncIterator[Any], context: Context
    ) -> bytes | None:
        metadata = context.invocation_metadata()
        context.use_request_id(bind_request_id(dict(metadata).get(REQUEST_ID_HEADER)))
        async with _within(self._limits.request_seconds, "The request did not arrive in time."):
            uris = context.certificate_uris() if self._certificates else ()
            caller = await self._gate.admit(method, metadata, uris)
            request = requests if handler.request_streaming else await _only_message(context)
        bind_contextvars(caller=caller.name)
        with acting_as(caller), self._spans(method, metadata):
            if handler.response_streaming:
                # grpc.aio forgets that it sent the headers when the first write is cancelled, and then cannot send a
                # status either: the caller would hang. So they go first.
                await context.send_initial_metadata(())
                await _stream(handler, request, context)
                response = None
            else:
                async with _within(self._limits.unary_seconds, "The call took longer than the server allows."):
                    response = await _unary(handler, request, context, self._limits.max_message_bytes)
        await context.finish()
        return response

    async def _end(self, method: str, context: Context, error: BaseException) -> None:
        """End the call as `error` says; an ordinary return means that there is nobody left to tell."""
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            # The peer left or the server stops: swallowing this would leak the call. A CancelledError that comes out
            # of something the handler awaited is an error like others; grpc.aio would leave its caller without answer.
            raise error
        found = list(leaves(error))
        for leaf in found:
            if isinstance(leaf, grpc.aio.AbortError):
                raise leaf
        if all(_is_departure(leaf) for leaf in found):
            _log.debug("peer left", method=method)
            status = plain_status(grpc.StatusCode.UNAVAILABLE, "The peer left.")
        else:
            status = to_status(error, self._table)
            _report(method, status, error)
        # When the peer is gone the status cannot be sent; when a handler swallowed its own abort it was sent before.
        with contextlib.suppress(grpc.aio.InternalError, grpc.aio.UsageError):
            await context.end(status)

    async def _unknown(self, _requests: object, inner: Any) -> None:
        context = Context(inner)
        context.use_request_id(bind_request_id(dict(context.invocation_metadata()).get(REQUEST_ID_HEADER)))
        await self._end("unknown", context, MethodNotFound())


async def _only_message(context: Context) -> Any:
    message = await context.read()
    if message is grpc.aio.EOF:
        raise MessageMissing
    return message


async def _unary(handler: Handler, request: object, context: Context, max_bytes: int) -> bytes | None:
    behavior: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
    answer = behavior(request, context)
    if not inspect.isawaitable(answer):
        raise TypeError("a handler must be async")
    response = await answer
    await context.finish()
    # Serialised here, not by grpc.aio after the return, so that an error in it is seen and becomes a status.
    return _bounded(handler.response_serializer, max_bytes)(response)


async def _stream(handler: Handler, request: object, context: Context) -> None:
    behavior: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
    answer = behavior(request, context)
    if inspect.isawaitable(answer):
        await answer
    elif inspect.isasyncgen(answer):
        # Written here, not by grpc.aio, so that a generator whose peer left is closed in this task, at once.
        async with contextlib.aclosing(answer):
            async for message in answer:
                await context.write(message)
    else:
        raise TypeError("a handler must be async")


@contextlib.asynccontextmanager
async def _within(seconds: float, sentence: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except (TimeoutError, asyncio.CancelledError) as error:
        # CancelledError: a task group that failed before may have left this task marked as cancelled (Python < 3.13),
        # and then the timeout does not dare to answer for the cancellation it made.
        if not timeout.expired():
            raise
        raise DeadlineExceeded(sentence) from error


def _guarded(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def guarded(raw: bytes) -> Any:
        if deserialize is None:
            return raw
        try:
            return deserialize(raw)
        except Exception:  # noqa: BLE001 - whatever a parser raises, the bytes are at fault
            raise MalformedMessage from None

    return guarded


def _bounded(serialize: Callable[[Any], bytes] | None, max_bytes: int) -> Callable[[Any], bytes]:
    def bounded(message: Any) -> bytes:
        raw: bytes = message if serialize is None else serialize(message)
        if len(raw) > max_bytes:
            raise ResponseTooLarge
        return raw

    return bounded


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_departure(error: BaseException) -> bool:
    # grpc.aio has one error for a write to a peer that left and for two writes at a time; only the text differs.
    return isinstance(error, grpc.aio.InternalError) and "GRPC_CALL_ERROR" not in str(error)


def _report(method: str, status: RpcStatus, error: BaseException) -> None:
    if status.reference is not None:
        _log.error("call failed", method=method, ref=status.reference, exc_info=error)
        return
    reason = getattr(decisive(error), "reason", "")
    _log.info("call refused", method=method, status=status.code.name, reason=reason)
    if unknown := [leaf for leaf in leaves(error) if not isinstance(leaf, AdiuvaError)]:
        _log.error("errors beside it", method=method, exc_info=BaseExceptionGroup("beside", unknown))
