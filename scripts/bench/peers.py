"""What we measure beside: the least that a program on the same stack, or on the usual one, does for the same answer.

python -m scripts.bench.peers echo       a bare grpc.aio unary echo
python -m scripts.bench.peers fastapi    FastAPI on uvicorn: the price as JSON, and trades to WebSocket clients
"""

from __future__ import annotations

import socket
import sys

import grpc
import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

SUPPLY_PATH = "/supply"


async def echo() -> None:
    async def answer(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("bench.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(answer)})
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def fastapi() -> None:
    app = FastAPI()
    price = {
        "symbol": "BTC-USDT",
        "price": "65432.10",
        "timestamp": "2024-03-21T09:30:00Z",
        "volume": "123.45",
        "exchange": "binance",
    }
    clients: set[WebSocket] = set()

    @app.get("/api/v1/market/price/{symbol}")
    async def get_price(symbol: str) -> dict[str, str]:
        return price | {"symbol": symbol}

    @app.websocket("/ws/market")
    async def market(client: WebSocket) -> None:
        """The usual way: a set of clients, and `send_text` to each of them."""
        await client.accept()
        clients.add(client)
        try:
            while True:
                await client.receive_text()
        except WebSocketDisconnect:
            clients.discard(client)

    @app.websocket(SUPPLY_PATH)
    async def supply(source: WebSocket) -> None:
        """Whatever the source sends goes to every client."""
        await source.accept()
        try:
            while True:
                message = await source.receive_text()
                for client in list(clients):
                    await client.send_text(message)
        except WebSocketDisconnect:
            return

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"ready on 127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, loop="uvloop", http="httptools", ws="websockets"
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:] == ["echo"]:
        uvloop.run(echo())
    elif sys.argv[1:] == ["fastapi"]:
        fastapi()
    else:
        raise SystemExit(__doc__)
