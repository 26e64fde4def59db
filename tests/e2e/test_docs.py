"""Every command of the README and of docs/ does what it says: page by page, in order, against a running engine.

A page is worked through in a shell of its own, in a folder that looks like the checkout and is thrown away. What cannot
be run so stands in a table, `tests/support/docs.py`, with the reason and with what runs it instead.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Running, Start
from tests.support import docs
from tests.support.access import make_key

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BLOCK_SECONDS_MAX = 180.0
FORECAST_SECONDS_MAX = 240
PROGRAMS = ("bash", "curl", "jq", "openssl", "sqlite3")


def pages_with(languages: set[str]) -> list[str]:
    return [page for page in docs.pages() if any(block.language in languages for block in docs.blocks_of(page))]


PAGES = pages_with(docs.SHELL | docs.PYTHON | docs.JAVASCRIPT)

# Stands where curl does. It leaves the statuses for the test, ends a stream after its first line and a WebSocket after
# a second, and waits for the first models as `Retry-After` says.
CURL = f"""#!{sys.executable} -S
import os, subprocess, sys, tempfile
arguments = sys.argv[1:]
handle, head = tempfile.mkstemp(dir=os.environ["DOCS_HEADS"])
stream = "-N" in arguments or any(":stream" in one for one in arguments)
forecast = any("/analysis/prediction" in one for one in arguments)
patience = ["--retry", "200", "--retry-max-time", "{FORECAST_SECONDS_MAX}"] if forecast else []
command = [os.environ["DOCS_CURL"], "-sS", "-D", head, *patience, *arguments]
if "Upgrade: websocket" in arguments:
    sys.exit(subprocess.run([*command, "--max-time", "5"]).returncode not in (0, 28))
if not stream:
    os.execv(command[0], command)
program = subprocess.Popen([*command, "-N"], stdout=subprocess.PIPE)
line = program.stdout.readline()
sys.stdout.buffer.write(line)
program.terminate() if line else None
sys.exit(program.wait() and not line)
"""

# Runs blocks of Python one after the other, as typed into one interpreter: a line of JSON in, a line of JSON out.
PYTHON = """
import ast, asyncio, contextlib, inspect, io, json, sys, traceback
names, loop = {"__name__": "__main__"}, asyncio.new_event_loop()
for line in sys.stdin:
    block, printed, wrong = json.loads(line), io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            code = compile(block["text"], block["where"], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.iscoroutine(waiting := eval(code, names)):
                loop.run_until_complete(waiting)
        except BaseException:
            wrong = traceback.format_exc()
    print(json.dumps({"printed": printed.getvalue(), "wrong": wrong}), flush=True)
"""


class Session:
    """Someone who works through a page: a shell and an interpreter, each remembering what the blocks before made."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], ports: Mapping[str, str], node: list[str] | None
    ) -> None:
        self._folder = folder
        self._node = node
        self._environment = dict(environment)
        self._ports = ports
        self._heads = Path(environment["DOCS_HEADS"])
        self._python: subprocess.Popen[str] | None = None

    def close(self) -> None:
        if self._python is not None:
            self._python.kill()
            self._python.communicate()

    def _here(self, text: str) -> str:
        """The text with the ports that this engine has, in place of those that one has by default."""
        text = re.sub(r"\bEntasis\((?!\")", 'Entasis("127.0.0.1:8080", ', text)  # where our client finds it by itself
        pattern = rf"(127\.0\.0\.1|localhost):({'|'.join(self._ports)})\b"
        return re.sub(pattern, lambda found: f"{found[1]}:{self._ports[found[2]]}", text)

    def run(self, block: docs.Block) -> str:
        """Run a block, where it is of a language that is run, and give what it printed; fails where it does."""
        if block.language in docs.SHELL:
            return self._run_shell(block)
        if block.language in docs.PYTHON:
            return self._run_python(block)
        return self._run_javascript(block) if block.language in docs.JAVASCRIPT else ""

    def _run_shell(self, block: docs.Block) -> str:
        """What the table does not leave out."""
        commands = docs.commands_to_run(block)
        text = block.text if commands == docs.commands_in(block) and block.language == "sh" else "\n".join(commands)
        if not commands:
            return ""
        for head in self._heads.iterdir():
            head.unlink()
        kept = self._heads.with_name("environment")
        script = f"set -aeuo pipefail\ntrap 'env -0 >{kept}; pwd >{kept}.folder' EXIT\n{self._here(text)}"
        seconds = BLOCK_SECONDS_MAX + FORECAST_SECONDS_MAX * ("/analysis/prediction" in text)
        program = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            printed, wrong = program.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)  # bash, and what it started
            program.communicate()
            raise AssertionError(f"{block.where} does not end:\n{text}") from None
        self._environment = dict(one.split("=", 1) for one in kept.read_text().split("\0") if one)
        self._folder = Path(kept.with_suffix(".folder").read_text().strip())
        assert program.returncode == 0, f"{block.where} ended with {program.returncode}:\n{text}\n{printed}{wrong}"
        statuses = [self._status(head) for head in self._heads.iterdir()]
        refused = [status for status in statuses if status >= 400]
        if not docs.shows_an_error(block.sample):
            assert not refused, f"{block.where} was answered {refused}:\n{text}\n{printed}"
        return printed

    @staticmethod
    def _status(head: Path) -> int:
        """The status of the last answer, which is not the first where curl tried again."""
        return int(re.findall(r"^HTTP/\S+ (\d{3})", head.read_text(), re.MULTILINE)[-1])

    def _run_python(self, block: docs.Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", PYTHON],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps({"text": self._here(block.text), "where": block.where}) + "\n")
        self._python.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._python.stdout, selectors.EVENT_READ)
            assert selector.select(BLOCK_SECONDS_MAX), f"{block.where} does not end"
        answer: dict[str, Any] = json.loads(self._python.stdout.readline())
        assert not answer["wrong"], f"{block.where}:\n{answer['wrong']}"
        return str(answer["printed"])

    def _run_javascript(self, block: docs.Block) -> str:
        """As a module. A block that opens a WebSocket never ends: it must print something."""
        if self._node is None:
            pytest.skip("skipped: no Node.js")
        text = f"const key = process.env.KEY;\n{self._here(block.text)}"
        program = subprocess.Popen(
            [*self._node, "--input-type=module", "-e", text],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        try:
            if "new WebSocket(" not in text:
                printed, wrong = program.communicate(timeout=BLOCK_SECONDS_MAX)
                assert program.returncode == 0, f"{block.where}:\n{wrong}"
                return printed
            with selectors.DefaultSelector() as selector:
                selector.register(program.stdout, selectors.EVENT_READ)
                assert selector.select(BLOCK_SECONDS_MAX), f"{block.where} prints nothing"
            line = program.stdout.readline()
            assert line, f"{block.where} printed nothing:\n{program.communicate()[1]}"
            return line
        finally:
            program.kill()
            program.communicate()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the paths of the checkout are there, and what is written is not in the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in docs.ROOT.iterdir():
        if not path.name.startswith(("entasis-data", ".env", ".git")):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def environment(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What commands find: our programs, and a curl that the test can follow."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "curl").write_text(CURL)
    (programs / "curl").chmod(0o755)
    found = {name: value for name, value in os.environ.items() if not name.startswith("ENTASIS_")}
    return found | {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DOCS_CURL": shutil.which("curl") or "curl",
        "DOCS_HEADS": str(tmp_path_factory.mktemp("heads")),
        "OPENBLAS_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def keys(checkout: Path) -> dict[str, str]:
    """A key of all scopes for each page, made before the engine starts, which would look for new ones once a second."""
    accounts = {page: re.sub(r"[^a-z0-9]+", "-", page.lower()).strip("-") for page in PAGES}
    return {page: make_key(checkout / "entasis-data", account=account) for page, account in accounts.items()}


@pytest.fixture(scope="module")
def up(start: Start, checkout: Path, keys: dict[str, str]) -> Running:
    """An engine of this folder, with models that it trains while the first pages are run."""
    return start(
        "up",
        data_dir=checkout / "entasis-data",
        training="auto",
        hourly_history_days=190,
        symbols="BTC-USDT,ETH-USDT",
    )


@pytest.fixture(scope="module")
def up_with_tls(start: Start, checkout: Path, environment: dict[str, str]) -> Running:
    """Another one, with a certificate: its gRPC port speaks TLS alone."""
    entasis = Path(sys.executable).parent / "entasis"
    made = subprocess.run(
        [entasis, "certs"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    # What the page supposes: certificates of another authority, and the next ones.
    shutil.copytree(checkout / "entasis-data" / "certs", checkout / "certs")
    shutil.copy(checkout / "certs" / "server.key", checkout / "new.key")
    shutil.copy(checkout / "certs" / "server.pem", checkout / "new.pem")
    tls = dict(re.findall(r"^ENTASIS_(TLS_\w+)=(.*)$", made.stdout, re.MULTILINE))
    return start("up", **{name.lower(): checkout / value for name, value in tls.items()})


@pytest.fixture(scope="module")
def node() -> list[str] | None:
    """How Node.js is started so that it has WebSockets; None where it is absent."""
    program = shutil.which("node")
    if program is None:
        return None
    version = subprocess.run([program, "-p", "process.versions.node"], check=True, capture_output=True, text=True)
    flags = ["--experimental-websocket"] if int(version.stdout.split(".")[0]) < 22 else []
    return [program, *flags, "--no-warnings"]


@pytest.fixture
def session(
    keys: dict[str, str],
    checkout: Path,
    environment: dict[str, str],
    node: list[str] | None,
    request: pytest.FixtureRequest,
) -> Iterator[Session]:
    """Someone with an account of their own, so that no page finds the positions of another."""
    page = request.node.callspec.params["page"]
    tls = any(":8443" in block.text for block in docs.blocks_of(page))
    up: Running = request.getfixturevalue("up_with_tls" if tls else "up")
    ports = {
        "8080": up.web.rpartition(":")[2],
        "50051": up.engine.rpartition(":")[2],
        "9464": up.until_said(r":(\d+)/metrics")[1],
    }
    settings = {"REST_PORT": ports["8080"], "GRPC_PORT": ports["50051"], "METRICS_PORT": ports["9464"]}
    if tls:
        ports["8443"] = up.until_said(r"wss://[^:]+:(\d+)")[1]
    opened = Session(
        checkout,
        environment | {f"ENTASIS_{name}": value for name, value in settings.items()} | {"KEY": keys[page]},
        ports,
        node,
    )
    yield opened
    opened.close()
    (checkout / ".env").unlink(missing_ok=True)  # what a page sets is not for the next one


def run(page: str, languages: set[str], session: Session) -> None:
    for block in docs.blocks_of(page):
        if block.language in languages:
            printed = session.run(block)
            assert not block.sample or not docs.differences(block.sample, printed), block.where


@pytest.mark.parametrize("page", pages_with(docs.SHELL | docs.PYTHON))
def test_the_commands_of_a_page_do_what_it_says(page: str, session: Session) -> None:
    """Each block of shell and Python ends well, no answer is an error that is not shown, and samples have the form of
    what is printed.
    """
    shell = "".join(block.text for block in docs.blocks_of(page) if block.language in docs.SHELL)
    absent = [one for one in PROGRAMS if re.search(rf"\b{one} ", shell) and shutil.which(one) is None]
    if absent:
        pytest.skip(f"skipped: no {', '.join(absent)}")
    run(page, docs.SHELL | docs.PYTHON, session)


@pytest.mark.parametrize("page", pages_with(docs.JAVASCRIPT))
def test_the_javascript_of_a_page_does_what_it_says(page: str, session: Session) -> None:
    """Each block of JavaScript runs in Node, and ends or goes on printing."""
    run(page, docs.JAVASCRIPT, session)


@pytest.mark.parametrize("page", ["README.md"])
@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "false | true"),
        ("sh", 'curl -H "X-API-Key: $KEY" http://127.0.0.1:8080/api/v1/market/prize/BTC-USDT'),
        ("sh", "curl http://127.0.0.1:8080/api/v1/market/price/BTC-USDT"),
        ("sh", "curl -N 'http://127.0.0.1:8080/api/v1/market/prices:stream?symbols=FOO-BAR'"),
        ("console", "$ echo fine\nfine\n$ no-such-command\n"),
        ("python", "print(1 / 0)"),
        ("js", "throw new Error('no')"),
        ("js", 'new WebSocket("ws://127.0.0.1:8080/nowhere").onerror = () => process.exit(1);'),
    ],
)
def test_a_command_that_does_not_do_what_it_says_is_found(
    page: str, language: str, text: str, session: Session
) -> None:
    """An exit code, an answer that is an error, an exception or a silence fails the page."""
    with pytest.raises(AssertionError):
        session.run(docs.Block(page, 1, language, text))
