"""Measure CPU time per call and per message, each beside a named peer in the same run.

    python -m scripts.bench              all of it, about four minutes
    python -m scripts.bench unary rest   some of it
    python -m scripts.bench --save       and write docs/benchmarks.md

CPU time of the servers' processes is what counts, not the clock: machines are shared. Only for the ledger, which waits
for the disk, it is the clock as well. Clients run in processes of their own and are not counted. `sockets` needs the
real recordings, in ENTASIS_TEST_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the engine does; before numpy is imported

from scripts.bench import access, analysis, calls, ledger, sockets

TARGET = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PARTS = ("unary", "access", "rest", "ledger", "analysis", "sockets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--save", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    wanted = arguments.parts or PARTS
    lines = [
        "# Benchmarks",
        "",
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {platform.machine()}, Python {platform.python_version()}, by "
        "`make bench BENCH_ARGS=--save`.",
        "CPU time of the servers' processes per item; both sides in the same run, in turns.",
        "",
    ]
    with Progress(console=Console(stderr=True)) as progress:
        if "unary" in wanted:
            task = progress.add_task("unary gRPC", total=calls.ROUNDS)
            lines += unary(asyncio.run(calls.unary(lambda: progress.advance(task))))
        if "access" in wanted:
            task = progress.add_task("access control", total=access.ROUNDS)
            lines += added(asyncio.run(access.measure(lambda: progress.advance(task))))
        if "rest" in wanted:
            task = progress.add_task("REST", total=calls.ROUNDS)
            lines += rest(asyncio.run(calls.rest(lambda: progress.advance(task))))
        if "ledger" in wanted:
            task = progress.add_task("ledger", total=ledger.ROUNDS)
            lines += ledger.lines(ledger.measure(lambda: progress.advance(task)))
        if "analysis" in wanted:
            task = progress.add_task("forecasts and risk", total=analysis.STEPS)
            lines += analysis.lines(asyncio.run(analysis.measure(lambda: progress.advance(task))))
        if "sockets" in wanted and not sockets.recordings():
            progress.console.print("sockets: skipped: no real data")
        elif "sockets" in wanted:
            task = progress.add_task(f"{sockets.CLIENTS} WebSocket clients", total=70)
            peer_task = progress.add_task("the same on FastAPI", total=sockets.PEER_MESSAGES)
            ours = sockets.ours(lambda: progress.advance(task))
            progress.update(task, completed=70)
            lines += delivery(ours, sockets.peer(lambda: progress.advance(peer_task)))
    text = "\n".join(lines)
    print(text)
    if arguments.save:
        TARGET.write_text(text)


def unary(figure: calls.Figure) -> list[str]:
    return [
        "## Unary gRPC",
        "",
        "| | µs of CPU per call |",
        "|---|---|",
        f"| `GetPrice` on the engine | {figure.ours:.0f} |",
        f"| bare grpc.aio echo | {figure.peer:.0f} |",
        f"| ratio | {figure.ratio:.2f} |",
        "",
    ]


def added(figure: access.Added) -> list[str]:
    return [
        "## What access control adds to `GetPrice` over gRPC",
        "",
        "Beside the same engine without access control, which is sent the same headers.",
        "",
        "| credential | µs of CPU per call, without access control | added by it |",
        "|---|---|---|",
        *(f"| {kind} | {figure.without[kind]:.0f} | {us:.1f} |" for kind, us in figure.added.items()),
        "",
    ]


def rest(figure: calls.Figure) -> list[str]:
    return [
        "## A price over REST",
        "",
        "| | µs of CPU per read |",
        "|---|---|",
        f"| Entasis: engine {figure.parts['entasis']:.0f} + Envoy {figure.parts['envoy']:.0f} | {figure.ours:.0f} |",
        f"| FastAPI on uvicorn, the same JSON | {figure.peer:.0f} |",
        f"| ratio | {figure.ratio:.2f} |",
        "",
    ]


def delivery(ours: sockets.Delivery, peer_us: float) -> list[str]:
    both = sum(ours.cpu_us.values())
    memory = "; ".join(f"{name} {_course(samples)}" for name, samples in ours.memory_mib.items())
    return [
        f"## {sockets.CLIENTS} WebSocket clients and one that stops reading",
        "",
        f"The recorded BTC-USDT trades of 2024-08-08/09 at {sockets.SPEED} times their speed: {ours.seconds:.0f} s.",
        "",
        "| | |",
        "|---|---|",
        f"| messages published | {ours.published} |",
        f"| messages delivered | {ours.delivered} ({ours.delivered / ours.seconds:.0f} a second) |",
        f"| fewest that one reading client got | {ours.fewest} |",
        f"| distinct last values of all reading clients | {ours.distinct_last} |",
        f"| … is the feed's last value | {'yes' if ours.last_is_the_feeds else 'NO'} |",
        f"| updates left out for slow clients | {ours.conflated} |",
        f"| resident memory, MiB, at the start, then at most in each third | {memory} |",
        f"| µs of CPU per delivered message: engine and bridge | {ours.cpu_us['entasis']:.2f} |",
        f"| … Envoy | {ours.cpu_us['envoy']:.2f} |",
        f"| … FastAPI on uvicorn, `send_text` to each client | {peer_us:.2f} |",
        f"| ratio, without Envoy | {ours.cpu_us['entasis'] / peer_us:.2f} |",
        f"| ratio, with Envoy | {both / peer_us:.2f} |",
        "",
        "What the one that stops reading is sent fits into the buffers of the kernel and of Envoy within this minute,",
        "so little or nothing has to be left out for it. That a client beyond its buffers gets the newest value of",
        "each stream, and slows nobody, is held by `tests/integration/websocket`.",
        "",
    ]


def _course(samples: list[float]) -> str:
    third = max(1, len(samples) // 3)
    parts = [samples[:third], samples[third : 2 * third], samples[2 * third :]]
    return ", ".join(f"{value:.0f}" for value in (samples[0], *(max(part) for part in parts)))


if __name__ == "__main__":
    main()
