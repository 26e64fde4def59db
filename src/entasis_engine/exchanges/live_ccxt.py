"""ccxt made exact: numbers stay as the wire wrote them, and every lost connection is told.

ccxt turns JSON numbers, and order books even where the wire quotes them, into binary floats. A class made at run
time, below the exchange's own, decodes JSON with numbers as text and lets ccxt parse that text into `Decimal`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import msgspec

from entasis_engine.exchanges.feed import FeedError
from entasis_engine.exchanges.live_rules import exact_decimal

KEEPALIVE_MILLISECONDS = 10_000
"""Between pings. ccxt gives a connection up after two without an answer; its default for Binance would be 6 minutes."""

TRADES_BUFFERED_MAX = 20_000
"""Trades of one symbol that ccxt keeps between two reads. More than a socket's buffer holds, so that none falls out."""

BOOK_MESSAGES_BUFFERED_MAX = 1000
"""Diffs of one symbol kept between two reads."""

_json = msgspec.json.Decoder(float_hook=str)


def make_exchange(exchange_id: str, *, base_urls: Mapping[str, str], timeout_seconds: float) -> Any:
    """An instance of ccxt's exchange, made exact. `base_urls` maps the beginning of an address to another.

    Raises `FeedError` where ccxt is not installed, or knows no such exchange with streams.
    """
    try:
        pro = importlib.import_module("ccxt.pro")
    except ImportError as error:
        raise FeedError("the live feed needs ccxt: run `make setup-extras`") from error
    if exchange_id not in pro.exchanges:
        raise FeedError(f"ccxt has no exchange {exchange_id!r} with streams")
    binance = exchange_id == "binance"
    layers = (_BinanceDiffs, _Exact) if binance else (_Exact,)
    # The name stays, since ccxt derives things from it.
    exact = type(exchange_id, (*layers, getattr(pro, exchange_id)), {})
    exchange = exact(
        {
            "timeout": int(timeout_seconds * 1000),
            "options": {"tradesLimit": TRADES_BUFFERED_MAX, **(_BINANCE_OPTIONS if binance else {})},
        }
    )
    exchange.streaming = {**exchange.streaming, "keepAlive": KEEPALIVE_MILLISECONDS}
    exchange.urls = _replace(exchange.urls, base_urls)
    return exchange


_BINANCE_OPTIONS: dict[str, Any] = {
    "defaultType": "spot",
    "fetchMarkets": {"types": ["spot"]},
    # One connection for all: its loss then concerns all, and trades and diffs keep their order.
    "streamLimits": {"spot": 1},
    "subscriptionLimitByStream": {"spot": 1024},
}


def _replace(value: Any, base_urls: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(inner, base_urls) for key, inner in value.items()}
    if isinstance(value, str):
        for beginning, other in base_urls.items():
            if value.startswith(beginning):
                return other + value.removeprefix(beginning)
    return value


def decode_json(text: str | bytes) -> Any:
    """JSON with fractional numbers as the text they were. Raises `ValueError`, which is what ccxt expects."""
    try:
        return _json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


class _Exact:
    """Lies over an exchange's class. Method names are ccxt's own."""

    clients: dict[str, Any]
    number = Decimal
    on_json_response = staticmethod(decode_json)

    connections_lost = 0
    """Grows with every connection that ends. ccxt reconnects in silence when it ends between two reads."""

    @staticmethod
    def safe_float(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        try:
            return exact_decimal(dictionary[key])
        except (FeedError, LookupError, TypeError):
            return default_value

    @staticmethod
    def safe_string(dictionary: Any, key: Any, default_value: Any = None) -> Any:
        try:
            value = dictionary[key]
        except (LookupError, TypeError):
            return default_value
        # ccxt's own would take a Decimal for nothing.
        return str(value) if type(value) in {str, int, float, Decimal} and value != "" else default_value

    def client(self, url: str) -> Any:
        client = cast(Any, super()).client(url)
        if "handle_text_or_binary_message" not in vars(client):
            client.handle_text_or_binary_message = functools.partial(_handle_message, client)
            client.future = functools.partial(_future, client)
        return client

    def on_error(self, client: Any, error: Any) -> None:
        self.connections_lost += 1
        cast(Any, super()).on_error(client, error)

    def on_close(self, client: Any, code: Any) -> None:
        self.connections_lost += 1
        cast(Any, super()).on_close(client, code)

    def drop_connections(self) -> None:
        """End connections that are open but mute; whoever reads from them is told."""
        for client in list(self.clients.values()):
            client.on_error(TimeoutError("the connection was silent for too long"))

    def ws_dial_delay(self, url: str) -> float:
        """No waiting here: the feed backs off by itself, with jitter."""
        return 0.0


def _handle_message(client: Any, data: str | bytes) -> None:
    if client.decompressBinary and isinstance(data, bytes):
        data = data.decode()
    try:
        is_json = isinstance(data, str) and data.lstrip()[:1] in {"{", "["}
        client.on_message_callback(client, decode_json(data) if is_json else data)
    except Exception as error:
        # ccxt's reading loop would end here without a word, and the connection stay open and mute.
        client.on_error(error)


def _future(client: Any, message_hash: str) -> Any:
    """What comes next under `message_hash`. Raises what failed there since the last read, while nobody waited.

    ccxt's own would subscribe anew first, and give the failure to every caller until something comes: a new book would
    then come while nobody waits, and stay unseen until a diff follows it.
    """
    if message_hash in client.rejections:
        raise client.rejections.pop(message_hash)
    return type(client).future(client, message_hash)


class _BinanceDiffs:
    """Leaves Binance's diffs as they came, in the `cache` of ccxt's order book, instead of applying them.

    ccxt keeps 1000 levels a side, so that its book has holes at the far end once levels fell off and the price came
    back, and it skips gaps among the diffs that it buffered.
    """

    orderbooks: dict[str, Any]
    order_book: Callable[[], Any]
    safe_symbol: Callable[..., str]

    def handle_order_book_subscription(self, client: Any, message: Any, subscription: Mapping[str, Any]) -> None:
        """No snapshot is fetched here."""

    def handle_order_book(self, client: Any, message: Mapping[str, Any]) -> None:
        symbol = self.safe_symbol(message.get("s"), None, None, "spot")
        book = self.orderbooks.get(symbol)
        if book is None:
            book = self.orderbooks[symbol] = self.order_book()
        if len(book.cache) >= BOOK_MESSAGES_BUFFERED_MAX:
            # Nobody reads. What is dropped shows as a gap later.
            book.cache.clear()
        book.cache.append(message)
        client.resolve(book, f"orderbook::{symbol}")
