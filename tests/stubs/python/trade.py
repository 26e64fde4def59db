"""Price, history, a position opened and closed, a forecast, a stream and an error, one line each.

    ENTASIS_ADDRESS=127.0.0.1:8080 ENTASIS_KEY=ek_… python trade.py

ENTASIS_CA_FILE is needed where the address is not on this machine. Exit code 0, or 1 with the words of the error on
standard error.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from decimal import Decimal

from entasis_client import Entasis, EntasisError, PriceUpdate, RefusedError, decimal_text

SYMBOL = "BTC-USDT"
SIZE = Decimal("0.01")
UPDATES = 3


async def main() -> None:
    async with Entasis(
        os.environ["ENTASIS_ADDRESS"],
        api_key=os.environ["ENTASIS_KEY"],
        ca_file=os.environ.get("ENTASIS_CA_FILE"),
    ) as client:
        price = await client.price(SYMBOL)
        print("price", price.symbol, decimal_text(price.price))

        closes = [candle.close async for candle in client.history(SYMBOL, page_size=5)]
        print("history", len(closes), "candles, last close", decimal_text(closes[-1]))

        opened = await client.open_position(SYMBOL, SIZE, "long")
        position = await client.position(opened.position_id)
        print("opened", position.position_id, "at", decimal_text(position.entry_price))
        closed = await client.close_position(position.position_id)
        print("closed", closed.position_id, "pnl", decimal_text(closed.realised_pnl))

        try:
            forecast = await client.prediction(SYMBOL, "1h")
        except EntasisError as error:
            if not error.reason.startswith("AI_"):  # models that are not trained yet
                raise
            print("prediction unavailable", error.reason)
        else:
            print(
                f"prediction {decimal_text(forecast.prediction)} confidence {forecast.confidence:.2f} "
                f"timeframe {forecast.timeframe} model {forecast.model}"
            )

        left = UPDATES
        async with aclosing(client.stream_prices(SYMBOL)) as events:
            async for event in events:
                if isinstance(event, PriceUpdate):
                    print("stream", event.symbol, event.seq, decimal_text(event.price))
                    left -= 1
                if not left:
                    break

        try:
            await client.open_position(SYMBOL, 2 * await affordable(client, price.price), "long")
        except RefusedError as error:
            print("error", error)
        print("done")


async def affordable(client: Entasis, price: Decimal) -> Decimal:
    """What the whole free balance would buy at leverage 1, in lots."""
    instrument = next(one for one in await client.instruments() if one.symbol == SYMBOL)
    free = next(one.free_margin for one in await client.balance() if one.currency == instrument.quote_currency)
    return (free / price) // instrument.lot_size * instrument.lot_size


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except EntasisError as error:
        sys.exit(f"error {error}")
