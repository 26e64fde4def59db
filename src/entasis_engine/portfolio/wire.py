"""From the portfolio's values to the contract's messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis_engine.decimals import add, at_scale, plain
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.market.instruments import Instruments
from entasis_engine.portfolio.ledger import AccountKind
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.portfolio.store import Holdings, LedgerEntry, Trade
from entasis_engine.protobuf import timestamp

MONEY_SCALE = 2
"""Digits that money prints with at least, where no instrument says."""

LastPrice = Callable[[str], tuple[Decimal, datetime] | None]
"""The last price of a symbol and when it was made; None where there is none."""


def listed(instruments: Instruments, symbol: str) -> Instrument | None:
    """The instrument of a symbol; None where it is listed no more."""
    try:
        return instruments.require(symbol)
    except EntasisError:
        return None


def position(held: Position, instrument: Instrument | None, last: LastPrice, maintenance_rate: Decimal) -> pb.Position:
    """A position as it stands at the last price. Where there is none yet, the price it was opened at stands in."""
    scale = instrument.quote_scale if instrument is not None else MONEY_SCALE
    message = pb.Position(
        position_id=held.id,
        symbol=held.symbol,
        type=held.side.value,
        leverage=plain(held.leverage),
        status=held.status.value,
        entry_price=at_scale(held.entry_price, scale),
        margin=at_scale(held.margin, scale),
        realised_pnl=at_scale(held.realised_pnl, scale),
        fees=at_scale(held.fees_paid, scale),
        open_time=timestamp(held.open_time),
    )
    if held.status is Status.OPEN:
        price, moment = last(held.symbol) or (held.entry_price, held.open_time)
        message.size = plain(held.size)
        message.current_price = at_scale(price, scale)
        message.pnl = at_scale(held.unrealised_pnl(price), scale)
        message.timestamp.CopyFrom(timestamp(moment))
        if instrument is not None:
            message.liquidation_price = at_scale(held.liquidation_price(maintenance_rate, instrument.tick_size), scale)
    else:
        message.size = plain(held.initial_size)
        message.current_price = at_scale(held.exit_price or held.entry_price, scale)
        message.pnl = at_scale(held.realised_pnl, scale)
        if held.close_time is not None:
            message.timestamp.CopyFrom(timestamp(held.close_time))
            message.close_time.CopyFrom(timestamp(held.close_time))
    return message


def balances(holdings: Holdings, last: LastPrice) -> pb.GetBalanceResponse:
    """What an owner has, open positions valued at the last prices."""
    unrealised: defaultdict[str, Decimal] = defaultdict(Decimal)
    for held in holdings.positions:
        price, _ = last(held.symbol) or (held.entry_price, held.open_time)
        currency = held.quote_currency
        unrealised[currency] = add(unrealised[currency], held.unrealised_pnl(price))
    response = pb.GetBalanceResponse()
    for currency in sorted({currency for _, currency in holdings.balances}):
        free, used = (_amount(holdings.balances, kind, currency) for kind in (AccountKind.FREE, AccountKind.MARGIN))
        balance = add(free, used)
        response.balances.add(
            currency=currency,
            balance=at_scale(balance, MONEY_SCALE),
            equity=at_scale(add(balance, unrealised[currency]), MONEY_SCALE),
            free_margin=at_scale(free, MONEY_SCALE),
            used_margin=at_scale(used, MONEY_SCALE),
            unrealised_pnl=at_scale(unrealised[currency], MONEY_SCALE),
        )
    return response


def _amount(held: Mapping[tuple[AccountKind, str], Decimal], kind: AccountKind, currency: str) -> Decimal:
    return held.get((kind, currency), Decimal(0))


def trade(one: Trade, instrument: Instrument | None) -> pb.Trade:
    """A fill."""
    scale = instrument.quote_scale if instrument is not None else MONEY_SCALE
    return pb.Trade(
        trade_id=one.id,
        position_id=one.position_id,
        symbol=one.symbol,
        type=one.side.value,
        kind=one.kind.value,
        size=plain(one.size),
        price=at_scale(one.price, scale),
        notional=at_scale(one.notional, scale),
        fee=at_scale(one.fee, scale),
        realised_pnl=at_scale(one.realised_pnl, scale),
        timestamp=timestamp(one.time),
    )


def entry(one: LedgerEntry) -> pb.LedgerEntry:
    """A change of a balance."""
    return pb.LedgerEntry(
        transaction_id=one.transaction_id,
        kind=one.transaction_kind.value,
        position_id=one.position_id or "",
        account=one.kind.value,
        currency=one.currency,
        amount=at_scale(one.amount, MONEY_SCALE),
        timestamp=timestamp(one.time),
    )
