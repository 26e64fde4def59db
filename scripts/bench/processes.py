"""Starting what is measured in processes of its own, and reading the CPU time and memory they used."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from entasis_engine.access.store import AccessStore
from entasis_engine.times import system_clock

BIN = Path(sys.executable).parent
START_SECONDS_MAX = 60.0


class Program:
    """A process that has said it is ready, with its children."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], ready: str) -> None:
        self.process = subprocess.Popen(
            arguments, env=os.environ | environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self._ready = threading.Event()
        self._pattern = re.compile(ready)
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        if not self._ready.wait(START_SECONDS_MAX):
            raise SystemExit(f"{arguments[0]} did not start:\n{''.join(self.said)}")

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self.said.append(line)
            if self._pattern.search(line):
                self._ready.set()

    def find(self, pattern: str) -> str:
        for line in self.said:
            if found := re.search(pattern, line):
                return found[1]
        raise SystemExit(f"never said {pattern}:\n{''.join(self.said)}")

    def _family(self, name: str) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [one for one in (own, *own.children(recursive=True)) if name in one.name()]

    def cpu_seconds(self, name: str = "") -> float:
        """CPU time, user and system, used so far by the processes whose name holds `name`."""
        return sum(sum(one.cpu_times()[:2]) for one in self._family(name))

    def memory_mib(self, name: str = "") -> float:
        """Resident memory of the processes whose name holds `name`."""
        return sum(one.memory_info().rss for one in self._family(name)) / 2**20


@contextmanager
def running(arguments: list[str], ready: str, **environment: object) -> Iterator[Program]:
    """A program, from its ready message to its orderly end."""
    program = Program(arguments, {name: str(value) for name, value in environment.items()}, ready)
    try:
        yield program
    finally:
        program.process.send_signal(signal.SIGINT)
        try:
            program.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            program.process.kill()


def entasis(data_dir: Path, *arguments: str, **settings: object) -> list[object]:
    """Arguments and environment of `entasis` on free ports: to be spread into `running`."""
    environment = {
        "ENTASIS_DATA_DIR": data_dir,
        "ENTASIS_REST_PORT": 0,
        "ENTASIS_GRPC_PORT": 0,
        "ENTASIS_ENVOY_ADMIN_PORT": 0,
        "ENTASIS_METRICS_PORT": 0,
        "ENTASIS_LOG_LEVEL": "warning",
        "ENTASIS_TRAINING": "off",
        "ENTASIS_HOURLY_HISTORY_DAYS": 30,
    } | {f"ENTASIS_{name.upper()}": value for name, value in settings.items()}
    return [[str(BIN / "entasis"), *arguments], environment]


def make_key(data_dir: Path) -> str:
    """A key of an account that may call as often as it likes."""
    now = system_clock()
    with closing(AccessStore(data_dir / "access.db")) as store:
        store.create_account("bench", None, now)
        _, text = store.create_key("bench", ["market:read", "analysis:read"], "", None, [], 100_000_000, now)
    return text
