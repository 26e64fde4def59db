"""Opening, closing and liquidating positions."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import BTC, ETH, NOON

from entasis_engine.decimals import add, at_scale, is_multiple
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio.execution import Filled, StepError
from entasis_engine.portfolio.ledger import AccountKind, Transaction
from entasis_engine.portfolio.margin import LeverageError, Side
from entasis_engine.portfolio.positions import (
    CloseTooLargeError,
    Limits,
    Position,
    PositionLimitError,
    PositionNotOpenError,
    Status,
    check_close,
    check_limits,
    close_position,
    liquidate,
    open_position,
)

LATER = NOON + timedelta(hours=1)
LIMITS = Limits(open_positions_max=2, notional_max=Decimal(100_000))


def _at(price: str, size: str) -> Filled:
    return Filled(Decimal(size), Decimal(price) * Decimal(size))


def _opened(
    filled: Filled,
    side: Side = Side.LONG,
    *,
    leverage: str = "1",
    fee_rate: str = "0",
    instrument: Instrument = BTC,
) -> tuple[Position, Transaction]:
    return open_position(
        filled,
        position_id="pos_1",
        transaction_id="txn_1",
        owner="acc_1",
        instrument=instrument,
        side=side,
        leverage=Decimal(leverage),
        fee_rate=Decimal(fee_rate),
        time=NOON,
    )


def _closed(position: Position, filled: Filled, fee_rate: str = "0") -> tuple[Position, Transaction]:
    return close_position(
        position, filled, transaction_id="txn_2", lot=BTC.lot_size, fee_rate=Decimal(fee_rate), time=LATER
    )


def _liquidated(position: Position, filled: Filled) -> tuple[Position, Transaction]:
    return liquidate(position, filled, transaction_id="txn_2", time=LATER)


def _moves(transaction: Transaction) -> dict[str, Decimal]:
    return {entry.account.kind: entry.amount for entry in transaction.entries}


def test_the_position_of_the_specification() -> None:
    """The specification, section 4: 1.5 BTC-USDT from 64000.00, now 65000.00, show a pnl of 1500.00."""
    position, _ = _opened(_at("64000.00", "1.5"))
    assert at_scale(position.entry_price, 2) == "64000.00"
    assert at_scale(position.unrealised_pnl(Decimal("65000.00")), 2) == "1500.00"
    assert (position.quote_currency, position.status, position.open_time) == ("USDT", "open", NOON)


def test_opening_holds_margin_and_pays_a_fee() -> None:
    """1.5 BTC at 64000 are 96000; at 2.5x that takes 38400 of margin, and at 0.05 % a fee of 48."""
    position, transaction = _opened(_at("64000", "1.5"), leverage="2.5", fee_rate="0.0005")
    assert (position.margin, position.fees_paid) == (38400, 48)
    assert _moves(transaction) == {AccountKind.FREE: -38448, AccountKind.MARGIN: 38400, AccountKind.FEES: 48}
    assert (transaction.id, transaction.position_id, transaction.create_time) == ("txn_1", "pos_1", NOON)


def test_opening_holds_the_steps_and_the_leverage_limit() -> None:
    """A size off the lot and a leverage above the instrument's limit are refused."""
    with pytest.raises(StepError):
        _opened(_at("64000", "0.000001"))
    with pytest.raises(LeverageError):
        _opened(_at("64000", "1"), leverage="20.5")


def test_the_liquidation_price_is_that_of_the_position() -> None:
    """Bybit, "Liquidation Price (USDT Contract)": a short of 1 BTC from 8000, but here at 20x: 8000 x 1.045."""
    position, _ = _opened(_at("8000", "1"), Side.SHORT, leverage="20")
    assert position.liquidation_price(Decimal("0.005"), BTC.tick_size) == 8360


def test_the_closed_pnl_of_a_published_example() -> None:
    """Bybit, "P&L Calculations (USDT Contract)", fees as in the copy at pastorq.com/7518.html: 400 less 1.32 and 1.10.

    A short of 0.4 BTC from 6000 to 5000 at 0.055 %; the example's funding fee has no like here.
    """
    position, _ = _opened(_at("6000", "0.4"), Side.SHORT, fee_rate="0.00055")
    assert position.fees_paid == Decimal("1.32")
    closed, _ = _closed(position, _at("5000", "0.4"), "0.00055")
    assert closed.realised_pnl == 400
    assert closed.fees_paid == Decimal("1.32") + Decimal("1.10")


def test_closing_the_whole_ends_the_position() -> None:
    """Nothing is held any more; entry and exit price stay to be read."""
    position, _ = _opened(_at("64000", "1.5"), leverage="10", fee_rate="0.0005")
    closed, transaction = _closed(position, _at("65000", "1.5"), "0.0005")
    assert (closed.status, closed.close_time) == (Status.CLOSED, LATER)
    assert (closed.size, closed.entry_notional, closed.margin) == (0, 0, 0)
    assert (closed.realised_pnl, closed.fees_paid) == (1500, Decimal("96.75"))
    assert (closed.entry_price, closed.exit_price, closed.initial_size) == (64000, 65000, Decimal("1.5"))
    assert _moves(transaction) == {
        AccountKind.MARGIN: -9600,
        AccountKind.FREE: Decimal("11051.25"),
        AccountKind.MARKET: -1500,
        AccountKind.FEES: Decimal("48.75"),
    }


def test_closing_a_part_leaves_the_rest_in_proportion() -> None:
    """A third of the size takes a third of entry notional and margin; entry price and liquidation price stay."""
    position, _ = _opened(_at("64000", "1.5"), Side.SHORT, leverage="10")
    rest, _ = _closed(position, _at("63000", "0.5"))
    assert (rest.size, rest.entry_notional, rest.margin) == (1, 64000, 6400)
    assert (rest.status, rest.close_time, rest.realised_pnl) == (Status.OPEN, None, 500)
    assert (rest.entry_price, rest.exit_price) == (64000, 63000)
    rate = Decimal("0.005")
    assert rest.liquidation_price(rate, BTC.tick_size) == position.liquidation_price(rate, BTC.tick_size)


def test_what_rounding_leaves_stays_with_the_rest() -> None:
    """A third of 100 closes with 33.33333333, twice, and the last third takes the 33.33333334 that are left."""
    position, _ = _opened(Filled(Decimal("0.00003"), Decimal(100)))
    parts = []
    for _ in range(3):
        rest, _ = _closed(position, _at("1", "0.00001"))
        parts.append(position.entry_notional - rest.entry_notional)
        position = rest
    assert parts == [Decimal("33.33333333"), Decimal("33.33333333"), Decimal("33.33333334")]


@given(
    st.integers(1, 10**6).map(lambda ticks: Decimal(ticks) * BTC.tick_size),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    st.integers(10_000, 200_000).map(lambda leverage: Decimal(leverage) / 10_000),
    st.sampled_from(Side),
)
def test_the_parts_of_a_position_add_up_to_it(price: Decimal, lots: list[int], leverage: Decimal, side: Side) -> None:
    """Closed in any parts at one price, a position makes exactly what it would have made in one go."""
    sizes = [Decimal(number) * BTC.lot_size for number in lots]
    whole, _ = _opened(_at("5000", str(sum(sizes))), side, leverage=str(leverage))
    # Within the margin, so that no loss is cut off.
    exit_price = (Decimal(5000) * (1 if side is Side.LONG else Decimal("1.04"))).quantize(BTC.tick_size)
    position, free, market = whole, Decimal(0), Decimal(0)
    for size in sizes:
        position, transaction = _closed(position, Filled(size, exit_price * size))
        assert is_multiple(position.margin, Decimal("1E-8"))
        free = add(free, _moves(transaction).get(AccountKind.FREE, Decimal(0)))
        market = add(market, _moves(transaction).get(AccountKind.MARKET, Decimal(0)))
    at_once, transaction = _closed(whole, Filled(whole.size, exit_price * whole.size))
    assert position == at_once
    assert free == _moves(transaction)[AccountKind.FREE]
    assert market == _moves(transaction).get(AccountKind.MARKET, 0)


def test_a_loss_beyond_the_margin_costs_no_more_than_the_margin() -> None:
    """A fall of 20 % at 10x: the owner loses 6400, the insurance pays the other 6400, and there is no fee to take."""
    position, _ = _opened(_at("64000", "1"), leverage="10")
    closed, transaction = _closed(position, _at("51200", "1"), "0.0005")
    assert (closed.realised_pnl, closed.fees_paid) == (-6400, 0)
    assert _moves(transaction) == {
        AccountKind.MARGIN: -6400,
        AccountKind.MARKET: 12800,
        AccountKind.INSURANCE: -6400,
    }


def test_a_fee_is_waived_as_far_as_nothing_is_left_to_pay_it() -> None:
    """A loss of 6390 of 6400 leaves 10 for a fee of 28.805: closing never takes from what is free."""
    position, _ = _opened(_at("64000", "1"), leverage="10")
    closed, transaction = _closed(position, _at("57610", "1"), "0.0005")
    assert (closed.realised_pnl, closed.fees_paid) == (-6390, 10)
    assert AccountKind.FREE not in _moves(transaction)


def test_a_position_is_not_closed_beyond_its_size() -> None:
    """The error tells what was given and what is open."""
    position, _ = _opened(_at("64000", "1"))
    with pytest.raises(CloseTooLargeError) as refused:
        _closed(position, _at("64000", "1.00001"))
    assert (refused.value.given, refused.value.open_size) == (Decimal("1.00001"), 1)


@pytest.mark.parametrize("size", ["0", "-0.5", "0.000001"])
def test_a_part_must_be_a_multiple_of_the_lot(size: str) -> None:
    """As for opening."""
    position, _ = _opened(_at("64000", "1"))
    with pytest.raises(StepError):
        check_close(position, Decimal(size), BTC.lot_size)


def test_all_may_be_closed_whatever_the_lot_is_by_now() -> None:
    """An exchange that makes its lot larger must not lock a position in."""
    position, _ = _opened(_at("64000", "1.00001"))
    check_close(position, Decimal("1.00001"), Decimal("0.1"))
    with pytest.raises(StepError):
        check_close(position, Decimal("1.00000"), Decimal("0.3"))


def test_what_has_ended_cannot_end_again() -> None:
    """A closed or liquidated position is neither closed nor liquidated; the error tells what became of it."""
    position, _ = _opened(_at("64000", "1"))
    for ended, _ in (_closed(position, _at("64000", "1")), _liquidated(position, _at("64000", "1"))):
        with pytest.raises(PositionNotOpenError) as refused:
            _closed(ended, _at("64000", "1"))
        assert (refused.value.position_id, refused.value.status) == ("pos_1", ended.status)
        with pytest.raises(PositionNotOpenError):
            _liquidated(ended, _at("64000", "1"))


def test_a_liquidation_takes_the_margin_whatever_the_fill() -> None:
    """Filled at a loss of 320 of 640, the owner loses 640 and the insurance keeps 320; no fee is taken."""
    position, _ = _opened(_at("6400", "1"), leverage="10", fee_rate="0.0005")
    liquidated, transaction = _liquidated(position, _at("6080", "1"))
    assert (liquidated.status, liquidated.close_time) == (Status.LIQUIDATED, LATER)
    assert (liquidated.size, liquidated.entry_notional, liquidated.margin) == (0, 0, 0)
    assert (liquidated.realised_pnl, liquidated.fees_paid) == (-640, position.fees_paid)
    assert liquidated.exit_price == 6080
    assert _moves(transaction) == {AccountKind.MARGIN: -640, AccountKind.MARKET: 320, AccountKind.INSURANCE: 320}


@pytest.mark.parametrize(("side", "mark"), [(Side.LONG, "9550"), (Side.SHORT, "10450")])
def test_at_the_liquidation_price_the_maintenance_margin_is_left(side: Side, mark: str) -> None:
    """20x from 10000 with a rate of 0.5 %: filled at its liquidation price it leaves 50 to the insurance."""
    position, _ = _opened(_at("10000", "1"), side, leverage="20")
    assert position.liquidation_price(Decimal("0.005"), BTC.tick_size) == Decimal(mark)
    _, transaction = _liquidated(position, _at(mark, "1"))
    assert _moves(transaction)[AccountKind.INSURANCE] == 50


def test_a_position_is_liquidated_as_a_whole() -> None:
    """A fill of another size is a mistake of the caller's."""
    position, _ = _opened(_at("64000", "1"))
    with pytest.raises(ValueError, match="at once"):
        _liquidated(position, _at("64000", "0.5"))


def test_one_position_more_than_the_limit_is_refused() -> None:
    """Positions that have ended do not count."""
    position, _ = _opened(_at("1000", "1"))
    ended, _ = _closed(position, _at("1000", "1"))
    check_limits([position, ended, ended], "USDT", Decimal(1), LIMITS)
    with pytest.raises(PositionLimitError) as refused:
        check_limits([position, position], "USDT", Decimal(1), LIMITS)
    assert (refused.value.what, refused.value.limit, refused.value.reached) == ("open_positions", 2, 3)


def test_more_notional_than_the_limit_is_refused() -> None:
    """Up to the limit is allowed; other quote currencies have a limit of their own."""
    position, _ = _opened(_at("60000", "1"))
    check_limits([position], "USDT", Decimal(40_000), LIMITS)
    check_limits([position], "USDC", Decimal(100_000), LIMITS)
    with pytest.raises(PositionLimitError) as refused:
        check_limits([position], "USDT", Decimal("40000.01"), LIMITS)
    assert (refused.value.what, refused.value.limit) == ("notional", 100_000)
    assert refused.value.reached == Decimal("100000.01")


def test_the_instrument_is_kept_by_its_symbol() -> None:
    """The quote currency is that of the symbol."""
    position, transaction = _opened(_at("3000", "1"), instrument=ETH)
    assert position.symbol == "ETH-USDT"
    assert {entry.currency for entry in transaction.entries} == {"USDT"}
