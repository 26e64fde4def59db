"""Forecasts are honest, finite, the same hour by hour as in one go, and survive being kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from entasis_engine.analysis.forecasting import (
    BANDS,
    HISTORY_HOURS_MIN,
    LEVELS,
    MODELS,
    TRAIN_HOURS_MIN,
    Forecast,
    Forecaster,
    NotEnoughHistoryError,
    Trained,
    train,
)
from entasis_engine.analysis.series import HOUR_MS, Series
from entasis_engine.times import from_milliseconds

COUNT, CUT = 4200, 3600
FIRST, SECOND = "AAA-USDT", "BBB-USDT"


def market(count: int, *, seed: int, price: float = 100.0, volatility: float = 0.01, missing: float = 0.0) -> Series:
    """Candles whose volatility comes in waves of a week."""
    generator = np.random.default_rng(seed)
    wave = volatility * np.exp(np.sin(2 * np.pi * np.arange(count) / 168))
    close = price * np.exp(np.cumsum(generator.standard_t(4, size=count) * wave))
    opening = np.concatenate([[price], close[:-1]])
    high = np.maximum(opening, close) * (1 + wave * generator.random(count))
    low = np.minimum(opening, close) / (1 + wave * generator.random(count))
    times = 1_577_836_800_000 + HOUR_MS * np.arange(count, dtype=np.int64)
    there = generator.random(count) >= missing
    there[[0, -1]] = True
    columns = (opening, high, low, close, generator.random(count))
    return Series.from_arrays(times[there], *(column[there] for column in columns))


def scaled(series: Series, factor: Callable[[int], float]) -> Series:
    """The same candles, each with its prices times what `factor` says of its place."""
    there = ~series.missing
    scale = np.array([factor(place) for place in range(len(series))])
    prices = [(getattr(series, name) * scale)[there] for name in ("open", "high", "low", "close")]
    return Series.from_arrays(series.open_time[there], *prices, series.volume[there])


def flat(count: int, price: float) -> Series:
    times = 1_577_836_800_000 + HOUR_MS * np.arange(count, dtype=np.int64)
    return Series.from_arrays(times, *(np.full(count, price) for _ in range(4)), np.zeros(count))


HISTORIES = {FIRST: market(COUNT, seed=1, missing=0.01), SECOND: market(COUNT, seed=2, price=2e-5, volatility=0.02)}


def known(histories: Mapping[str, Series] = HISTORIES) -> dict[str, Series]:
    return {symbol: series.until(CUT) for symbol, series in histories.items()}


@pytest.fixture(scope="module")
def daily() -> Trained:
    return train(known(), "1d", seed=7)


@pytest.fixture(scope="module", params=["1h", "1d"])
def trained(request: pytest.FixtureRequest) -> Trained:
    made: Trained = request.getfixturevalue("daily") if request.param == "1d" else train(known(), "1h", seed=7)
    return made


def check(forecast: Forecast, last: float, timeframe: str) -> None:
    assert 0 < forecast.price < np.inf
    assert 0 <= forecast.confidence <= 1
    assert forecast.band == BANDS[timeframe]
    assert 0 < forecast.sigma < np.inf
    assert [one.level for one in forecast.ranges] == list(LEVELS)
    for one in forecast.ranges:
        assert 0 <= one.low <= forecast.price <= one.high < np.inf
    for narrow, wide in pairwise(forecast.ranges):
        assert wide.low <= narrow.low <= narrow.high <= wide.high
    assert forecast.price == pytest.approx(last, rel=0.5)


def test_hour_by_hour_is_the_same_as_in_one_go(trained: Trained) -> None:
    series = HISTORIES[FIRST]
    tracks = Forecaster(trained, FIRST).track(series, trained.cutoff)
    serving = Forecaster(trained, FIRST)
    assert tracks["lstm"].time.size == COUNT - CUT
    for place in range(0, 150):
        for model in MODELS:
            one, track = serving.forecast(series.until(CUT + 1 + place).last(1200), model), tracks[model]
            # The network's last bits depend on how many windows it sees at once.
            assert one.price == pytest.approx(track.price[place], rel=1e-7)
            assert one.sigma == pytest.approx(track.sigma[place], rel=1e-12)
            assert one.confidence == pytest.approx(track.confidence[place], abs=0.005)
            assert [r.low for r in one.ranges] == pytest.approx(track.low[place], rel=1e-5)
            assert [r.high for r in one.ranges] == pytest.approx(track.high[place], rel=1e-5)


def test_a_forecaster_that_starts_late_says_what_one_says_that_was_there_all_along(trained: Trained) -> None:
    series, early = HISTORIES[SECOND], Forecaster(trained, SECOND)
    for count in (CUT + 1, CUT + 2, CUT + 90, CUT + 400):
        early.forecast(series.until(count), "ensemble")
    late = Forecaster(trained, SECOND).forecast(series.until(CUT + 400), "ensemble")
    assert early.forecast(series.until(CUT + 400), "ensemble").price == pytest.approx(late.price, rel=1e-7)


def test_the_future_changes_no_forecast(trained: Trained) -> None:
    series = HISTORIES[FIRST]
    other = scaled(series, lambda place: 1.0 if place < CUT + 300 else 2.0)
    until = from_milliseconds(int(series.open_time[CUT + 300]))
    ours, theirs = (Forecaster(trained, FIRST).track(one, trained.cutoff)["ensemble"] for one in (series, other))
    before = ours.time <= int(until.timestamp() * 1000)
    assert before.sum() == 300
    assert np.array_equal(ours.price[before], theirs.price[before])
    assert np.array_equal(ours.confidence[before], theirs.confidence[before])
    assert not np.array_equal(ours.price[~before], theirs.price[~before])


def test_calibration_starts_from_forecasts_that_did_not_know_their_outcome(daily: Trained) -> None:
    """With other candles from some hour on, the forecasts of the hours before it stay what they were, bit for bit."""
    turned = CUT - 150
    others = {symbol: scaled(one, lambda place: 1.0 if place < turned else 1.5) for symbol, one in known().items()}
    other = train(others, daily.timeframe, seed=7)
    for symbol in (FIRST, SECOND):
        ours, theirs = daily.judged[symbol], other.judged[symbol]
        before = ours.time <= int(HISTORIES[symbol].open_time[turned])
        assert before.sum() > 500
        assert np.array_equal(ours.trees[before], theirs.trees[before])
        assert np.array_equal(ours.network[before], theirs.network[before])
        assert not np.array_equal(ours.trees[~before], theirs.trees[~before])
    assert other.models.median.text != daily.models.median.text


def test_training_comes_out_the_same_each_time_and_tells_how_far_it_is(daily: Trained) -> None:
    told: list[float] = []
    again = train(known(), daily.timeframe, seed=7, progress=told.append)
    assert again.to_files() == daily.to_files()
    assert told == sorted(told)
    assert 0 < told[0] < 0.1
    assert told[-1] == 1.0


def test_what_is_read_back_says_the_same(trained: Trained) -> None:
    read = Trained.from_files(trained.to_files())
    assert read.to_files() == trained.to_files()
    assert (read.symbols, read.cutoff, read.sample_size) == ((FIRST, SECOND), trained.cutoff, trained.sample_size)
    assert read.cutoff == HISTORIES[FIRST].until(CUT).as_of
    series = HISTORIES[FIRST].until(CUT + 50)
    assert Forecaster(read, FIRST).forecast(series, "lstm") == Forecaster(trained, FIRST).forecast(series, "lstm")


def test_damaged_files_are_refused(daily: Trained) -> None:
    files = daily.to_files()
    for name, content in files.items():
        for damaged in (b"", content[: len(content) // 2], content[100:]):
            with pytest.raises(ValueError, match=r"."):
                Trained.from_files({**files, name: damaged})
        with pytest.raises(ValueError, match=r"."):
            Trained.from_files({other: files[other] for other in files if other != name})


def test_files_that_do_not_fit_each_other_are_refused(daily: Trained) -> None:
    files, meta = daily.to_files(), json.loads(daily.to_files()["meta.json"])
    changes: list[dict[str, object]] = [
        {"format": 99},
        {"timeframe": "1w"},
        {"timeframe": None},
        {"feature_names": meta["feature_names"][1:]},
        {"symbols": []},
        {"symbols": [FIRST, SECOND, "CCC-USDT"]},
        {"cutoff": "yesterday"},
        {"metrics": 3},
    ]
    for change in changes:
        with pytest.raises(ValueError, match=r"."):
            Trained.from_files({**files, "meta.json": json.dumps({**meta, **change}).encode()})
    with pytest.raises(ValueError, match=r"."):
        Trained.from_files({**files, "lstm.npz": files["volatility.npz"]})


def test_too_little_history_is_told_with_what_is_needed(trained: Trained) -> None:
    with pytest.raises(NotEnoughHistoryError) as raised:
        Forecaster(trained, FIRST).forecast(HISTORIES[FIRST].until(HISTORY_HOURS_MIN - 1), "ensemble")
    assert (raised.value.needed, raised.value.given) == (HISTORY_HOURS_MIN, HISTORY_HOURS_MIN - 1)
    for histories in ({}, {FIRST: HISTORIES[FIRST].until(TRAIN_HOURS_MIN - 1)}, {FIRST: flat(4000, 1.0)}):
        with pytest.raises(NotEnoughHistoryError):
            train(histories, "1h", seed=1)


def test_a_short_history_does_not_keep_others_from_being_learned() -> None:
    made = train({FIRST: HISTORIES[FIRST].until(3000), SECOND: HISTORIES[SECOND].until(900)}, "4h", seed=1)
    assert made.symbols == (FIRST,)
    served = Forecaster(made, SECOND).forecast(HISTORIES[SECOND].until(900), "ensemble")
    check(served, float(HISTORIES[SECOND].close[899]), "4h")


def test_a_symbol_that_was_not_learned_is_served_with_its_own_past(trained: Trained) -> None:
    wild = market(COUNT, seed=3, volatility=0.03)
    for count in (HISTORY_HOURS_MIN, COUNT):
        served = Forecaster(trained, "NEW-USDT").forecast(wild.until(count), "ensemble")
        check(served, float(wild.close[count - 1]), trained.timeframe)


def test_an_hour_before_the_last_one_seen_is_answered_too(trained: Trained) -> None:
    series, one = HISTORIES[FIRST], Forecaster(trained, FIRST)
    latest = one.forecast(series, "ensemble")
    check(one.forecast(series.until(COUNT - 30), "ensemble"), float(series.close[COUNT - 31]), trained.timeframe)
    assert one.forecast(series, "ensemble").sigma == pytest.approx(latest.sigma, rel=1e-12)


@pytest.mark.parametrize(
    "series",
    [
        flat(1500, 1e-8),
        market(1500, seed=4, price=1e-8),
        market(1500, seed=4, price=1e300, volatility=0.001),
        market(1500, seed=4, missing=0.8),
        scaled(market(1500, seed=4), lambda place: 1.0 if place < 1499 else 1e4),
        scaled(market(1500, seed=4), lambda place: 1.0 if place < 1400 else 1e-4),
    ],
    ids=["flat", "tiny", "huge", "missing", "jump up", "jump down"],
)
@pytest.mark.filterwarnings("error")
def test_forecasts_are_finite_whatever_prices_do(trained: Trained, series: Series) -> None:
    for model in MODELS:
        check(Forecaster(trained, "NEW-USDT").forecast(series, model), float(series.close[-1]), trained.timeframe)


def test_intervals_cover_and_confidence_comes_true(trained: Trained) -> None:
    """Loosely: these are few hours, and at a day they overlap."""
    series = HISTORIES[FIRST]
    track = Forecaster(trained, FIRST).track(series, trained.cutoff)["ensemble"]
    actual = series.close[CUT + trained.hours :]
    count = actual.size
    inside = (track.low[:count, 1] <= actual) & (actual <= track.high[:count, 1])
    assert inside.mean() == pytest.approx(0.8, abs=0.05 if trained.hours == 1 else 0.2)
    hit = np.abs(actual / track.price[:count] - 1) <= BANDS[trained.timeframe]
    assert hit.mean() == pytest.approx(track.confidence[:count].mean(), abs=0.05 if trained.hours == 1 else 0.2)


def test_unknown_names_are_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match="timeframe"):
        train(known(), "1w", seed=1)
    with pytest.raises(ValueError, match="model"):
        Forecaster(trained, FIRST).forecast(HISTORIES[FIRST], "oracle")


def test_hours_long_before_the_start_are_not_told(trained: Trained) -> None:
    since = trained.cutoff + timedelta(hours=10)
    track = Forecaster(trained, FIRST).track(HISTORIES[FIRST], since)["lstm"]
    assert from_milliseconds(int(track.time[0])) == since + timedelta(hours=1)
