"""What every suite may use: where the real market data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA_DIR = Path(os.environ.get("ENTASIS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real market data, from ENTASIS_TEST_DATA or ../shared/data; tests that need it are skipped where it is absent."""
    if not DATA_DIR.is_dir():
        pytest.skip("skipped: no real data")
    return DATA_DIR
