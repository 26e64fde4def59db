"""What the models see: numbers without a unit, computed from closed candles alone.

Row i depends on the candles i - LOOKBACK + 1 to i, and on nothing else. Sums over a window are put together from
shifted arrays, element by element and always in the same order; no running total is carried along. So a row is the
same bit for bit, whatever comes before the window or after the candle, and serving can compute it from a short tail.

Hours without a candle (`Series.missing`) count for nothing: means are taken over the hours that are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis.series import HOUR_MS, Floats, Series

LOOKBACK = 744
"""Candles that a row is made of: 720 hourly returns, and room for the same hour of the last 28 days."""
WINDOW = 48
"""Rows that the recurrent network sees at once."""

VARIANCE_MIN = 1e-10
"""Of an hour's log return, (0.001 %)²: below it a price is flat, and its logarithm would say nothing."""
MOVE_MAX = 1.0
"""Of an hour's log return. Beyond it prices were not traded to: a coin was split, or a candle is wrong."""
HALF_LIFE = 72.0
"""Hours, of the moving average that returns are scaled with."""

RETURN_HOURS = (6, 12, 24, 72, 168, 720)
VARIANCE_HOURS = (1, 3, 6, 12, 24, 168, 720)
SHAPE_HOURS = (24, 168)
FLOW_HOURS = (6, 24, 168)
VOLUME_HOURS = (1, 6, 24, 168, 720)
POSITION_HOURS = (1, 24, 168)

NAMES: tuple[str, ...] = (
    "level",
    *(f"return_lag_{lag}" for lag in range(4)),
    *(f"return_{hours}" for hours in RETURN_HOURS),
    *(f"variance_{hours}" for hours in VARIANCE_HOURS),
    "season_1",  # right after the variances: they are computed together
    "season_4",
    *(f"falling_{hours}" for hours in SHAPE_HOURS),
    *(f"turning_{hours}" for hours in SHAPE_HOURS),
    *(f"flow_{hours}" for hours in FLOW_HOURS),
    *(f"volume_{hours}" for hours in VOLUME_HOURS[:-1]),
    "wick_above",
    "wick_below",
    *(f"position_{hours}" for hours in POSITION_HOURS),
    "hour",
    "hour_sin",
    "hour_cos",
    "weekday",
)
"""Of the columns, in order."""
_PLACE = {name: place for place, name in enumerate(NAMES)}

RECURRENT_NAMES = (
    "return_lag_0",
    "variance_1",
    "position_1",
    "volume_1",
    "season_1",
    "variance_168",
    "hour_sin",
    "hour_cos",
)
RECURRENT = [_PLACE[name] for name in RECURRENT_NAMES]
"""The columns that the recurrent network reads."""

_DAY, _WEEK, _MONTH = 24, 168, 720
_HOURS_FROM_MONDAY = 72  # 1970-01-01 was a Thursday
_EWMA_DOUBLINGS = 9  # 512 hours: what lies before weighs less than 1 %
_CLIP = 24.0
_ROOTS = np.sqrt(np.array(RETURN_HOURS, dtype=np.float64))[:, None]
_SINE = np.sin(2 * np.pi * np.arange(_DAY) / _DAY)
_COSINE = np.cos(2 * np.pi * np.arange(_DAY) / _DAY)


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of features, one per candle; rows of candles that lack history hold NaN."""

    matrix: Floats
    """Shape (rows, len(NAMES))."""
    scale: Floats
    """Shape (rows,): standard deviation of the log return of one hour, from the moving average of variances."""

    def recurrent(self) -> Floats:
        """Shape (rows, 8): the columns the recurrent network reads."""
        return self.matrix[:, RECURRENT]


def compute(series: Series, rows: int | None = None) -> Features:
    """Features of the last `rows` candles, or of all.

    Raises ValueError where `rows` are asked for that the series has no LOOKBACK for.
    """
    full = len(series) - LOOKBACK + 1
    if rows is not None:
        if not 0 < rows <= full:
            raise ValueError(f"{rows} rows need {LOOKBACK + rows - 1} candles, not {len(series)}")
        return _compute(series, rows)
    matrix = np.full((len(series), len(NAMES)), np.nan)
    scale = np.full(len(series), np.nan)
    if full > 0:
        some = _compute(series, full)
        matrix[-full:], scale[-full:] = some.matrix, some.scale
    return Features(matrix, scale)


def windows(features: Features, rows: npt.NDArray[np.int64]) -> Floats:
    """What the recurrent network sees at each of `rows`: shape (len(rows), WINDOW, 8), the oldest step first.

    Raises IndexError where a row has no whole window before it.
    """
    if rows.size and not WINDOW - 1 <= int(rows.min()) <= int(rows.max()) < len(features.matrix):
        raise IndexError("a window needs more history")
    view = np.lib.stride_tricks.sliding_window_view(features.recurrent(), WINDOW, axis=0)
    return np.ascontiguousarray(view[rows - WINDOW + 1].transpose(0, 2, 1))


def hourly_variance(series: Series) -> Floats:
    """Garman-Klass (1980) variance of each hour's log return, with the jump from the close before; shape (n,).

    0 where the hour has no candle. The first hour has no close before it, and no jump. At most MOVE_MAX squared.
    """
    high = np.log(np.maximum(series.high, np.maximum(series.open, series.close)))
    low = np.log(np.minimum(series.low, np.minimum(series.open, series.close)))
    log_open, log_close = np.log(series.open), np.log(series.close)
    spread, body = high - low, log_close - log_open
    variance = 0.5 * spread * spread - (2 * np.log(2.0) - 1) * body * body
    jump = log_open[1:] - log_close[:-1]
    variance[1:] += jump * jump
    return np.asarray(np.minimum(variance, MOVE_MAX * MOVE_MAX), dtype=np.float64)


def log_returns(series: Series) -> Floats:
    """Of each hour over the one before, shape (n,); 0 for the first. At most MOVE_MAX either way."""
    returns, log_close = np.zeros(len(series)), np.log(series.close)
    returns[1:] = np.minimum(np.maximum(log_close[1:] - log_close[:-1], -MOVE_MAX), MOVE_MAX)
    return returns


def window_sums(values: Floats, count: int, block: int = 1) -> Floats:
    """Sums of `count` values that lie `block` hours apart, along the last axis; shape (..., n - (count - 1) block).

    Where the values are sums over `block` hours themselves, the answer is sums over `count` x `block` hours.
    """
    length = values.shape[-1] - (count - 1) * block
    total = values[..., -length:].copy()
    for step in range(1, count):
        end = values.shape[-1] - step * block
        total += values[..., end - length : end]
    return total


def moving_average(values: Floats, present: Floats, half_life: float = HALF_LIFE) -> Floats:
    """Exponentially weighted mean of 512 hours, of those that are `present` (1.0, else 0.0); shape (n - 511,).

    0 where none is.
    """
    pair = np.stack([values * present, present])
    for doubling in range(_EWMA_DOUBLINGS):
        length = 1 << doubling
        later = pair[:, length:].copy()
        later += 0.5 ** (length / half_life) * pair[:, :-length]
        pair = later
    return _ratio(pair[0], pair[1])


def _compute(series: Series, rows: int) -> Features:  # noqa: PLR0915 - one column after the other
    """Every window here ends at a row, and none is longer than LOOKBACK, so that all of them are there."""
    count = len(series)
    start = count - rows - LOOKBACK + 1
    if start:
        return _compute(series.last(count - start), rows)
    here = slice(count - rows, count)
    present = (~series.missing).astype(np.float64)
    returns, variance = log_returns(series), hourly_variance(series)
    variance *= present
    scale = np.sqrt(np.maximum(moving_average(variance, present)[-rows:], VARIANCE_MIN))
    level = 2 * np.log(scale)

    squares = returns * returns
    turning = np.zeros(count)
    turning[1:] = returns[1:] * returns[:-1]
    flow = np.sign(returns) * series.volume
    hourly = np.stack([returns, variance, present, series.volume, flow, np.minimum(returns, 0) ** 2, squares, turning])
    sums = {1: hourly}
    for shorter, longer in ((1, 3), (3, 6), (6, 12), (12, _DAY)):
        sums[longer] = window_sums(sums[shorter], longer // shorter, shorter)
    days = sums[_DAY]
    for longer in (72, _WEEK, _MONTH):  # only of the rows that are asked for
        sums[longer] = window_sums(days[:, days.shape[1] - rows - longer + _DAY :], longer // _DAY, _DAY)
    sums = {hours: total[:, -rows:] for hours, total in sums.items()}

    # The hours to come, as they were on the 28 days before: the next hour, and the next four.
    seasons = []
    for daily in (hourly[1:3, : count - 23], window_sums(hourly[1:3, : count - 20], 4)):
        # Of the rows that are asked for alone: 28 days, day by day.
        fortnight = window_sums(window_sums(daily[:, -(rows + 27 * _DAY) :], 7, _DAY), 2, 7 * _DAY)
        seasons.append(window_sums(fortnight, 2, 14 * _DAY)[:, -rows:])
    # All that is a share, at once.
    over = [sums[hours][1] for hours in VARIANCE_HOURS] + [season[0] for season in seasons]
    under = [sums[hours][2] for hours in VARIANCE_HOURS] + [season[1] for season in seasons]
    for place in (5, 7):
        over += [sums[hours][place] for hours in SHAPE_HOURS]
        under += [sums[hours][6] for hours in SHAPE_HOURS]
    over += [sums[hours][4] for hours in FLOW_HOURS] + [sums[hours][3] for hours in VOLUME_HOURS]
    under += [sums[hours][3] for hours in FLOW_HOURS] + [sums[hours][2] for hours in VOLUME_HOURS]
    shares = _ratio(np.array(over), np.array(under))
    variances, shapes = len(VARIANCE_HOURS) + 2, 2 * len(SHAPE_HOURS) + len(FLOW_HOURS)
    volumes = shares[variances + shapes :]

    columns = np.empty((len(NAMES), rows))
    place_of = _PLACE
    columns[place_of["level"]] = 0.5 * level + 5.0  # 5: about where the scale of a large coin lies
    for lag in range(4):
        np.divide(returns[count - rows - lag : count - lag], scale, out=columns[place_of[f"return_lag_{lag}"]])
    first = place_of[f"return_{RETURN_HOURS[0]}"]
    moves = np.array([sums[hours][0] for hours in RETURN_HOURS])
    np.divide(moves, _ROOTS * scale, out=columns[first : first + len(RETURN_HOURS)])
    first = place_of[f"variance_{VARIANCE_HOURS[0]}"]
    columns[first : first + variances] = np.log(np.maximum(shares[:variances], VARIANCE_MIN)) - level
    first = place_of[f"falling_{SHAPE_HOURS[0]}"]
    columns[first : first + shapes] = shares[variances : variances + shapes]
    # Volumes, each as a mean per hour beside that of a longer window; + 1 %, so that no volume is no infinity.
    first = place_of[f"volume_{VOLUME_HOURS[0]}"]
    columns[first : first + 4] = np.log(_ratio(volumes[:4], volumes[[2, 2, 3, 4]], 1.0) + 0.01)

    high, low, close = series.high, series.low, series.close
    body_high, body_low = np.maximum(series.open, close)[here], np.minimum(series.open, close)[here]
    wicks = np.log(np.maximum(np.array([high[here] / body_high, body_low / low[here]]), 1.0))
    first = place_of["wick_above"]
    columns[first : first + 2] = wicks / scale
    # The lowest is the highest of the negative: both at once. Of the last week alone.
    sides = {1: np.stack([high, -low])[:, -(rows + _WEEK - 1) :]}
    for shorter, longer in ((1, 3), (3, 6), (6, 12), (12, _DAY), (_DAY, _WEEK)):
        sides[longer] = _highest(sides[shorter], longer // shorter, shorter)
    tops = np.array([sides[hours][0, -rows:] for hours in POSITION_HOURS])
    bottoms = -np.array([sides[hours][1, -rows:] for hours in POSITION_HOURS])
    first = place_of[f"position_{POSITION_HOURS[0]}"]
    columns[first : first + len(POSITION_HOURS)] = _ratio(close[here] - bottoms, tops - bottoms, 0.5) - 0.5

    closing = series.open_time[here] // HOUR_MS + 1
    hour = closing % _DAY
    columns[place_of["hour"]] = hour
    columns[place_of["hour_sin"]], columns[place_of["hour_cos"]] = _SINE[hour], _COSINE[hour]
    columns[place_of["weekday"]] = (closing + _HOURS_FROM_MONDAY) // _DAY % 7
    np.minimum(np.maximum(columns, -_CLIP, out=columns), _CLIP, out=columns)
    return Features(np.ascontiguousarray(columns.T), scale)


def _ratio(over: Floats, under: Floats, otherwise: float = 0.0) -> Floats:
    """`over` / `under`, or `otherwise` where `under` is not above 0."""
    share = np.full(over.shape, otherwise)
    np.divide(over, under, out=share, where=under > 0)
    return share


def _highest(values: Floats, count: int, block: int) -> Floats:
    """As `window_sums`, the highest of them."""
    length = values.shape[-1] - (count - 1) * block
    best = values[:, -length:]
    for step in range(1, count):
        end = values.shape[-1] - step * block
        best = np.maximum(best, values[:, end - length : end])
    return best
