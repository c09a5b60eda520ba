"""A client that speaks just enough HTTP/2 to send what no gRPC library would."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Sequence

import anyio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
MAX_FRAME_BYTES = 16_384
WINDOW_BYTES = 65_535
"""What a server takes before it says more; `data` must be smaller."""
END_STREAM, END_HEADERS, ACK = 1, 4, 1

Headers = Sequence[tuple[bytes, bytes]]


def message(payload: bytes, *, flag: int = 0, claimed: int | None = None) -> bytes:
    """Return a gRPC message; `claimed` is the length in its header, if not the true one."""
    return struct.pack(">BI", flag, len(payload) if claimed is None else claimed) + payload


async def raw_call(port: int, path: bytes, headers: Headers, data: bytes, *, end_stream: bool = True) -> int | str:
    """Make one call on a new connection; return its grpc-status, or "reset" or "closed"."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        own = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
        own += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *headers]
        block = b"".join(_literal(name, value) for name, value in own)
        writer.write(PREFACE + _frame(SETTINGS, 0, 0, b"") + _frame(HEADERS, END_HEADERS, 1, block))
        writer.write(b"".join(_data_frames(data, end_stream=end_stream)))
        with anyio.fail_after(10):
            return await _outcome(reader, writer)
    finally:
        writer.close()


async def _outcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | str:
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return "closed"
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9])
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0, b""))
        if stream == 1 and kind == RST_STREAM:
            return "reset"
        if stream == 1 and kind == HEADERS and (status := _grpc_status(payload)) is not None:
            return status


def _grpc_status(block: bytes) -> int | None:
    # The first time on a connection, the server can only spell the name out; so no HPACK table is needed.
    _, found, rest = block.partition(b"grpc-status")
    return int(rest[1 : 1 + rest[0]]) if found else None


def _data_frames(data: bytes, *, end_stream: bool) -> Iterator[bytes]:
    for start in range(0, len(data), MAX_FRAME_BYTES):
        last = start + MAX_FRAME_BYTES >= len(data)
        flags = END_STREAM if end_stream and last else 0
        yield _frame(DATA, flags, 1, data[start : start + MAX_FRAME_BYTES])


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(number: int) -> bytes:
    if number < 127:
        return bytes([number])
    encoded, rest = bytearray([127]), number - 127
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes(encoded) + bytes([rest])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
