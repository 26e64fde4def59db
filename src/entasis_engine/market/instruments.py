"""What is listed: looking a symbol up, and saying what is wrong with one that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from entasis_engine.errors import EntasisError, field_error
from entasis_engine.exchanges.feed import Instrument

SYMBOLS_MAX = 100


class Instruments:
    """The listed instruments, by symbol."""

    def __init__(self, listed: Iterable[Instrument]) -> None:
        self._by_symbol = {instrument.symbol: instrument for instrument in sorted(listed, key=lambda one: one.symbol)}

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def require(self, symbol: str) -> Instrument:
        """The instrument of that symbol. Raises MARKET_001 (NOT_FOUND) where it is not listed."""
        try:
            return self._by_symbol[symbol]
        except KeyError:
            raise EntasisError("SYMBOL_UNKNOWN", symbol=symbol) from None


def split_symbols(given: Sequence[str]) -> list[str]:
    """Symbols given one by one or joined by commas, each once, in the order given. Raises REQUEST_001 on too many."""
    symbols = list(dict.fromkeys(symbol for part in given for symbol in part.split(",")))
    # The contract's own rule counts parts, and a part may hold many.
    if len(symbols) > SYMBOLS_MAX:
        raise field_error(
            "symbols", f"must have at most {SYMBOLS_MAX} items", f"최대 {SYMBOLS_MAX}개 항목만 허용됩니다"
        )
    return symbols
