"""Files that are not Python: the Envoy configuration and the contract's descriptor set."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_assets"
_CHECKOUT = Path(__file__).parents[2]


def path(name: str) -> Path:
    """Where a file is, named as in a checkout (`envoy/envoy.yaml`): beside an installed package, or in the checkout."""
    for root in (_PACKAGED, _CHECKOUT):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"'{name}' is missing from this installation of Entasis Engine; install it again.")
