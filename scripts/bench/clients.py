"""Many WebSocket clients in one process, as light as they can be: they count frames and remember the last one.

    python -m scripts.bench.clients HOST:PORT CLIENTS STALLED [SUBSCRIBE]

STALLED of the clients stop reading after they have subscribed. The process prints `ready` when all have connected and
got a first message (or no SUBSCRIBE was given), then answers each line on its standard input: `report` with one line of
JSON, `end` by ending.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import cast

import uvloop


class Client(asyncio.Protocol):
    """One client. Frames from a server are not masked, so a length is all that has to be read of them."""

    def __init__(self, path: str, subscribe: bytes, *, stalls: bool) -> None:
        self.messages = 0
        self.last = b""
        self.first = asyncio.get_running_loop().create_future()
        self._path = path
        self._subscribe = subscribe
        self._stalls = stalls
        self._shaken = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._shaken:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.first.set_exception(ConnectionError(f"refused: {head!r}"))
                self.transport.abort()
                return
            self._shaken = True
            if self._subscribe:
                self.transport.write(masked(self._subscribe))
            elif not self.first.done():
                self.first.set_result(None)
        self._rest = self._read_frames(data)

    def _read_frames(self, data: bytes) -> bytes:
        position, size = 0, len(data)
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length == 126:
                if size - position < 4:
                    break
                length, start = int.from_bytes(data[position + 2 : position + 4], "big"), position + 4
            if size - start < length:
                break
            position = start + length
            opcode = data[start - (2 if length < 126 else 4)] & 0x0F
            if opcode == 1:
                self.messages += 1
                self.last = data[start:position]
                if not self.first.done():
                    self.first.set_result(None)
                    if self._stalls:
                        self.transport.pause_reading()
            elif opcode == 9:
                self.transport.write(masked(data[start:position], opcode=10))
        return data[position:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.first.done():
            self.first.set_exception(error or ConnectionError("closed before the first message"))


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame of at most 64 KiB; the mask is all zeros, which masks nothing and is allowed."""
    head = bytes([0x80 | opcode])
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload
    return head + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


async def main(address: str, count: int, stalled: int, subscribe: str) -> None:
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for start in range(0, count, 50):  # a few at a time: a backlog is not what is measured
        some = [
            Client("/ws/market", subscribe.encode(), stalls=number < stalled)
            for number in range(start, min(start + 50, count))
        ]
        await asyncio.gather(*(loop.create_connection(lambda one=one: one, host, int(port)) for one in some))
        await asyncio.wait_for(asyncio.gather(*(one.first for one in some)), 60)
        clients += some
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while (await commands.readline()).strip() == b"report":
        reading = clients[stalled:]
        report = {
            "messages": sum(one.messages for one in reading),
            "fewest": min(one.messages for one in reading),
            "last": sorted({one.last.decode() for one in reading}),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else ""))
