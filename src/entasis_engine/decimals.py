"""Exact decimals: parsing, printing and steps. No binary float comes near them."""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation

# Python's own context rounds every result to 28 digits, which sums of coins with 18 decimals exceed. No price, size or
# sum of them has as many digits as this one keeps; it raises rather than round a result that would need more.
_EXACT = Context(prec=1000, traps=[InvalidOperation, DivisionByZero, Inexact])


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The exact difference."""
    return _EXACT.subtract(left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """The exact product."""
    return _EXACT.multiply(left, right)


def divide_down(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """The quotient of a number that is not negative and one above 0, rounded down to a multiple of `step`."""
    return multiply(_EXACT.divide_int(numerator, multiply(denominator, step)), step)


def divide_up(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """The quotient of a number that is not negative and one above 0, rounded up to a multiple of `step`."""
    steps, rest = _EXACT.divmod(numerator, multiply(denominator, step))
    return multiply(add(steps, Decimal(1)) if rest else steps, step)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a finite whole number of steps."""
    return value.is_finite() and not _EXACT.remainder(value, step)


def plain(value: Decimal) -> str:
    """Print exactly, without exponent and without trailing zeros: `1.2340` is `1.234`, `1E+3` is `1000`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"", "-0"} else text


def at_scale(value: Decimal, scale: int) -> str:
    """Print exactly, with at least `scale` digits after the point: `61828` at scale 2 is `61828.00`.

    Digits beyond the scale are kept, since nothing is ever rounded on the way.
    """
    text = plain(value)
    if scale <= 0:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(scale, '0')}"


def scale_of(step: Decimal) -> int:
    """Digits after the point that a step needs: `0.01` needs 2, `0.50` needs 1, `5` needs 0."""
    if not step.is_finite():
        raise ValueError(f"a step must be a finite number, not {step}")
    return len(plain(step).partition(".")[2])
