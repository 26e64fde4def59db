"""A real PostgreSQL for tests: a server of its own in a temporary folder, on a unix socket and no port.

with running_postgres() as server:
    url = server.new_database()
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

USER = "postgres"


class PostgresMissingError(Exception):
    """There is no PostgreSQL to start here. The text says why."""


class Postgres:
    """A server that runs."""

    def __init__(self, bin_dir: Path, folder: Path, as_user: dict[str, Any]) -> None:
        self._bin_dir = bin_dir
        self._folder = folder
        self._as_user = as_user
        self._numbers = count(1)

    @property
    def pid(self) -> int:
        """Of the process that all others of the server are children of."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def new_database(self) -> str:
        """Make an empty database; gives its URL."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql+asyncpg://{USER}@/{name}?host={self._folder}"

    def sql(self, statement: str, database: str) -> str:
        """Run a statement by another connection; gives what it says, without headings."""
        arguments = ["-h", str(self._folder), "-U", USER, "-d", database, "-Atqc", statement]
        return self.run("psql", *arguments).strip()

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user."""
        done = subprocess.run(
            [self._bin_dir / program, *arguments],
            check=False,  # the error says more
            cwd=self._folder,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **self._as_user,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> None:
        # Not into a pipe: the server would keep it open, and whoever reads it would wait for ever.
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")


_END = """
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
rm -rf "$1"
"""


@cache
def shared_postgres() -> Postgres:
    """One server for all tests of this process; it ends with it."""
    ending = ExitStack()
    atexit.register(ending.close)
    return ending.enter_context(running_postgres())


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Start a server, and end it at the end.

    Args:
        durable: wait for the disk, as a server does by default; tests that kill only clients need not.

    Raises `PostgresMissingError` where it is not installed, or may not be started.
    """
    bin_dir, as_user = _installed(), _server_user()
    folder = Path(tempfile.mkdtemp(prefix="entasis-postgres-"))
    # Waits until its input ends, which also happens when this process is killed.
    ending = subprocess.Popen(["sh", "-c", _END, "sh", folder], stdin=subprocess.PIPE, start_new_session=True)
    try:
        if as_user:
            shutil.chown(folder, USER, USER)
        server = Postgres(bin_dir, folder, as_user)
        server.run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "shared_buffers": "64MB"}
        if not durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        server.start()
        yield server
    finally:
        ending.communicate()


def _installed() -> Path:
    found = [Path(path).resolve().parent for path in (shutil.which("initdb"),) if path]
    found += sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    if not found:
        raise PostgresMissingError("PostgreSQL is not installed (no initdb on the PATH or in /usr/lib/postgresql)")
    return found[0]


def _server_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, so that root starts it as the user that its package made."""
    if os.geteuid() != 0:
        return {}
    import pwd

    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise PostgresMissingError(f"PostgreSQL does not run as root, and there is no user {USER}") from None
    return {"user": USER, "group": USER, "extra_groups": []}
