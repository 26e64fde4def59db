"""What every suite may use: where the real market data lies. And what every engine of a test need not do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

DATA_DIR = Path(os.environ.get("ENTASIS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

# Engines are started by the dozen, and few tests ask for forecasts: the others need no models, nor years of history.
os.environ.setdefault("ENTASIS_TRAINING", "off")
os.environ.setdefault("ENTASIS_HOURLY_HISTORY_DAYS", "30")
# On few cores, threads that wait for each other cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples each time, however slow the machine is. `--hypothesis-profile=default` looks for new ones.
settings.register_profile("entasis", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("entasis")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real market data, from ENTASIS_TEST_DATA or ../shared/data; tests that need it are skipped where it is absent."""
    if not DATA_DIR.is_dir():
        pytest.skip("skipped: no real data")
    return DATA_DIR
