"""The example programs in tests/stubs, each in its language, against one engine: what they print is what happened."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import make_key
from tests.support.hourly_model import keep_hourly_model

# A cold build of Go takes a minute on one core, and npm and Maven fetch what they need first.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
BUILD_SECONDS_MAX = 500.0
RUN_SECONDS_MAX = 90.0
DECIMAL = r"-?\d+(?:\.\d+)?"


@dataclass(frozen=True)
class Program:
    """How one language's program is built and run, in its folder of tests/stubs."""

    folder: str
    needs: str
    """The tool without which it is skipped."""
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]


TRADE = str(ROOT / "build/go/bin/trade")
PROGRAMS = {
    "python": Program("python", "python3", (), (sys.executable, "trade.py")),
    "typescript-node": Program("typescript", "npm", ((sys.executable, "build.py"),), ("node", "dist/node.js")),
    "go": Program("go", "go", (("go", "build", "-o", TRADE, "."),), (TRADE,)),
    "java": Program(
        "java", "mvn", ((sys.executable, "build.py"),), ("java", "-jar", str(ROOT / "build/java/trade/trade.jar"))
    ),
}

LINES = [
    rf"price BTC-USDT (?P<price>{DECIMAL})",
    rf"history 5 candles, last close (?P<close>{DECIMAL})",
    rf"opened (?P<opened>pos_\w+) at (?P<entry_price>{DECIMAL})",
    rf"closed (?P<closed>pos_\w+) pnl (?P<pnl>{DECIMAL})",
    rf"prediction (?P<prediction>{DECIMAL}) confidence (?P<confidence>0\.\d+) timeframe 1h model ensemble",
    rf"stream BTC-USDT (?P<first>\d+) {DECIMAL}",
    rf"stream BTC-USDT (?P<second>\d+) {DECIMAL}",
    rf"stream BTC-USDT (?P<third>\d+) {DECIMAL}",
    r"error PORT_001 \S.*",
    r"done",
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a model, and an account for each program."""
    folder = tmp_path_factory.mktemp("clients")
    keep_hourly_model(folder)
    return folder


@pytest.fixture(scope="module")
def keys(data_dir: Path) -> dict[str, str]:
    return {language: make_key(data_dir, account=language) for language in PROGRAMS}


@pytest.fixture(scope="module")
def up(start: Start, data_dir: Path, keys: dict[str, str]) -> Running:
    running = start("up", data_dir=data_dir, hourly_history_days=40)  # forecasts want 33 days
    eventually(lambda: running.get("/api/v1/analysis/prediction/BTC-USDT")[0], lambda status: status == 200)
    return running


@pytest.fixture(params=PROGRAMS)
def language(request: pytest.FixtureRequest) -> str:
    """A language whose program is built."""
    language: str = request.param
    if shutil.which(PROGRAMS[language].needs) is None:
        pytest.skip(f"skipped: no {PROGRAMS[language].needs}")
    build(language)
    return language


@cache
def build(language: str) -> None:
    program = PROGRAMS[language]
    for command in program.build:
        done = subprocess.run(
            command, cwd=folder(program), capture_output=True, text=True, check=False, timeout=BUILD_SECONDS_MAX
        )
        assert done.returncode == 0, done.stdout + done.stderr


def folder(program: Program) -> Path:
    return ROOT / "tests/stubs" / program.folder


def run(language: str, up: Running, key: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAMS[language]
    return subprocess.run(
        program.run,
        cwd=folder(program),
        env=os.environ | {"ENTASIS_ADDRESS": up.grpc, "ENTASIS_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )


def test_a_program_does_what_it_says(language: str, up: Running, keys: dict[str, str]) -> None:
    """Every line has its form, and the engine knows the same of candles, position and stream."""
    done = run(language, up, keys[language])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(LINES), done.stdout
    said: dict[str, str] = {}
    for pattern, line in zip(LINES, lines, strict=True):
        matched = re.fullmatch(pattern, line)
        assert matched, f"{line!r} is not {pattern!r}"
        said |= matched.groupdict()

    # Two, since the hour may have changed meanwhile.
    candles = up.get("/api/v1/market/history/BTC-USDT?page_size=2")[1]["data"]
    assert said["close"] in [one["close"] for one in candles]
    (position,) = up.get("/api/v1/portfolio/positions?status=all", {"X-API-Key": keys[language]})[1]["positions"]
    assert position["status"] == "closed"
    assert said["opened"] == said["closed"] == position["position_id"]
    assert (said["entry_price"], said["pnl"]) == (position["entry_price"], position["realised_pnl"])
    forecast = up.get("/api/v1/analysis/prediction/BTC-USDT")[1]
    if forecast["prediction"] == said["prediction"]:  # else a new hour has begun
        assert said["confidence"] == f"{forecast['confidence']:.2f}"
    first, second, third = (int(said[name]) for name in ("first", "second", "third"))
    assert (second, third) == (first + 1, first + 2)


def test_a_program_ends_with_the_words_of_an_error(language: str, up: Running) -> None:
    """With a key that is none it does nothing, says what the engine said, and ends with 1."""
    done = run(language, up, "ek_nobody")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert "API key" in done.stderr, done.stderr
