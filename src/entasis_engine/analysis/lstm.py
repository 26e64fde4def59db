"""A long short-term memory network in numpy: gradients by hand, trained by Adam.

The cell is that of Gers, Schmidhuber and Cummins, "Learning to Forget" (2000), without peepholes; Adam is that of
Kingma and Ba (2015). The last hidden state goes through one linear layer, the head.

All four gates of a step come from one matrix product: the kernel has the shape (4 hidden, inputs + hidden + 1), its
rows are those of the input, forget and output gate and of the candidate, its columns multiply the input, the hidden
state before it and a 1, which makes the last column the bias. Arrays hold features by samples, not samples by
features: so each gate of a whole batch lies in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Loss = Literal["laplace", "absolute", "squared"]
Reals: TypeAlias = npt.NDArray[np.floating[Any]]

ARRAYS: Final = ("kernel", "head", "target_scale", "steps")
GRADIENT_NORM_MAX = 1.0
FORGET_BIAS = 1.0
"""A cell that keeps what it holds until it has learned better (Jozefowicz, Zaremba and Sutskever 2015)."""
PREDICTED_AT_ONCE = 1024
HIDDEN_MAX = 4096

_DECAYS = (0.9, 0.999)
_TINY = 1e-8


@dataclass(frozen=True, eq=False)
class Lstm:
    """A trained network. `predict` may be called by several threads at a time."""

    kernel: Reals
    """(4 hidden, inputs + hidden + 1)"""
    head: Reals
    """(outputs, hidden + 1); the last column is the bias."""
    target_scale: float
    """What outputs are multiplied by: the mean absolute target of the training."""
    steps: int
    """Length of a window."""

    @property
    def hidden(self) -> int:
        return int(self.kernel.shape[0]) // 4

    @property
    def inputs(self) -> int:
        return int(self.kernel.shape[1]) - self.hidden - 1

    @property
    def outputs(self) -> int:
        return int(self.head.shape[0])

    def predict(self, windows: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Predictions of the shape (n, outputs) for windows of the shape (n, steps, inputs).

        A network of the loss "laplace" gives location and log scale, both for targets as they were given; others give
        the median ("absolute") or the mean ("squared"). Raises ValueError where the shape does not fit. A window alone
        and the same one among others may differ in their last bits: other kernels multiply vectors than matrices.
        """
        given = np.asarray(windows, dtype=self.kernel.dtype)
        if given.ndim != 3 or given.shape[1:] != (self.steps, self.inputs):
            raise ValueError(f"windows must have the shape (n, {self.steps}, {self.inputs}), not {given.shape}")
        predicted = np.empty((given.shape[0], self.outputs))
        for start in range(0, given.shape[0], PREDICTED_AT_ONCE):
            part = given[start : start + PREDICTED_AT_ONCE]
            hidden = _last_hidden(self.kernel, part)
            predicted[start : start + part.shape[0]] = (self.head[:, :-1] @ hidden + self.head[:, -1:]).T
        predicted[:, 0] *= self.target_scale
        if self.outputs == 2:
            predicted[:, 1] += np.log(self.target_scale)
        return predicted

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All there is to keep; `from_arrays` makes the same network of it, bit for bit."""
        return {
            "kernel": self.kernel,
            "head": self.head,
            "target_scale": np.array(self.target_scale, dtype=np.float64),
            "steps": np.array(self.steps, dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Lstm:
        """From what `arrays` gave. Raises ValueError where it cannot have come from there."""
        if set(arrays) != set(ARRAYS):
            raise ValueError(f"an LSTM has the arrays {', '.join(ARRAYS)}, not {', '.join(sorted(arrays))}")
        kernel, head, scale, steps = (arrays[name] for name in ARRAYS)
        if kernel.dtype not in (np.float32, np.float64) or head.dtype != kernel.dtype:
            raise ValueError(f"kernel and head must be float32 or float64 alike, not {kernel.dtype} and {head.dtype}")
        if scale.dtype != np.float64 or scale.shape != () or steps.dtype != np.int64 or steps.shape != ():
            raise ValueError("target_scale must be one float64, steps one int64")
        if kernel.ndim != 2 or head.ndim != 2 or kernel.shape[0] % 4 or not 0 < kernel.shape[0] <= 4 * HIDDEN_MAX:
            raise ValueError(f"no kernel and head have the shapes {kernel.shape} and {head.shape}")
        hidden = kernel.shape[0] // 4
        if kernel.shape[1] < hidden + 2 or head.shape not in ((1, hidden + 1), (2, hidden + 1)):
            raise ValueError(f"a kernel {kernel.shape} and a head {head.shape} do not fit each other")
        if not (np.isfinite(kernel).all() and np.isfinite(head).all() and 0 < scale < np.inf and steps > 0):
            raise ValueError("an LSTM must be finite, its scale and steps above 0")
        return cls(np.ascontiguousarray(kernel), np.ascontiguousarray(head), float(scale), int(steps))


def fit(
    windows: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    hidden: int = 32,
    epochs: int = 5,
    batch: int = 256,
    learning_rate: float = 3e-3,
    seed: int,
    loss: Loss = "laplace",
    weights: npt.ArrayLike | None = None,
    progress: Callable[[float], None] = lambda share: None,
    dtype: npt.DTypeLike = np.float32,
) -> Lstm:
    """Train a network; the same arguments on the same machine give the same bits.

    Args:
        windows: (n, steps, inputs), finite and of a scale of about 1: inputs are not scaled here.
        targets: (n,), of any scale: they are divided by their mean absolute value, and predictions multiplied by it.
        batch: samples per step, at most; batches of an epoch differ by one at most.
        learning_rate: that of the first step; it falls to 0 along a line.
        loss: "laplace", the likelihood of location and scale; "absolute" for the median, "squared" for the mean.
        weights: (n,), at or above 0: how much each sample counts, relative to the others.
        progress: told the share done, from above 0 to 1, about a hundred times.
        dtype: what is computed in.

    Raises:
        ValueError: for shapes that do not fit, or values that are not finite.
        FloatingPointError: where the training ran away.
    """
    precision = np.dtype(dtype)
    given, wanted, counted = _checked(windows, targets, weights)
    count, steps, inputs = given.shape
    scale = float(np.average(np.abs(wanted), weights=counted)) or 1.0
    given = given.astype(precision, copy=False)
    wanted = (wanted / scale).astype(precision)
    counted = (counted / counted.mean()).astype(precision)

    generator = np.random.default_rng(seed)
    kernel, head = _initial(generator, inputs, hidden, 2 if loss == "laplace" else 1)
    # One vector of all parameters: one step of Adam is then a few calls, not a few for each.
    parameters = np.concatenate([kernel.ravel(), head.ravel()]).astype(precision)
    gradient = np.empty_like(parameters)
    kernel, head = _shaped(parameters, kernel.shape, head.shape)
    kernel_gradient, head_gradient = _shaped(gradient, kernel.shape, head.shape)
    adam = _Adam(parameters)

    batches = -(-count // batch)
    passes: dict[int, _Pass] = {}
    done, total = 0, epochs * batches
    for _ in range(epochs):
        for chosen in np.array_split(generator.permutation(count), batches):
            if chosen.size not in passes:
                passes[chosen.size] = _Pass(chosen.size, steps, inputs, hidden, precision)
            one = passes[chosen.size]
            output = one.forward(kernel, head, given[chosen])
            _, slope = _loss(loss, output, wanted[chosen], counted[chosen])
            one.backward(kernel, head, slope, kernel_gradient, head_gradient)
            norm = float(np.sqrt(gradient @ gradient))
            if not np.isfinite(norm):
                raise FloatingPointError("the gradient is not finite any more")
            if norm > GRADIENT_NORM_MAX:
                gradient *= GRADIENT_NORM_MAX / norm
            adam.step(gradient, learning_rate * (1 - done / total))
            done += 1
            if done * 100 // total > (done - 1) * 100 // total:
                progress(done / total)
    return Lstm(kernel.copy(), head.copy(), scale, steps)


def loss_and_gradients(
    kernel: Reals, head: Reals, windows: Reals, targets: Reals, weights: Reals, loss: Loss
) -> tuple[float, Reals, Reals]:
    """The mean loss of a batch, and its gradients by kernel and head, in the precision of the kernel."""
    count, steps, inputs = windows.shape
    one = _Pass(count, steps, inputs, kernel.shape[0] // 4, kernel.dtype)
    value, slope = _loss(loss, one.forward(kernel, head, windows), targets, weights)
    kernel_gradient, head_gradient = np.empty_like(kernel), np.empty_like(head)
    one.backward(kernel, head, slope, kernel_gradient, head_gradient)
    return value, kernel_gradient, head_gradient


class _Pass:
    """Forward through a batch of one size, and back; the buffers are made once."""

    def __init__(self, count: int, steps: int, inputs: int, hidden: int, dtype: np.dtype[Any]) -> None:
        self._inputs, self._hidden, self._steps = inputs, hidden, steps
        # What the kernel multiplies, for each step: the input, the hidden state before it, and a 1. One step more
        # than the window has, for the last hidden state.
        self._joint = np.zeros((steps + 1, inputs + hidden + 1, count), dtype=dtype)
        self._joint[:, -1] = 1
        self._gates = np.empty((steps, 4 * hidden, count), dtype=dtype)
        self._cell = np.zeros((steps + 1, hidden, count), dtype=dtype)
        self._squashed = np.empty((steps, hidden, count), dtype=dtype)  # tanh of the cell
        self._slopes = np.empty((4 * hidden, count), dtype=dtype)
        self._spare = np.empty((hidden, count), dtype=dtype)
        self._back = np.empty((hidden, count), dtype=dtype)
        self._cell_slope = np.empty((hidden, count), dtype=dtype)
        self._kernel_part = np.empty((4 * hidden, inputs + hidden + 1), dtype=dtype)

    def forward(self, kernel: Reals, head: Reals, windows: Reals) -> Reals:
        """Outputs of the shape (outputs, n) for windows (n, steps, inputs)."""
        hidden, joint, cell = self._hidden, self._joint, self._cell
        halved = _halved(kernel)
        joint[:-1, : self._inputs] = windows.transpose(1, 2, 0)
        for step in range(self._steps):
            gates = self._gates[step]
            np.matmul(halved, joint[step], out=gates)
            np.tanh(gates, out=gates)
            sigmoids = gates[: 3 * hidden]
            sigmoids += 1
            sigmoids *= 0.5
            np.multiply(gates[hidden : 2 * hidden], cell[step], out=cell[step + 1])
            np.multiply(gates[:hidden], gates[3 * hidden :], out=self._spare)
            cell[step + 1] += self._spare
            np.tanh(cell[step + 1], out=self._squashed[step])
            state = joint[step + 1, self._inputs : -1]
            np.multiply(gates[2 * hidden : 3 * hidden], self._squashed[step], out=state)
        return head @ joint[-1, self._inputs :]

    def backward(self, kernel: Reals, head: Reals, slope: Reals, kernel_gradient: Reals, head_gradient: Reals) -> None:
        """Write the gradients, given the slope of the loss by the outputs, (outputs, n), after `forward`."""
        hidden, joint, slopes, spare = self._hidden, self._joint, self._slopes, self._spare
        into, forget, out, candidate = (slice(part * hidden, (part + 1) * hidden) for part in range(4))
        np.matmul(slope, joint[-1, self._inputs :].T, out=head_gradient)
        np.matmul(head[:, :-1].T, slope, out=self._back)
        recurrent = np.ascontiguousarray(kernel[:, self._inputs : -1].T)
        cell_slope = self._cell_slope
        cell_slope[:] = 0
        kernel_gradient[:] = 0
        for step in range(self._steps - 1, -1, -1):
            gates, squashed = self._gates[step], self._squashed[step]
            # Through the output gate into the cell: its slope grows by back * out * (1 - tanh²).
            np.multiply(squashed, squashed, out=spare)
            np.subtract(1, spare, out=spare)
            spare *= gates[out]
            spare *= self._back
            cell_slope += spare
            # How steep each gate is: s (1 - s) of a sigmoid, 1 - tanh² of the candidate.
            np.multiply(gates, gates, out=slopes)
            np.subtract(gates[: 3 * hidden], slopes[: 3 * hidden], out=slopes[: 3 * hidden])
            np.subtract(1, slopes[candidate], out=slopes[candidate])
            self._back *= squashed
            slopes[out] *= self._back
            np.multiply(cell_slope, gates[candidate], out=spare)
            slopes[into] *= spare
            np.multiply(cell_slope, self._cell[step], out=spare)
            slopes[forget] *= spare
            np.multiply(cell_slope, gates[into], out=spare)
            slopes[candidate] *= spare
            np.matmul(slopes, joint[step].T, out=self._kernel_part)
            kernel_gradient += self._kernel_part
            if step:
                np.matmul(recurrent, slopes, out=self._back)
                cell_slope *= gates[forget]


class _Adam:
    """Steps against the gradient, each parameter by its own scale. It changes the parameters in place."""

    def __init__(self, parameters: Reals) -> None:
        self._parameters = parameters
        self._mean = np.zeros_like(parameters)
        self._square = np.zeros_like(parameters)
        self._steps = 0

    def step(self, gradient: Reals, learning_rate: float) -> None:
        self._steps += 1
        first, second = _DECAYS
        self._mean += (1 - first) * (gradient - self._mean)
        self._square += (1 - second) * (gradient * gradient - self._square)
        rate = learning_rate / (1 - first**self._steps)
        spread = np.sqrt(self._square / (1 - second**self._steps)) + _TINY
        self._parameters -= (rate * self._mean / spread).astype(self._parameters.dtype, copy=False)


def _loss(loss: Loss, output: Reals, targets: Reals, weights: Reals) -> tuple[float, Reals]:
    """The weighted mean loss of outputs (outputs, n), and its slope by them, (outputs, n)."""
    share = weights / weights.dtype.type(targets.size)
    error = output[0] - targets
    if loss == "squared":
        return float(share @ (error * error) / 2), (share * error)[np.newaxis]
    if loss == "absolute":
        return float(share @ np.abs(error)), (share * np.sign(error))[np.newaxis]
    narrow = np.exp(-output[1])
    relative = np.abs(error) * narrow
    value = float(share @ (relative + output[1])) + float(np.log(2) * share.sum())
    return value, np.stack([share * np.sign(error) * narrow, share * (1 - relative)])


def _last_hidden(kernel: Reals, windows: Reals) -> Reals:
    """The hidden state after the last step, (hidden, n): the forward pass with nothing kept for the way back.

    For one window it is the calls that cost, not the numbers: so a window alone goes as vectors, all that can be is
    made before the loop, and results are written where the last ones were.
    """
    count, steps, inputs = windows.shape
    hidden = kernel.shape[0] // 4
    halved = _halved(kernel)
    # Inputs do not depend on states: their share of all steps is one product.
    moved = np.ascontiguousarray(windows.transpose(2, 1, 0)).reshape(inputs, steps * count)
    driven = halved[:, :inputs] @ moved + halved[:, -1:]
    shape: tuple[int, ...] = (count,) if count > 1 else ()
    driven = np.ascontiguousarray(driven.reshape(4 * hidden, steps, count).transpose(1, 0, 2))
    driven = driven.reshape(steps, 4 * hidden, *shape)
    recurrent = np.asfortranarray(halved[:, inputs:-1])
    state = np.zeros((hidden, *shape), dtype=kernel.dtype)
    cell, spare = np.zeros_like(state), np.empty_like(state)
    gates = np.empty((4 * hidden, *shape), dtype=kernel.dtype)
    sigmoids, candidate = gates[: 3 * hidden], gates[3 * hidden :]
    into, forget, out = gates[:hidden], gates[hidden : 2 * hidden], gates[2 * hidden : 3 * hidden]
    one, half = np.array(1, dtype=kernel.dtype), np.array(0.5, dtype=kernel.dtype)
    add, multiply, tanh = np.add, np.multiply, np.tanh
    for drive in driven:
        recurrent.dot(state, gates)
        add(gates, drive, gates)
        tanh(gates, gates)
        add(sigmoids, one, sigmoids)
        multiply(sigmoids, half, sigmoids)
        multiply(cell, forget, cell)
        multiply(into, candidate, spare)
        add(cell, spare, cell)
        tanh(cell, spare)
        multiply(out, spare, state)
    return state.reshape(hidden, count)


def _halved(kernel: Reals) -> Reals:
    """The kernel with which tanh alone makes all gates: a sigmoid of x is (1 + tanh(x / 2)) / 2."""
    halved = kernel.copy()
    halved[: 3 * (kernel.shape[0] // 4)] *= 0.5
    return halved


def _initial(generator: np.random.Generator, inputs: int, hidden: int, outputs: int) -> tuple[Reals, Reals]:
    """Inputs after Glorot and Bengio (2010), recurrence orthogonal after Saxe et al. (2014), a head that begins low."""
    kernel = np.zeros((4 * hidden, inputs + hidden + 1))
    kernel[:, :inputs] = generator.uniform(-1, 1, (4 * hidden, inputs)) * np.sqrt(6 / (inputs + hidden))
    for part in range(4):
        basis, triangle = np.linalg.qr(generator.normal(size=(hidden, hidden)))
        kernel[part * hidden : (part + 1) * hidden, inputs:-1] = basis * np.sign(np.diag(triangle))
    kernel[hidden : 2 * hidden, -1] = FORGET_BIAS
    head = np.zeros((outputs, hidden + 1))
    head[:, :-1] = generator.uniform(-1, 1, (outputs, hidden)) * 0.1 * np.sqrt(6 / (hidden + outputs))
    return kernel, head


def _shaped(vector: Reals, kernel: tuple[int, ...], head: tuple[int, ...]) -> tuple[Reals, Reals]:
    """Kernel and head as views into one vector."""
    border = kernel[0] * kernel[1]
    return vector[:border].reshape(kernel), vector[border:].reshape(head)


def _checked(
    windows: npt.ArrayLike, targets: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Reals, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    given = np.asarray(windows)
    wanted = np.asarray(targets, dtype=np.float64)
    if given.ndim != 3 or 0 in given.shape or wanted.shape != given.shape[:1]:
        raise ValueError(f"windows must be (n, steps, inputs) and targets (n,), not {given.shape} and {wanted.shape}")
    counted = np.ones(wanted.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if counted.shape != wanted.shape:
        raise ValueError(f"weights must be {wanted.shape}, not {counted.shape}")
    if not (np.isfinite(given).all() and np.isfinite(wanted).all() and np.isfinite(counted).all()):
        raise ValueError("windows, targets and weights must be finite")
    if (counted < 0).any() or not counted.any():
        raise ValueError("weights must be at or above 0, and not all 0")
    return given, wanted, counted
