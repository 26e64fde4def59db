"""HTTP/1.1, HTTP/2 and WebSocket by hand: libraries refuse to send much of what an attacker sends."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]

GET_PRICE = "/entasis.market.v1.MarketService/GetPrice"
WAIT_SECONDS_MAX = 20.0


class Answer(NamedTuple):
    """What came of a request."""

    status: str
    """An HTTP status, the number of a gRPC status, or what the connection came to in place of one."""
    reason: str = ""
    """The header `x-error-code`."""
    body: bytes = b""


class _Wire:
    """A connection that is opened when it is needed, and again after it was closed.

    Args:
        source: the address of this machine to call from.
    """

    def __init__(self, target: str, source: str | None = None) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._source = (source, 0) if source else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, local_addr=self._source)
            self._greet(self._streams[1])
        return self._streams

    def _greet(self, writer: asyncio.StreamWriter) -> None:
        """What is sent before anything else."""


class Http(_Wire):
    """A connection by HTTP/1.1, kept alive, that sends headers as they are given."""

    async def get(self, path: str, headers: Headers = ()) -> Answer:
        return await self.send("GET", path, headers)

    async def send(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
        reader, writer = await self._connected()
        lines = [f"{method} {path} HTTP/1.1".encode(), b"host: edge"]
        lines += [name.encode() + b": " + value for name, value in headers]
        if body:
            lines.append(b"content-length: %d" % len(body))
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            try:
                writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                await writer.drain()
                return await self._answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                return Answer("closed")

    async def open_websocket(self, headers: Headers = ()) -> Answer:
        """A handshake; where it is taken, what the first `subscribe` is answered."""
        upgrade: Headers = (
            ("connection", b"Upgrade"),
            ("upgrade", b"websocket"),
            ("sec-websocket-version", b"13"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        )
        answer = await self.get("/ws/market", upgrade + headers)
        if answer.status != "101":
            return answer
        reader, writer = await self._connected()
        message = b'{"action":"subscribe","channel":"market","symbol":"BTC-USDT"}'
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                writer.write(bytes([0x81, 0x80 | len(message)]) + bytes(4) + message)
                _, length = await reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                told = json.loads(await reader.readexactly(length))
        finally:
            self.close()
        reasons = [detail["reason"] for detail in told.get("details", ()) if "reason" in detail]
        return Answer("101", reasons[0] if reasons else "", json.dumps(told).encode())

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        status = head[0].split(" ")[1]
        body = b""
        if "content-length" in told:
            body = await reader.readexactly(int(told["content-length"]))
        if status != "101" and ("content-length" not in told or told.get("connection") == "close"):
            self.close()
        return Answer(status, told.get("x-error-code", ""), body)


class Http2(_Wire):
    """A connection by HTTP/2 for gRPC, that sends metadata as it is given; one call at a time."""

    _next = 1
    """The stream of the next call."""

    async def call(self, method: str | bytes, metadata: Headers, request: bytes) -> Answer:
        reader, writer = await self._connected()
        stream, self._next = self._next, self._next + 2
        headers: Headers = (
            (":method", b"POST"),
            (":scheme", b"http"),
            (":path", method if isinstance(method, bytes) else method.encode()),
            (":authority", b"engine"),
            ("te", b"trailers"),
            ("content-type", b"application/grpc"),
            *metadata,
        )
        block = b"".join(b"\x00" + _sized(name.encode()) + _sized(value) for name, value in headers)
        pieces = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            try:
                for number, piece in enumerate(pieces):
                    ends = 0x4 if number == len(pieces) - 1 else 0
                    writer.write(_frame(9 if number else 1, ends, stream, piece))
                writer.write(_frame(0, 0x1, stream, b"\x00" + len(request).to_bytes(4, "big") + request))
                await writer.drain()
                return await self._answer(reader, writer, stream)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                return Answer("closed")

    def _greet(self, writer: asyncio.StreamWriter) -> None:
        self._next = 1
        settings = b"\x00\x01" + bytes(4)  # no table of headers: each answer can be read by itself
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, settings))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: int) -> Answer:
        told: dict[bytes, bytes] = {}
        block, ended, ends_stream = b"", False, False
        while not ended:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            of = int.from_bytes(head[5:], "big")
            payload = await reader.readexactly(length)
            match kind:
                case 4 if not flags & 1:
                    writer.write(_frame(4, 1, 0, b""))
                case 6 if not flags & 1:
                    writer.write(_frame(6, 1, 0, payload))
                case 7:
                    self.close()
                    return Answer("GOAWAY")
                case 3 if of == stream:
                    return Answer("RST_STREAM")
                case 1 | 9 if of == stream:
                    block += payload
                    ends_stream = ends_stream or (kind == 1 and bool(flags & 1))
                    if flags & 4:
                        told |= _headers_in(block)
                        block, ended = b"", ends_stream
        return Answer(told.get(b"grpc-status", b"?").decode(), told.get(b"x-error-code", b"").decode())


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _sized(data: bytes) -> bytes:
    """A string of HPACK (RFC 7541), without Huffman's code."""
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes([rest % 128 + 128])
        rest //= 128
    return size + bytes([rest]) + data


def _headers_in(block: bytes) -> dict[bytes, bytes]:
    """Headers that are told by name, as gRPC tells all that counts here; what is coded is left out."""
    found: dict[bytes, bytes] = {}
    at = 0

    def number(bits: int) -> int:
        nonlocal at
        limit = (1 << bits) - 1
        value = block[at] & limit
        at += 1
        shift = 0
        while value >= limit:
            value += (block[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if block[at - 1] < 128:
                break
        return value

    def text() -> bytes:
        nonlocal at
        coded = bool(block[at] & 128)
        length = number(7)
        at += length
        return b"" if coded else block[at - length : at]

    while at < len(block):
        first = block[at]
        if first & 0x80:
            number(7)
        elif first & 0xE0 == 0x20:
            number(5)
        else:
            named = number(6 if first & 0x40 else 4)
            name = text() if not named else b""
            found[name] = text()
    return found
