// What the program does, over any transport: Node.js and the browser differ in nothing but how they connect.

import { Code, ConnectError, createClient, type Client, type Interceptor, type Transport } from "@connectrpc/connect";
import { AnalysisService } from "entasis-api/analysis/v1";
import { MarketService, type PriceUpdate } from "entasis-api/market/v1";
import { PortfolioService } from "entasis-api/portfolio/v1";
import { ErrorInfoSchema } from "entasis-api/rpc";

const SYMBOL = "BTC-USDT";

/** The deadline of a call, in milliseconds. */
const DEADLINE = { timeoutMs: 10_000 };

/** Sends an API key with every call. */
export function withKey(key: string): Interceptor {
  return (next) => (request) => {
    request.header.set("x-api-key", key);
    return next(request);
  };
}

/** An error in words: its reason, such as `PORT_001`, and its message. */
export function explain(error: unknown): string {
  const failure = ConnectError.from(error);
  return `${reasonOf(failure) ?? Code[failure.code]} ${failure.rawMessage}`;
}

/** Why a call failed, as docs/errors.md lists it; undefined where the engine was not reached. */
export function reasonOf(error: unknown): string | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
}

/** Whether the connection was lost, or the engine is stopping, rather than that it refused the call. */
function wasLost(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  // What a socket that broke is told as depends on how; the engine's own errors have a reason.
  const broken = [Code.Unknown, Code.Internal, Code.Canceled].includes(code);
  return code === Code.Unavailable || (broken && reasonOf(error) === undefined);
}

/**
 * Every trade of a symbol from now on. When the connection is lost it connects again and goes on after the last trade
 * that came; a jump of `seq` by more than one says that more was missed than the engine still had.
 */
export async function* trades(
  market: Client<typeof MarketService>,
  symbol: string,
  signal: AbortSignal,
): AsyncGenerator<PriceUpdate> {
  const resumeAfter: { [symbol: string]: bigint } = {};
  for (let failures = 0; ; failures++) {
    const connection = new AbortController();
    const until = AbortSignal.any([signal, connection.signal]);
    try {
      for await (const batch of market.streamPrices({ symbols: [symbol], resumeAfter }, { signal: until })) {
        failures = 0;
        for (const update of batch.updates) {
          resumeAfter[update.symbol] = update.seq;
          yield update;
          signal.throwIfAborted();
        }
      }
    } catch (error) {
      if (signal.aborted || !wasLost(error)) throw error;
    } finally {
      connection.abort(); // ends the stream at the engine, too, when the reader stops
    }
    await new Promise((wake) => setTimeout(wake, Math.min(100 * 2 ** failures, 5_000)));
    signal.throwIfAborted();
  }
}

/** Trades a little, and tells each step in a line. */
export async function* trade(transport: Transport): AsyncGenerator<string> {
  const market = createClient(MarketService, transport);
  const portfolio = createClient(PortfolioService, transport);
  const analysis = createClient(AnalysisService, transport);

  const { price } = await market.getPrice({ symbol: SYMBOL }, DEADLINE);
  yield `price ${SYMBOL} ${price}`;

  const history = await market.getHistory({ symbol: SYMBOL, interval: "1h", pageSize: 5 }, DEADLINE);
  yield `history ${history.data.length} candles, last close ${history.data.at(-1)?.close}`;

  // The key makes it safe to send the same request again where no answer came.
  const once = { ...DEADLINE, headers: { "idempotency-key": crypto.randomUUID() } };
  const { positionId } = await portfolio.createPosition({ symbol: SYMBOL, size: "0.01", type: "long" }, once);
  const { position } = await portfolio.getPosition({ positionId }, DEADLINE);
  yield `opened ${positionId} at ${position?.entryPrice}`;

  const closed = await portfolio.closePosition(
    { positionId },
    { ...DEADLINE, headers: { "idempotency-key": crypto.randomUUID() } },
  );
  yield `closed ${positionId} pnl ${closed.realisedPnl}`;

  try {
    const forecast = await analysis.getPrediction({ symbol: SYMBOL, timeframe: "1h" }, DEADLINE);
    const { prediction, confidence, timeframe, model } = forecast;
    yield `prediction ${prediction} confidence ${confidence.toFixed(2)} timeframe ${timeframe} model ${model}`;
  } catch (error) {
    if (reasonOf(error) !== "AI_001") throw error; // the models are not trained yet
    yield "prediction unavailable AI_001";
  }

  // A stream has no deadline of its own: it ends when nobody wants more, or here after a minute without three trades.
  let count = 0;
  for await (const update of trades(market, SYMBOL, AbortSignal.timeout(60_000))) {
    yield `stream ${SYMBOL} ${update.seq} ${update.price}`;
    if (++count === 3) break;
  }

  try {
    await portfolio.createPosition({ symbol: SYMBOL, size: "10", type: "long" }, DEADLINE);
    throw new Error("a position beyond the balance was opened");
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    yield `error ${explain(error)}`;
  }
  yield "done";
}
