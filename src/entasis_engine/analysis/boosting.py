"""Gradient-boosted trees: the median of scaled returns, and the logarithm of the variance to come.

LightGBM (Ke et al. 2017) takes 1.2 s to import, so that it is imported where it is used. What is kept of a model is
LightGBM's own text; reading it runs no code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from entasis_engine.analysis.series import Floats

Target = Literal["median", "mean"]


class Size(NamedTuple):
    """How much trees may learn."""

    rounds: int
    """Trees."""
    leaves: int
    """Of a tree, at most."""
    samples: int
    """In a leaf, at least."""


_PARAMETERS = {
    "learning_rate": 0.03,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_OBJECTIVES: dict[Target, dict[str, Any]] = {
    "median": {"objective": "quantile", "alpha": 0.5},
    "mean": {"objective": "regression"},
}


@dataclass(frozen=True, eq=False)
class Boosted:
    """Trained trees. `predict` may be called by several threads at a time."""

    text: str
    """LightGBM's own form."""
    booster: Any
    """lightgbm.Booster"""

    def predict(self, matrix: Floats) -> Floats:
        """One number for each row of the matrix (n, k), shape (n,)."""
        return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)

    @classmethod
    def from_text(cls, text: str, names: Sequence[str]) -> Boosted:
        """From what `text` gave. Raises ValueError where it is damaged, or made for other features."""
        import lightgbm  # noqa: PLC0415 - see above

        # What is cut off or garbled LightGBM may read in part: its own frame tells a whole text.
        if (
            not text.startswith("tree\n")
            or "\nend of trees\n" not in text
            or not text.endswith("pandas_categorical:null\n")
        ):
            raise ValueError("no whole model of LightGBM")
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError("no model of LightGBM") from error
        if tuple(booster.feature_name()) != tuple(names):
            raise ValueError("the model was made for other features")
        return cls(text, booster)


def fit(
    matrix: Floats,
    targets: Floats,
    target: Target,
    size: Size,
    *,
    names: Sequence[str],
    seed: int,
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Boosted:
    """Train trees; the same arguments on the same machine give the same text.

    Args:
        matrix: (n, k), finite.
        targets: (n,), of a scale of about 1.
        target: what to predict of the targets.
        names: of the k features.
        progress: told the share of rounds done.
    """
    import lightgbm  # noqa: PLC0415 - see above

    data = lightgbm.Dataset(matrix, targets, feature_name=list(names), params={"max_bin": 63, "verbosity": -1})
    told = max(1, size.rounds // 20)

    def tell(environment: Any) -> None:
        if (environment.iteration + 1) % told == 0:
            progress((environment.iteration + 1) / size.rounds)

    booster = lightgbm.train(
        {
            **_PARAMETERS,
            **_OBJECTIVES[target],
            "num_leaves": size.leaves,
            "min_data_in_leaf": size.samples,
            "seed": seed,
            "num_threads": threads,
        },
        data,
        num_boost_round=size.rounds,
        callbacks=[tell],
    )
    return Boosted.from_text(booster.model_to_string(), names)
