"""What is looked at before the portfolio opens."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.support.market import BTC, ETH

from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio.operation import MarginRateError, check_margin_rate


def _listed(leverage: str) -> list[Instrument]:
    return [replace(ETH, max_leverage=Decimal(1)), replace(BTC, max_leverage=Decimal(leverage))]


@pytest.mark.parametrize(("leverage", "rate"), [("199", "0.005"), ("99.99", "0.01"), ("1", "0.9999")])
def test_a_maintenance_margin_below_the_margin_is_taken(leverage: str, rate: str) -> None:
    """As long as a position at the highest leverage has more margin than it must keep, the engine starts."""
    check_margin_rate(_listed(leverage), Decimal(rate))


@pytest.mark.parametrize(("leverage", "rate"), [("200", "0.005"), ("125", "0.01"), ("1E+3", "0.001")])
def test_a_maintenance_margin_that_eats_the_margin_is_refused(leverage: str, rate: str) -> None:
    """Where nothing would be left, the error names the setting, its value, the instrument and what would do."""
    with pytest.raises(MarginRateError) as raised:
        check_margin_rate(_listed(leverage), Decimal(rate))
    for word in (f"ENTASIS_MAINTENANCE_MARGIN_RATE is {rate},", "BTC-USDT", f"below 1 / {int(Decimal(leverage))}."):
        assert word in str(raised.value)
