"""The context that handlers get: grpc.aio's own, whose statuses always carry our details and the request id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import grpc

from adiuva_rpc.request_ids import REQUEST_ID_HEADER
from adiuva_rpc.status import DETAILS_KEY, RpcStatus, plain_status

Metadata = Sequence[tuple[str, str | bytes]]


class Context:
    """Passes everything on to grpc.aio's context and completes what ends the call.

    `abort` and `set_code` keep working for handlers that use them, such as the health service; ours raise errors.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.request_id = ""
        # Streams call these for every frame: no detour through __getattr__.
        self.read = inner.read
        self.write = inner.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def certificate_uris(self) -> list[str]:
        """Return the URI names of the peer's verified certificate that are SPIFFE ids."""
        identity = self._inner.auth_context()
        return [value.decode("utf-8", "replace") for value in identity.get("peer_spiffe_id", ())]

    def use_request_id(self, request_id: str) -> None:
        """Answer with this request id, whatever the handler puts into the trailing metadata."""
        self.request_id = request_id
        self._inner.set_trailing_metadata(self._with_request_id(()))

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Set what the handler wants to send at the end, beside the request id."""
        self._inner.set_trailing_metadata(self._with_request_id(trailing_metadata))

    async def end(self, status: RpcStatus) -> NoReturn:
        """End the call with a status.

        Raises:
            grpc.aio.AbortError: Always, as `abort` does.
        """
        await self.abort(status.code, status.message, status.trailing_metadata())

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with a status that the handler chose itself; ErrorInfo is added if it has none."""
        trailing = tuple(trailing_metadata) or tuple(self._inner.trailing_metadata() or ())
        if not any(key == DETAILS_KEY for key, _ in trailing):
            trailing += plain_status(code, details).trailing_metadata()
        await self._inner.abort(code, details, self._with_request_id(trailing))
        raise AssertionError("abort always raises")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a `grpc.Status`."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    async def finish(self) -> None:
        """After the handler returned: complete a status that it set with `set_code`."""
        code = self._inner.code()
        if isinstance(code, grpc.StatusCode) and code is not grpc.StatusCode.OK:
            await self.abort(code, self._inner.details() or "")

    def _with_request_id(self, metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
        others = tuple((key, value) for key, value in metadata if key != REQUEST_ID_HEADER)
        return (*others, (REQUEST_ID_HEADER, self.request_id)) if self.request_id else others
