"""How `entasis watch` looks: a function of what is known, of the time and of the terminal's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from entasis_engine.commands.watch_state import CandleSeen, Link, SymbolSeen, Watched, shown

RISES, FALLS, QUIET = "green", "red", "dim"
QUIET_SECONDS = 15.0
"""From this age on it is said how old the newest message is."""
DETAIL_WIDTH_MIN = 58
"""Columns that order book and candles of one symbol need side by side."""
DETAIL_HEIGHT_MIN = 6
OTHER_LINES = 3
"""The connection, the heads of the columns, and how to end it."""
SEQ_WIDTH_MIN = 70
SIZE_WIDTH_MIN = 56
"""Columns of a terminal from which on `seq`, and size and missed trades, have a place beside the price."""
BOOK_WIDTH = 34
BAR_WIDTH = 8
AXIS_WIDTH = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(state: Watched, url: str, now: datetime, width: int, height: int) -> RenderableType:
    """The whole picture, for a terminal of so many columns and lines."""
    notes = list(state.notes)[max(0, len(state.notes) - max(0, height - OTHER_LINES - 2)) :]
    room = max(1, height - OTHER_LINES - len(notes))
    listed = list(state.symbols.values())
    if len(listed) > room:
        listed = listed[: max(1, room - 1)]
    parts: list[RenderableType] = [_head(state, url, now, width), _prices(listed, now, width)]
    room -= len(listed)
    if unlisted := len(state.symbols) - len(listed):
        parts.append(Text(f"… and {unlisted:,} more", style=QUIET))
        room -= 1
    if (state.depth or state.interval) and room >= DETAIL_HEIGHT_MIN:
        shown_count = max(1, min(len(state.symbols), width // DETAIL_WIDTH_MIN))
        grid = Table.grid(expand=True)
        detailed = listed[:shown_count]
        for _ in detailed:
            grid.add_column(ratio=1)
        grid.add_row(*(_details(one, state, width // len(detailed), room) for one in detailed))
        parts.append(grid)
    for note in notes:
        parts.append(Text(f"{note.at:%H:%M:%S} {note.text}", style="dim", no_wrap=True, overflow="ellipsis"))
    parts.append(Text("Ctrl-C ends it.", style="dim"))
    return Group(*parts)


def _head(state: Watched, url: str, now: datetime, width: int) -> Text:
    link = link_text(state, now)
    style = {Link.CONNECTED: RISES, Link.CONNECTING: "yellow", Link.RECONNECTING: FALLS}[state.link]
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("● " if state.link is Link.CONNECTED else "○ ", style=style)
    head.append(link, style=style)
    head.append(f"   {url}   {now:%H:%M:%S} UTC   {state.updates:,} updates", style="dim")
    head.truncate(width, overflow="ellipsis")
    return head


def link_text(state: Watched, now: datetime) -> str:
    """The state of the connection in words."""
    if state.link is not Link.RECONNECTING or state.retry_at is None:
        return state.link.value
    seconds = (state.retry_at - now).total_seconds()
    when = f"in {seconds:.0f} s" if seconds >= 0.5 else "now"
    return f"reconnecting {when} ({state.reason})"


def _prices(listed: Sequence[SymbolSeen], now: datetime, width: int) -> Table:
    """A line for each symbol. Where there is little room, all else goes before a sign of a price does."""
    rows = [
        {
            "symbol": Text(one.symbol, style="bold"),
            "last": _last(one),
            "size": Text(one.size),
            "change": change_text(one, now),
            "seq": Text("" if one.seq is None else str(one.seq)),
            "missed": Text(str(one.missed), style=FALLS if one.missed else QUIET),
            "state": _condition(one, now),
        }
        for one in listed
    ]
    dropped = {"seq"} if width < SEQ_WIDTH_MIN else set()
    if width < SIZE_WIDTH_MIN:
        dropped |= {"size", "missed"}
    table = Table(box=None, pad_edge=False, expand=False, header_style="dim")
    names = [name for name in rows[0] if name not in dropped]
    for name in names:
        least = max(len(name), *(row[name].cell_len for row in rows)) if name in {"symbol", "last"} else None
        justify: JustifyMethod = "left" if name in {"symbol", "state"} else "right"
        # What may wrap is made narrower first, so that is the state; it has one line all the same.
        table.add_column(name, justify=justify, no_wrap=name != "state", min_width=least, overflow="ellipsis")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _last(one: SymbolSeen) -> Text:
    arrow, style = {1: ("▲", RISES), -1: ("▼", FALLS), 0: (" ", "")}[one.direction]
    return Text(f"{arrow} {one.price_text or '–'}", style=f"bold {style}".strip())


def change_text(one: SymbolSeen, now: datetime) -> Text:
    """The change in per cent, and since when."""
    change = one.change(now)
    if change is None:
        return Text("–", style=QUIET)
    share, since = change
    style = RISES if share > 0 else FALLS if share < 0 else ""
    return Text(f"{share * 100:+.2f} % {since}", style=style)


def _condition(one: SymbolSeen, now: datetime) -> Text:
    text, style = "live", RISES
    if one.interrupted:
        text, style = f"feed interrupted: {one.interrupted}", FALLS
    elif one.seen_at is None:
        text, style = "waiting for data", "yellow"
    elif (age := (now - one.seen_at).total_seconds()) >= QUIET_SECONDS:
        text, style = f"nothing for {age:.0f} s", "yellow"
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _details(one: SymbolSeen, state: Watched, width: int, height: int) -> Panel:
    columns = Table.grid(padding=(0, 2))
    row: list[RenderableType] = []
    inner = height - 2
    chart_width = width - 4
    if state.depth:
        columns.add_column(width=BOOK_WIDTH)
        row.append(book(one, state.depth, inner))
        chart_width -= BOOK_WIDTH + 2
    if state.interval and chart_width > AXIS_WIDTH + 4:
        columns.add_column()
        row.append(candles(list(one.candles), state.interval, chart_width, inner))
    columns.add_row(*row)
    return Panel(columns, title=one.symbol, title_align="left", border_style="dim", height=height)


def book(one: SymbolSeen, depth: int, height: int) -> RenderableType:
    """The order book: asks above, bids below, the best next to each other; bars show sizes."""
    if not one.bids and not one.asks:
        return Text("no order book yet", style=QUIET)
    levels = max(1, min(depth, (height - 1) // 2))
    asks, bids = one.asks[:levels], one.bids[:levels]
    largest = max((size for _, size, *_ in (*asks, *bids)), default=Decimal(1))
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", width=12, no_wrap=True)
    table.add_column(justify="right", width=11, no_wrap=True)
    table.add_column(width=BAR_WIDTH, no_wrap=True)
    for _, size, price_text, size_text in reversed(asks):
        table.add_row(Text(price_text, style=FALLS), size_text, Text(bar(size, largest), style=FALLS))
    spread = f"spread {asks[0][0] - bids[0][0]:f}" if asks and bids else ""
    table.add_row(Text(spread, style=QUIET), "", "")
    for _, size, price_text, size_text in bids:
        table.add_row(Text(price_text, style=RISES), size_text, Text(bar(size, largest), style=RISES))
    return table


def bar(size: Decimal, largest: Decimal, width: int = BAR_WIDTH) -> str:
    """A bar as long as a size's share of the largest, to an eighth of a sign."""
    eighths = int(size / largest * width * 8) if largest > 0 else 0
    whole, rest = divmod(min(eighths, width * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def candles(seen: Sequence[CandleSeen], interval: str, width: int, height: int) -> RenderableType:
    """The newest candles as a chart, a column each, with the newest one in figures beneath."""
    if not seen:
        return Text(f"no candles of {interval} yet", style=QUIET)
    drawn = seen[-(width - AXIS_WIDTH) :]
    lines = chart(drawn, max(3, height - 2))
    last = drawn[-1]
    style = RISES if last.close >= last.open else FALLS
    figures = Text(no_wrap=True, overflow="ellipsis")
    figures.append(f"{interval} {last.timestamp[11:16]} ", style=QUIET)
    figures.append(f"o {last.open:f} h {last.high:f} l {last.low:f} c {last.close:f} ", style=style)
    figures.append(f"v {last.volume}{'' if last.closed else ' …'}", style=QUIET)
    return Group(*lines, figures)


def chart(seen: Sequence[CandleSeen], height: int) -> list[Text]:
    """Candles as lines of text, highest price first: `█` between open and close, `│` between low and high."""
    high, low = max(one.high for one in seen), min(one.low for one in seen)
    step = (high - low) / height if high > low else Decimal(1)

    def row_of(price: Decimal) -> int:
        return min(height - 1, int((high - price) / step))

    columns = [(row_of(one.high), row_of(max(one.open, one.close)), one) for one in seen]
    lines = []
    for row in range(height):
        line = Text(no_wrap=True)
        for top, body, one in columns:
            bottom, end = row_of(one.low), row_of(min(one.open, one.close))
            sign = "█" if body <= row <= end else "│" if top <= row <= bottom else " "
            line.append(sign, style=RISES if one.close >= one.open else FALLS)
        label = high if row == 0 else low if row == height - 1 else None
        line.append(f" {label:f}" if label is not None else "", style=QUIET)
        lines.append(line)
    return lines


def line_of(message: Mapping[str, Any]) -> str:
    """An update in one line, for pipes and files."""
    return shown(_line_of(message))


def _line_of(message: Mapping[str, Any]) -> str:
    head = f"{message['timestamp']} {message['symbol']}"
    match message["channel"]:
        case "market":
            return f"{head} {message['price']} size {message['volume']} seq {message['seq']}"
        case "orderbook":
            bid, ask = (_best(message[side]) for side in ("bids", "asks"))
            return f"{head} bid {bid} ask {ask} seq {message['seq']}"
        case _:
            figures = " ".join(f"{name} {message[name]}" for name in ("open", "high", "low", "close", "volume"))
            state = "closed" if message["closed"] else "open"
            return f"{head} {message['interval']} {figures} {state}"


def _best(levels: Sequence[Sequence[str]]) -> str:
    return f"{levels[0][0]} x {levels[0][1]}" if levels else "none"
