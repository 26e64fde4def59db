"""The double-entry ledger: what it refuses, and where the money goes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.support.market import NOON

from entasis_engine.portfolio import ledger
from entasis_engine.portfolio.execution import StepError
from entasis_engine.portfolio.ledger import (
    HOUSE,
    Account,
    AccountKind,
    Entry,
    InsufficientBalanceError,
    Transaction,
    TransactionKind,
    UnbalancedError,
    post,
)

FREE, MARGIN = Account("acc_1", AccountKind.FREE), Account("acc_1", AccountKind.MARGIN)
FUNDING, MARKET, FEES, INSURANCE = (
    Account(HOUSE, kind) for kind in (AccountKind.FUNDING, AccountKind.MARKET, AccountKind.FEES, AccountKind.INSURANCE)
)


def _moves(transaction: Transaction) -> dict[Account, Decimal]:
    assert {entry.currency for entry in transaction.entries} <= {"USDT"}
    return {entry.account: entry.amount for entry in transaction.entries}


def _of(*entries: tuple[Account, str, str]) -> Transaction:
    made = tuple(Entry(account, currency, Decimal(amount)) for account, currency, amount in entries)
    return Transaction("txn_1", TransactionKind.DEPOSIT, NOON, made)


def _closing(margin: str, pnl: str, fee: str) -> dict[Account, Decimal]:
    amounts = Decimal(margin), Decimal(pnl), Decimal(fee)
    return _moves(ledger.closing("txn_1", NOON, "acc_1", "USDT", "pos_1", *amounts))


def _liquidation(margin: str, pnl: str) -> dict[Account, Decimal]:
    return _moves(ledger.liquidation("txn_1", NOON, "acc_1", "USDT", "pos_1", Decimal(margin), Decimal(pnl)))


def test_entries_that_do_not_sum_to_zero_are_refused() -> None:
    """A transaction that would make money can't even be built; the error tells currency and difference."""
    with pytest.raises(UnbalancedError) as refused:
        _of((FREE, "USDT", "100"), (FUNDING, "USDT", "-99.99999999"))
    assert (refused.value.currency, refused.value.difference) == ("USDT", Decimal("0.00000001"))


def test_each_currency_is_balanced_by_itself() -> None:
    """What one currency has too much does not make up for what another lacks."""
    with pytest.raises(UnbalancedError):
        _of((FREE, "USDT", "1"), (FUNDING, "BTC", "-1"))


def test_balances_of_many_digits_stay_exact() -> None:
    """Entries that differ in the fiftieth digit are added up exactly, to balance or not, and so are balances."""
    large, larger = "1" + "0" * 49 + "1", "-1" + "0" * 49 + "2"
    deposited = _of((FREE, "USDT", large), (MARGIN, "USDT", "1"), (FUNDING, "USDT", larger))
    assert post({(FREE, "USDT"): Decimal(1)}, deposited)[FREE, "USDT"] == Decimal(larger.lstrip("-"))
    with pytest.raises(UnbalancedError):
        _of((FREE, "USDT", large), (FUNDING, "USDT", larger))


def test_an_amount_that_is_no_number_is_refused() -> None:
    """NaN balances nothing."""
    with pytest.raises(UnbalancedError):
        _of((FREE, "USDT", "NaN"), (FUNDING, "USDT", "-1"))


def test_the_accounts_of_the_house_are_its_own() -> None:
    """No owner has fees or insurance; an owner who is named like the house still has only accounts of an owner."""
    with pytest.raises(ValueError, match="house"):
        Account("acc_1", AccountKind.INSURANCE)
    assert Account(HOUSE, AccountKind.FREE) not in {FUNDING, MARKET, FEES, INSURANCE}


def test_a_deposit_comes_from_the_funding_account() -> None:
    """And is free."""
    transaction = ledger.deposit("txn_1", NOON, "acc_1", "USDT", Decimal(100))
    assert _moves(transaction) == {FUNDING: -100, FREE: 100}
    assert (transaction.kind, transaction.create_time, transaction.position_id) == ("deposit", NOON, None)


def test_a_withdrawal_goes_back_to_it() -> None:
    """Out of what is free."""
    assert _moves(ledger.withdrawal("txn_1", NOON, "acc_1", "USDT", Decimal(40))) == {FREE: -40, FUNDING: 40}


@pytest.mark.parametrize("amount", ["0", "-1", "0.000000001", "NaN"])
def test_an_amount_off_its_step_is_refused(amount: str) -> None:
    """Deposits and withdrawals are positive multiples of 1e-8."""
    for make in (ledger.deposit, ledger.withdrawal):
        with pytest.raises(StepError, match="amount"):
            make("txn_1", NOON, "acc_1", "USDT", Decimal(amount))


def test_opening_takes_margin_and_fee_from_what_is_free() -> None:
    """100 of margin and 0.5 of fee take 100.5."""
    transaction = ledger.opening("txn_1", NOON, "acc_1", "USDT", "pos_1", Decimal(100), Decimal("0.5"))
    assert _moves(transaction) == {FREE: Decimal("-100.5"), MARGIN: 100, FEES: Decimal("0.5")}
    assert transaction.position_id == "pos_1"


def test_closing_with_a_profit_returns_margin_and_profit() -> None:
    """The market pays the profit; the fee is taken from what is returned."""
    assert _closing("100", "30", "1") == {MARGIN: -100, FREE: 129, MARKET: -30, FEES: 1}


def test_closing_with_a_loss_returns_what_is_left() -> None:
    """The market takes the loss out of the margin."""
    assert _closing("100", "-30", "1") == {MARGIN: -100, FREE: 69, MARKET: 30, FEES: 1}


def test_a_loss_beyond_the_margin_is_paid_by_the_insurance() -> None:
    """Of a loss of 130 the owner bears the margin of 100, and nothing is taken from what is free."""
    assert _closing("100", "-130", "0") == {MARGIN: -100, MARKET: 130, INSURANCE: -30}


def test_what_a_liquidation_leaves_goes_to_the_insurance() -> None:
    """SatIs, "System Gain and Losses" (doc.sat.is): a long from 100, bankrupt at 99, filled at 99.25 leaves 0.25."""
    assert _liquidation("1", "-0.75") == {MARGIN: -1, MARKET: Decimal("0.75"), INSURANCE: Decimal("0.25")}


def test_what_a_liquidation_lacks_is_paid_by_the_insurance() -> None:
    """The same document: filled at 98.75, beyond the bankruptcy price of 99, it costs the insurance 0.25."""
    assert _liquidation("1", "-1.25") == {MARGIN: -1, MARKET: Decimal("1.25"), INSURANCE: Decimal("-0.25")}


def test_moves_of_nothing_make_no_entry() -> None:
    """A ledger of zeros would be hard to read."""
    assert _closing("0", "0", "0") == {}


def test_posting_gives_the_balances_that_changed() -> None:
    """Other accounts are left out, and the balances given are left as they were."""
    before = {(FREE, "USDT"): Decimal(100), (FREE, "BTC"): Decimal(1)}
    after = post(before, ledger.withdrawal("txn_1", NOON, "acc_1", "USDT", Decimal(40)))
    assert after == {(FREE, "USDT"): 60, (FUNDING, "USDT"): 40}
    assert before[FREE, "USDT"] == 100


def test_taking_more_than_is_free_is_refused() -> None:
    """The error tells what was required, what is available, and in which currency."""
    opening = ledger.opening("txn_1", NOON, "acc_1", "USDT", "pos_1", Decimal(100), Decimal("0.5"))
    with pytest.raises(InsufficientBalanceError) as refused:
        post({(FREE, "USDT"): Decimal(100), (FREE, "BTC"): Decimal(1000)}, opening)
    error = refused.value
    assert (error.account, error.currency, error.required, error.available) == (FREE, "USDT", Decimal("100.5"), 100)


def test_all_that_is_free_may_be_taken() -> None:
    """Down to exactly nothing."""
    after = post({(FREE, "USDT"): Decimal(40)}, ledger.withdrawal("txn_1", NOON, "acc_1", "USDT", Decimal(40)))
    assert after[FREE, "USDT"] == 0


def test_entries_of_one_account_are_judged_together() -> None:
    """An account may give and take in one transaction, whatever the order of the entries."""
    both = _of((FREE, "USDT", "-5"), (FREE, "USDT", "5"))
    assert post({}, both) == {(FREE, "USDT"): 0}


def test_a_margin_account_is_never_negative_either() -> None:
    """To release margin that was never held is refused."""
    with pytest.raises(InsufficientBalanceError):
        post({}, ledger.closing("txn_1", NOON, "acc_1", "USDT", "pos_1", Decimal(1), Decimal(0), Decimal(0)))


def test_the_house_may_owe() -> None:
    """Its funding account owes the owners all that they put in."""
    after = post({}, ledger.deposit("txn_1", NOON, "acc_1", "USDT", Decimal(5)))
    assert after[FUNDING, "USDT"] == -5
