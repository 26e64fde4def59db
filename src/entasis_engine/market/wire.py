"""From the market's values to the contract's messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.decimals import at_scale, plain
from entasis_engine.exchanges.feed import Candle, Instrument, Interval, Level, Trade
from entasis_engine.market.book import OrderBook, checksum
from entasis_engine.protobuf import timestamp


def price(instrument: Instrument, last: Trade, volume: Decimal) -> pb.GetPriceResponse:
    return pb.GetPriceResponse(
        symbol=instrument.symbol,
        price=at_scale(last.price, instrument.quote_scale),
        timestamp=timestamp(last.time),
        volume=plain(volume),
        exchange=instrument.exchange,
    )


def price_update(instrument: Instrument, trade: Trade, seq: int) -> pb.PriceUpdate:
    return pb.PriceUpdate(
        symbol=instrument.symbol,
        price=at_scale(trade.price, instrument.quote_scale),
        timestamp=timestamp(trade.time),
        volume=plain(trade.size),
        seq=seq,
    )


def order_book(instrument: Instrument, book: OrderBook, depth: int, seq: int) -> pb.GetOrderBookResponse:
    bids = _printed(instrument, book.bids(depth))
    asks = _printed(instrument, book.asks(depth))
    message = pb.GetOrderBookResponse(symbol=instrument.symbol, seq=seq, checksum=checksum(bids, asks))
    if book.time is not None:
        message.timestamp.CopyFrom(timestamp(book.time))
    for levels, target in ((bids, message.bids), (asks, message.asks)):
        for level in levels:
            values = target.add().values
            values.add().string_value = level[0]
            values.add().string_value = level[1]
    return message


def _printed(instrument: Instrument, levels: Sequence[Level]) -> list[tuple[str, str]]:
    return [(at_scale(price, instrument.quote_scale), plain(size)) for price, size in levels]


def candle(instrument: Instrument, candle: Candle) -> pb.Candle:
    scale = instrument.quote_scale
    return pb.Candle(
        timestamp=timestamp(candle.open_time),
        open=at_scale(candle.open, scale),
        high=at_scale(candle.high, scale),
        low=at_scale(candle.low, scale),
        close=at_scale(candle.close, scale),
        volume=plain(candle.volume),
    )


def candle_update(
    instrument: Instrument, interval: Interval, its_candle: Candle, *, closed: bool, seq: int
) -> pb.CandleUpdate:
    return pb.CandleUpdate(
        symbol=instrument.symbol,
        interval=interval.value,
        candle=candle(instrument, its_candle),
        closed=closed,
        seq=seq,
    )


def interruption(instrument: Instrument, *, restored: bool, last_heard: datetime | None) -> pb.FeedInterruption:
    message = pb.FeedInterruption(symbol=instrument.symbol, restored=restored, exchange=instrument.exchange)
    if last_heard is not None:
        message.last_heard_time.CopyFrom(timestamp(last_heard))
    return message


def instrument(listed: Instrument) -> pb.Instrument:
    return pb.Instrument(
        symbol=listed.symbol,
        base_currency=listed.base_currency,
        quote_currency=listed.quote_currency,
        tick_size=plain(listed.tick_size),
        lot_size=plain(listed.lot_size),
        quote_scale=listed.quote_scale,
        max_leverage=plain(listed.max_leverage),
        exchange=listed.exchange,
    )
