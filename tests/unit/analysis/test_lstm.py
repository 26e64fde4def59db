"""The network's arithmetic is right, it learns, and it is the same each time."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from entasis_engine.analysis.lstm import Loss, Lstm, fit, loss_and_gradients

LOSSES = get_args(Loss)


def network(seed: int, *, inputs: int = 3, hidden: int = 4, outputs: int = 2, steps: int = 6) -> Lstm:
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(4 * hidden, inputs + hidden + 1)) * 0.6
    return Lstm(kernel, generator.normal(size=(outputs, hidden + 1)) * 0.6, 1.0, steps)


def windows_of(seed: int, shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def by_the_book(lstm: Lstm, window: Any) -> Any:
    """The cell as the papers write it, gate by gate, for one window."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    hidden = lstm.hidden
    weights = lstm.kernel.reshape(4, hidden, -1)
    state, cell = np.zeros(hidden), np.zeros(hidden)
    for values in window:
        into, forget, out, candidate = (
            part[:, : lstm.inputs] @ values + part[:, lstm.inputs : -1] @ state + part[:, -1] for part in weights
        )
        cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
        state = sigmoid(out) * np.tanh(cell)
    return lstm.head[:, :-1] @ state + lstm.head[:, -1]


def remembering(seed: int, count: int) -> tuple[Any, Any]:
    """Windows of noise with one step marked, some way back; what is asked for is the value of that step."""
    generator = np.random.default_rng(seed)
    windows = np.stack([generator.normal(size=(count, 8)), np.zeros((count, 8))], axis=2)
    marked = np.arange(count), generator.integers(0, 6, size=count)
    windows[(*marked, 1)] = 1
    return windows, 0.01 * (windows[(*marked, 0)] + 0.3)


def test_predictions_are_those_of_the_cell_as_the_papers_write_it() -> None:
    lstm = network(1)
    windows = windows_of(2, (5, lstm.steps, lstm.inputs))
    expected = np.array([by_the_book(lstm, window) for window in windows])
    np.testing.assert_allclose(lstm.predict(windows), expected, rtol=1e-12)
    alone = np.concatenate([lstm.predict(window[np.newaxis]) for window in windows])
    np.testing.assert_allclose(alone, expected, rtol=1e-12)


def test_predictions_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="skipped: torch is not installed")
    hidden, inputs, steps = 7, 5, 11
    torch.manual_seed(3)
    layer = torch.nn.LSTM(inputs, hidden, batch_first=True, dtype=torch.float64)
    linear = torch.nn.Linear(hidden, 2, dtype=torch.float64)
    with torch.no_grad():
        bias = (layer.bias_ih_l0 + layer.bias_hh_l0)[:, None]
        theirs = torch.cat([layer.weight_ih_l0, layer.weight_hh_l0, bias], dim=1).numpy()
        into, forget, candidate, out = theirs.reshape(4, hidden, -1)  # torch has the candidate third
        head = torch.cat([linear.weight, linear.bias[:, None]], dim=1).numpy()
        windows = windows_of(4, (6, steps, inputs))
        expected = linear(layer(torch.from_numpy(windows))[0][:, -1]).numpy()
    lstm = Lstm(np.concatenate([into, forget, out, candidate]), head, 1.0, steps)
    np.testing.assert_allclose(lstm.predict(windows), expected, rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_gradient_is_the_slope_that_finite_differences_find(loss: Loss) -> None:
    lstm = network(5, outputs=2 if loss == "laplace" else 1)
    generator = np.random.default_rng(6)
    windows = windows_of(7, (4, lstm.steps, lstm.inputs))
    targets = generator.normal(size=4) * 2
    weights = generator.uniform(0.2, 2, size=4)
    # The absolute error has a kink at 0: no sample may be so near it that a difference steps across.
    assert np.abs(lstm.predict(windows)[:, 0] - targets).min() > 0.01

    def value() -> float:
        return loss_and_gradients(lstm.kernel, lstm.head, windows, targets, weights, loss)[0]

    _, *gradients = loss_and_gradients(lstm.kernel, lstm.head, windows, targets, weights, loss)
    for parameter, gradient in zip((lstm.kernel, lstm.head), gradients, strict=True):
        for place in np.ndindex(parameter.shape):
            kept, found = parameter[place], []
            for width in (1e-3, 2e-3):
                parameter[place] = kept + width
                above = value()
                parameter[place] = kept - width
                found.append((above - value()) / (2 * width))
                parameter[place] = kept
            slope = (4 * found[0] - found[1]) / 3  # Richardson: what is left is of the order of width⁴
            assert abs(slope - gradient[place]) <= 1e-6 * max(abs(slope), abs(gradient[place]), 1e-4), place


@pytest.mark.parametrize("loss", LOSSES)
def test_it_learns_what_the_mean_cannot_know(loss: Loss) -> None:
    windows, targets = remembering(8, 4000)
    lstm = fit(windows[:3000], targets[:3000], hidden=16, epochs=15, batch=32, learning_rate=1e-2, seed=1, loss=loss)
    predicted = lstm.predict(windows[3000:])[:, 0]
    error = np.abs(predicted - targets[3000:]).mean()
    assert error < 0.4 * np.abs(targets[3000:] - targets[:3000].mean()).mean()


def test_the_scale_of_laplace_is_the_mean_absolute_error_where_it_is_asked() -> None:
    generator = np.random.default_rng(9)
    windows = generator.normal(size=(4000, 4, 1))
    wide = windows[:, -1, 0] > 0
    targets = generator.laplace(size=4000) * np.where(wide, 0.03, 0.01)
    lstm = fit(windows, targets, hidden=8, epochs=10, batch=64, learning_rate=1e-2, seed=1)
    scale = np.exp(lstm.predict(windows)[:, 1])
    assert np.median(scale[wide]) == pytest.approx(0.03, rel=0.15)
    assert np.median(scale[~wide]) == pytest.approx(0.01, rel=0.15)


def test_samples_without_weight_teach_nothing() -> None:
    windows, targets = remembering(10, 600)
    weights = np.where(np.arange(600) < 300, 1.0, 0.0)
    lied_to = np.where(np.arange(600) < 300, targets, 1e3)
    plain = fit(windows, targets, hidden=4, epochs=2, seed=3, weights=weights)
    other = fit(windows, lied_to, hidden=4, epochs=2, seed=3, weights=weights)
    np.testing.assert_array_equal(plain.kernel, other.kernel)
    assert not np.array_equal(plain.kernel, fit(windows, targets, hidden=4, epochs=2, seed=3).kernel)


def test_the_unit_of_targets_does_not_matter() -> None:
    windows, targets = remembering(11, 400)
    one = fit(windows, targets, hidden=4, epochs=2, seed=3, dtype=np.float64).predict(windows)
    thousand = fit(windows, targets * 1024, hidden=4, epochs=2, seed=3, dtype=np.float64).predict(windows)
    np.testing.assert_allclose(thousand[:, 0], one[:, 0] * 1024, rtol=1e-9)
    np.testing.assert_allclose(thousand[:, 1], one[:, 1] + np.log(1024), rtol=1e-9)


def test_the_same_seed_gives_the_same_bits_and_another_gives_others() -> None:
    windows, targets = remembering(12, 700)
    first, again, other = (fit(windows, targets, hidden=8, epochs=2, batch=128, seed=seed) for seed in (1, 1, 2))
    for name, array in first.arrays().items():
        assert array.tobytes() == again.arrays()[name].tobytes(), name
    assert first.kernel.tobytes() != other.kernel.tobytes()
    assert first.kernel.dtype == np.float32


def test_progress_grows_to_the_whole() -> None:
    windows, targets = remembering(13, 500)
    told: list[float] = []
    fit(windows, targets, hidden=2, epochs=3, batch=16, seed=1, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert 50 <= len(told) <= 100


def test_a_network_comes_back_from_its_arrays_bit_for_bit() -> None:
    windows, targets = remembering(14, 300)
    lstm = fit(windows, targets, hidden=4, epochs=1, seed=1)
    back = Lstm.from_arrays(lstm.arrays())
    np.testing.assert_array_equal(back.predict(windows), lstm.predict(windows))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel", np.zeros((16, 8), dtype=np.int64)),
        ("kernel", np.zeros((16, 8), dtype=np.float32)),  # the head is float64
        ("kernel", np.zeros((15, 8))),
        ("kernel", np.zeros((0, 8))),
        ("kernel", np.zeros((16, 5))),
        ("kernel", np.zeros(16)),
        ("kernel", np.full((16, 8), np.nan)),
        ("kernel", np.array([["a"]], dtype=object)),
        ("head", np.zeros((3, 5))),
        ("head", np.zeros((2, 6))),
        ("head", np.full((2, 5), np.inf)),
        ("target_scale", np.array(0.0)),
        ("target_scale", np.array(np.nan)),
        ("target_scale", np.ones(2)),
        ("steps", np.array(0)),
        ("steps", np.array(6.0)),
        ("steps", None),
        ("more", np.zeros(1)),
    ],
)
def test_arrays_that_no_network_has_are_refused(name: str, value: Any) -> None:
    arrays = network(1).arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(ValueError, match=r".+"):
        Lstm.from_arrays(arrays)


@pytest.mark.parametrize(
    "change",
    [
        {"windows": np.zeros((4, 3))},
        {"windows": np.zeros((0, 3, 2))},
        {"windows": np.full((4, 3, 2), np.nan)},
        {"targets": np.zeros(3)},
        {"targets": np.full(4, np.inf)},
        {"weights": np.zeros(4)},
        {"weights": np.ones(3)},
        {"weights": np.array([1.0, 1.0, -1.0, 1.0])},
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"windows": np.zeros((4, 3, 2)), "targets": np.ones(4), "weights": None}
    with pytest.raises(ValueError, match=r".+"):
        fit(**{**given, **change}, seed=1)


def test_windows_of_another_shape_are_refused() -> None:
    lstm = network(1)
    for shape in ((2, lstm.steps, lstm.inputs + 1), (2, lstm.steps + 1, lstm.inputs), (lstm.steps, lstm.inputs)):
        with pytest.raises(ValueError, match="shape"):
            lstm.predict(np.zeros(shape))


def test_no_windows_give_no_predictions_and_many_are_predicted_in_parts() -> None:
    lstm = network(1)
    assert lstm.predict(np.zeros((0, lstm.steps, lstm.inputs))).shape == (0, 2)
    many = windows_of(15, (2500, lstm.steps, lstm.inputs))
    np.testing.assert_allclose(lstm.predict(many)[2100:2110], lstm.predict(many[2100:2110]), rtol=1e-12)


def test_a_training_that_runs_away_says_so() -> None:
    windows, targets = remembering(16, 300)
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        fit(windows, targets, hidden=4, epochs=20, batch=16, seed=1, loss="squared", learning_rate=1e30)
