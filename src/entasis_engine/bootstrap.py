"""From settings to something that runs: parts are opened in order and closed in reverse, each by who opened it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from entasis_engine.access.operation import open_access
from entasis_engine.analysis.operation import open_analysis
from entasis_engine.exchanges.feed import Feed
from entasis_engine.exchanges.recorded import RecordedFeed
from entasis_engine.exchanges.simulated import SimulatedFeed
from entasis_engine.market.operation import open_market
from entasis_engine.market.service import MarketService
from entasis_engine.portfolio.operation import open_portfolio
from entasis_engine.rpc.guard import AccessGuard
from entasis_engine.rpc.pipeline import Pipeline
from entasis_engine.rpc.server import open_server
from entasis_engine.rpc.stages import default_stages
from entasis_engine.settings import Settings
from entasis_engine.storage.candles import CandleStore
from entasis_engine.storage.database import open_database
from entasis_engine.times import Clock, Monotonic, system_clock
from entasis_engine.tls import server_tls
from entasis_engine.web.service import WebService


@dataclass(frozen=True)
class Engine:
    """An engine that serves."""

    grpc_port: int
    """The TCP port; 0 where it serves the unix socket alone."""
    symbols: tuple[str, ...]
    end_streams: Callable[[], None]
    """Ends every open stream with UNAVAILABLE, and refuses new ones: the first step of a stop."""


@asynccontextmanager
async def open_engine(
    settings: Settings,
    *,
    unix_path: str | None = None,
    notice_seconds: float = 0.0,
    feed: Feed | None = None,
    clock: Clock = system_clock,
    monotonic: Monotonic = time.monotonic,
) -> AsyncIterator[Engine]:
    """Run the engine: feed, database, market and gRPC server.

    Args:
        unix_path: a socket to serve beside the TCP port.
        notice_seconds: how long to go on serving after having said NOT_SERVING at the end.
        feed: in place of the one that the settings name.
    """
    feed = feed or make_feed(settings, clock, monotonic)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(feed.close)
        instruments = await feed.instruments()
        database = await stack.enter_async_context(open_database(settings.resolved_database_url))
        market = await stack.enter_async_context(
            open_market(
                feed,
                CandleStore(database),
                instruments,
                clock=clock,
                monotonic=monotonic,
                stale_after_seconds=settings.stale_after_seconds,
                queue_max=settings.stream_queue_max,
                hourly_history=timedelta(days=settings.hourly_history_days),
            )
        )
        access = await stack.enter_async_context(open_access(settings, clock=clock, monotonic=monotonic))
        portfolio = await stack.enter_async_context(open_portfolio(settings, market.hub, clock=clock))
        analysis = await stack.enter_async_context(
            open_analysis(settings, market, portfolio.store, database, clock=clock, monotonic=monotonic)
        )
        edge_names = settings.tls_edge_names if settings.tls_client_ca is not None else ()
        pipeline = Pipeline(
            [
                MarketService(market.hub, market.keeper, market_now=feed.now),
                portfolio.service,
                analysis.service,
                access.service,
                WebService(),
            ],
            default_stages(monotonic, access.audit, log_everything=settings.access_log == "all"),
            AccessGuard(access.gate, edge_names=edge_names),
            deadline_seconds=settings.request_deadline_seconds,
            streams_max=settings.streams_per_caller_max,
        )
        access.watchers.append(pipeline.review_streams)
        server = await stack.enter_async_context(
            open_server(
                pipeline,
                host=settings.host,
                port=settings.grpc_port,
                unix_path=unix_path,
                tls=server_tls(settings),
                drain_seconds=settings.drain_seconds,
                notice_seconds=notice_seconds,
            )
        )
        yield Engine(server.port, tuple(one.symbol for one in instruments), pipeline.end_streams)


def make_feed(settings: Settings, clock: Clock, monotonic: Monotonic) -> Feed:
    """The feed that the settings name. Raises `FeedError` where it lacks what it needs."""
    match settings.feed:
        case "simulated":
            return SimulatedFeed(
                settings.symbols,
                seed=settings.simulated_seed,
                speed=settings.simulated_speed,
                origin=settings.simulated_origin,
                clock=clock,
            )
        case "recorded":
            return RecordedFeed(
                settings.recorded_frames,
                settings.recorded_candles,
                symbols=settings.symbols,
                speed=settings.recorded_speed,
                monotonic=monotonic,
            )
        case "live":
            from entasis_engine.exchanges.live import LiveFeed  # noqa: PLC0415 - ccxt is an extra, and slow to import

            return LiveFeed(settings.live_exchange, settings.symbols, clock=clock)
