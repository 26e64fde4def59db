"""Starting `entasis up` as a person would, on free ports, and ending it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.support.access import make_key

START_SECONDS_MAX = 120.0
T = TypeVar("T")


class Running:
    """A program of ours that runs, and what it has said so far."""

    def __init__(self, arguments: list[str], environment: dict[str, str], key: str = "") -> None:
        self.key = key
        """An API key of all scopes."""
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "entasis"), *arguments],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def until_said(self, pattern: str, seconds: float = START_SECONDS_MAX) -> re.Match[str]:
        """Wait until a line matches; fails with all that was said when the program ends or the time is over."""
        deadline = time.monotonic() + seconds
        with self._said:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                remaining = deadline - time.monotonic()
                if remaining <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"never said {pattern!r}:\n{''.join(self.lines)}")
                self._said.wait(min(remaining, 0.5))

    @property
    def web(self) -> str:
        return self.until_said(r"(http://127.0.0.1:\d+)/api")[1]

    @property
    def websocket(self) -> str:
        return self.web.replace("http", "ws") + "/ws/market"

    @property
    def grpc(self) -> str:
        return self.web.removeprefix("http://")

    @property
    def engine(self) -> str:
        return "127.0.0.1:" + self.until_said(r"port (\d+) directly")[1]

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        """Status, decoded body and headers of a REST call, which sends the key."""
        request = urllib.request.Request(self.web + path, headers={"X-API-Key": self.key} | (headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), dict(error.headers)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Tell it to stop and wait; gives the exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            raise


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts `entasis` with arguments and settings; whatever still runs at the end of the module is stopped.

    The data folder has an account with a key already, unless `fresh` is set.
    """
    running: list[Running] = []

    def started(*arguments: str, fresh: bool = False, **settings: object) -> Running:
        defaults: dict[str, object] = {
            "data_dir": tmp_path_factory.mktemp("data"),
            "rest_port": 0,
            "grpc_port": 0,
            "envoy_admin_port": 0,
            "metrics_port": 0,
            "bridge_metrics_port": 0,
            "https_port": 0,
        }
        environment = {f"ENTASIS_{name.upper()}": str(value) for name, value in (defaults | settings).items()}
        key = "" if fresh else make_key(Path(environment["ENTASIS_DATA_DIR"]))
        running.append(Running(list(arguments) or ["up"], environment, key))
        return running[-1]

    yield started
    with ExitStack() as ends:  # the others end too, where one does not
        for program in running:
            ends.callback(program.stop)


def eventually(ask: Callable[[], T], holds: Callable[[T], bool], seconds: float = 120.0) -> T:
    """Ask again and again until what is asked for holds; fails with the last answer when the time is over."""
    deadline = time.monotonic() + seconds
    while not holds(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r}")
        time.sleep(0.02)
    return answer
