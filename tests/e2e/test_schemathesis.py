"""What the OpenAPI document says is what Envoy and the engine do, for requests that schemathesis makes up.

All checks of schemathesis, in all its phases: the document's examples, each value at each limit, random data that are
valid and that are not, and calls that follow from one another. Failing are: 5xx; a status, header, content type or
shape that is not described (the test closes all schemas, so that a field too many is found); invalid data that are
accepted and valid data that are not; calls without credentials that are served; undeclared methods that are not 405.

`make test-fuzz` makes 10,000 calls and more; ENTASIS_SCHEMATHESIS_EXAMPLES says how many.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import Running, Start, eventually
from tests.support.analysis import past
from tests.support.hourly_model import SYMBOL
from tests.support.market import NOON
from tests.support.openapi import TALLY

from entasis_engine import assets
from entasis_engine.analysis.forecasting import HISTORY_HOURS_MIN, TIMEFRAMES, TRAIN_HOURS_MIN, Trained, train
from entasis_engine.analysis.registry import Registry
from entasis_engine.analysis.series import Series

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("ENTASIS_SCHEMATHESIS_EXAMPLES", "0"))
"""How many calls at least; 0 for as few as each phase makes."""
FEW = 3
GENEROUS = 2**31 - 1
ANSWER_SECONDS_MAX = 30
RUN_SECONDS_MAX = 400 + EXAMPLES
"""So much as no machine needs that is only slow."""

# QUERY is left out of the methods that are tried: Envoy refuses one that comes without a content type, as that method's
# own specification demands, before any filter could say 405.
METHODS = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]


@pytest.fixture(scope="module")
def up(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """An engine with limits that are not met, and a model of each timeframe: the same one, from the shortest past."""
    folder = tmp_path_factory.mktemp("schemathesis")
    days = (TRAIN_HOURS_MIN + HISTORY_HOURS_MIN) // 24
    trained = train({SYMBOL: Series.of(past(SYMBOL, NOON, days))}, "1h", seed=7)
    models = {timeframe: replace(trained, timeframe=timeframe) for timeframe in TIMEFRAMES}
    Registry(folder / "models", Trained.from_files).save(models, source="simulated-7", now=NOON)
    running = start(
        "up",
        data_dir=folder,
        training="off",
        hourly_history_days=40,
        symbols="BTC-USDT,ETH-USDT",
        rate_limit_per_minute=GENEROUS,
        anonymous_rate_limit_per_minute=GENEROUS,
        streams_per_caller_max=10_000,
        paper_balance="USDT:1000000",
        positions_max=1_000,
    )
    for symbol in ("BTC-USDT", "ETH-USDT"):
        eventually(
            lambda symbol=symbol: running.get(f"/api/v1/analysis/prediction/{symbol}")[0],  # type: ignore[misc]
            lambda status: status == 200,
        )
    return running


def closed(document: dict[str, Any], turn: int) -> dict[str, Any]:
    """The document without room for fields that are not described, every other path by its other name (/v1/…)."""
    schemas = {
        name: {"additionalProperties": False, **schema} if schema.get("type") == "object" else schema
        for name, schema in document["components"]["schemas"].items()
    }
    paths = {}
    for number, (path, item) in enumerate(document["paths"].items()):
        [alias] = {operation["x-alias"] for operation in item.values()}
        paths[alias if number % 2 == turn else path] = item
    return document | {"paths": paths, "components": document["components"] | {"schemas": schemas}}


@pytest.mark.timeout(RUN_SECONDS_MAX + 300)
@pytest.mark.parametrize("turn", [0, 1] if EXAMPLES else [0])
def test_the_api_is_as_described(up: Running, tmp_path: Path, turn: int) -> None:
    """schemathesis finds no 5xx, and nothing that the document does not say."""
    document = closed(yaml.safe_load(assets.path("gen/openapi/entasis.yaml").read_text(encoding="utf-8")), turn)
    operations = sum(len(item) for item in document["paths"].values())
    wanted = EXAMPLES // 2
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    settings = [
        f'base-url = "{up.web}"',
        'hooks = "tests.support.openapi"',
        f"seed = {turn + 1}",
        "continue-on-failure = true",  # all there is to mend, at once
        'suppress-health-check = ["all"]',  # they judge how data are made up, not what is answered
        "max-stream-events = 1",
        f"request-timeout = {ANSWER_SECONDS_MAX}",
        "[auth.openapi]",
        'ApiKeyAuth = { api_key = "${ENTASIS_KEY}" }',
        "[generation]",
        f"max-examples = {-(-wanted // operations) or FEW}",
        "[phases.coverage]",
        f"unexpected-methods = {json.dumps(METHODS)}",
    ]
    (tmp_path / "schemathesis.toml").write_text("\n".join(settings), encoding="utf-8")
    tally = tmp_path / "tally.json"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "st"), "run", "openapi.json", "--no-color"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ENTASIS_KEY": up.key, TALLY: str(tally)},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, int] = json.loads(tally.read_text(encoding="utf-8"))
    found = re.search(r"(\d+) generated", done.stdout)
    assert found, done.stdout
    print(f"{found[0]}; {counts}")
    assert counts["answers"] >= wanted
    assert not [name for name in counts if name.startswith("status 5")]
    # None of the phases was for nothing: streams were read in both forms, positions opened, and much was refused.
    for name in ("200", "201", "204", "400", "401", "404", "405"):
        assert counts[f"status {name}"] > 0
    assert counts["stream as application/x-ndjson"] > 0
    assert counts["stream as text/event-stream"] > 0
