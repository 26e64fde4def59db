"""grpc-gateway in place of Envoy: the same answers to every recorded request, but for what docs/gateway.md lists."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.api import annotations_pb2
from tests.e2e.conftest import Running, Start
from tests.support.access import make_key
from tests.support.hourly_model import keep_hourly_model
from tests.support.recorded_requests import Request, recorded

from entasis.access.v1 import access_pb2
from entasis.analysis.v1 import analysis_pb2
from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis.web.v1 import web_pb2

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]  # a cold build of Go takes a minute on one core

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/gateway.md"
BUILT = ROOT / "build/go/bin/gateway"
ANSWER_SECONDS_MAX = 20.0
SERVICES = [
    service
    for module in (access_pb2, analysis_pb2, market_pb2, portfolio_pb2, web_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
MINUTE = "2024-03-21T12:34:56Z"
"""Where the market stands still, so that both fronts see the same prices."""
COMPARED_HEADERS = (
    "content-type",
    "x-error-code",
    "retry-after",
    "www-authenticate",
    "allow",
    "location",
    "cache-control",
    "idempotency-replayed",
)
PER_CALL = [
    (re.compile(r"20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+Z"), "<now>"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<token>"),
]
"""What differs from call to call on one front, too: today's time, and tokens."""
PER_STREAM = {"portfolio/positions:stream": ("seq",)}
"""Numbers that begin anew with each stream that is opened."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """Those that are compared."""
    body: Any
    """Decoded where it is JSON."""


@dataclass
class Front:
    """One way to the engine, with an account of its own, so that writes on one leave the other as it was."""

    name: str
    address: str
    keys: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    """Names, in the order they came up, for what each account has of its own."""

    def ask(self, request: Request) -> Answer:
        """The answer, with what belongs to the call or the account put in common terms."""
        headers = {name: self._filled(value) for name, value in request.headers.items()}
        if request.key != "none":
            headers["X-API-Key"] = self.keys[request.key]
        body = None if request.body is None else self._filled(request.body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request(request.method, self._filled(request.path), body, headers)
            response = connection.getresponse()
            text = _first_message(response) if request.stream and response.status == 200 else response.read()
        finally:
            connection.close()
        compared = {
            name: value.partition(";")[0]
            for name in COMPARED_HEADERS
            if (value := response.headers.get(name)) is not None
        }
        answer = Answer(response.status, compared, _decoded(text))
        for name, member in request.keep.items():
            self.kept[name] = answer.body[member]
        return answer._replace(body=self._in_common_terms(answer.body, path=request.path))

    def opened(self, path: str) -> http.client.HTTPResponse:
        """A stream whose first message has come."""
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER_SECONDS_MAX)
        connection.request("GET", path)
        response = connection.getresponse()
        assert _first_message(response)
        return response

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.kept.get(found[1], found[0]), text)

    def _in_common_terms(self, value: Any, *, path: str, name: str = "") -> Any:
        if isinstance(value, dict):
            return {one: self._in_common_terms(of, path=path, name=one) for one, of in value.items()}
        if isinstance(value, list):
            return [self._in_common_terms(one, path=path, name=name) for one in value]
        if not isinstance(value, str):
            return value
        if name in PER_STREAM.get(path.partition("/v1/")[2].partition("?")[0], ()):
            return f"<{name}>"
        if name == "next_page_token" and value and "portfolio" in path:
            return f"<{name}>"  # made of ids
        for pattern, common in PER_CALL:
            value = pattern.sub(common, value)
        return re.sub(r"\b(?:acc|pos|trd|txn)_[0-9a-z]{12,26}\b", self._named, value)

    def _named(self, found: re.Match[str]) -> str:
        kind = found[0].partition("_")[0]
        return self.seen.setdefault(found[0], f"<{kind} {len(self.seen)}>")


class Difference(NamedTuple):
    """A row of the page."""

    requests: str
    parts: frozenset[str]
    pattern: re.Pattern[str]


def _first_message(response: http.client.HTTPResponse) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        text += response.read(1)
    return text


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text.removeprefix(b"data: "))
    except ValueError:
        return text.decode("utf-8", "replace")


def differences() -> list[Difference]:
    """The table of docs/gateway.md: requests (with `*` for anything), and the parts that differ."""
    rows = re.findall(r"^\| (`.+?`(?:<br>`.+?`)*) \| ([a-z, ]+) \|", PAGE.read_text(), re.MULTILINE)
    return [
        Difference(
            requests,
            frozenset(parts.split(", ")),
            re.compile(
                "|".join(re.escape(one).replace(r"\*", ".*") for one in re.findall(r"`(.+?)`", requests)), re.DOTALL
            ),
        )
        for requests, parts in rows
    ]


def differing(envoy: Answer, gateway: Answer) -> set[str]:
    """The parts in which two answers differ."""
    parts = set()
    if envoy.status != gateway.status:
        parts.add("status")
    if envoy.headers != gateway.headers:
        parts.add("headers")
    if envoy.body != gateway.body:
        parts.add("words" if _without_words(envoy.body) == _without_words(gateway.body) else "body")
    return parts


def _without_words(body: Any) -> Any:
    """A status without what is said in words: its message, and what is wrong with a field."""
    if isinstance(body, dict):
        return {name: _without_words(of) for name, of in body.items() if name not in ("message", "description")}
    return [_without_words(one) for one in body] if isinstance(body, list) else body


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    keep_hourly_model(folder)
    return folder


@pytest.fixture(scope="module")
def keys(data_dir: Path) -> dict[str, dict[str, str]]:
    """Keys of an account for each front."""
    return {
        front: {
            "own": make_key(
                data_dir, account=front, scopes=["market:read", "portfolio:read", "portfolio:write", "analysis:read"]
            ),
            "narrow": make_key(data_dir, account=front, scopes=["market:read"]),
            "wrong": "ek_nobody",
        }
        for front in ("envoy", "gateway")
    }


@pytest.fixture(scope="module")
def engine(start: Start, data_dir: Path, keys: dict[str, dict[str, str]]) -> Running:
    return start(
        "serve",
        "engine",
        data_dir=data_dir,
        fresh=True,
        simulated_speed=1e-12,
        simulated_origin=MINUTE,
        symbols="BTC-USDT,ETH-USDT",
        stale_after_seconds=3600,
        hourly_history_days=40,
        anonymous_rate_limit_per_minute=1_000_000,
    )


@pytest.fixture(scope="module")
def envoy(start: Start, engine: Running, data_dir: Path, keys: dict[str, dict[str, str]]) -> Front:
    engine.until_said("unix:")
    edge = start("serve", "edge", data_dir=data_dir, fresh=True)
    return Front("envoy", edge.web.removeprefix("http://"), keys["envoy"])


@pytest.fixture(scope="module")
def gateway(engine: Running, data_dir: Path, keys: dict[str, dict[str, str]]) -> Iterator[Front]:
    go = shutil.which("go")
    if go is None:
        pytest.skip("skipped: no Go")
    subprocess.run([go, "build", "-o", str(BUILT), "."], cwd=ROOT / "tests/stubs/gateway", check=True)
    engine.until_said("unix:")
    program = subprocess.Popen(
        [str(BUILT), "-engine", f"unix:{data_dir / 'engine.sock'}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        yield Front("gateway", program.stdout.readline().strip().removeprefix("http://"), keys["gateway"])
    finally:
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=30) == 0


def test_every_binding_is_among_the_recorded_requests() -> None:
    """Each method and path that the protos give an RPC is asked for at least once."""
    asked = {(request.method, request.path.partition("?")[0]) for request in recorded()}
    for service in SERVICES:
        for rpc in service.methods:
            rule = rpc.GetOptions().Extensions[annotations_pb2.http]
            for binding in (rule, *rule.additional_bindings):
                method = str(binding.WhichOneof("pattern") or "").upper()
                path = re.sub(r"\\\{\w+(?:=([^}]*?))?\\\}", _segments, re.escape(getattr(binding, method.lower(), "")))
                if method:
                    assert any(one == method and re.fullmatch(path, at) for one, at in asked), f"{method} {path}"


def _segments(variable: re.Match[str]) -> str:
    """What a variable of a path stands for: one segment, unless it has a template of its own."""
    return (variable[1] or r"\*").replace(r"\*", "[^/]+")


def test_the_fronts_answer_alike_but_for_what_is_listed(envoy: Front, gateway: Front) -> None:
    """Status, headers and body of each answer are the same, or differ as the page says, and then every time."""
    rows = differences()
    asked = list(recorded())
    assert f"{len(asked)} recorded requests" in PAGE.read_text()
    occurred: set[str] = set()
    wrong: list[str] = []
    for request in asked:
        one, other = envoy.ask(request), gateway.ask(request)
        found = differing(one, other)
        listed = [row for row in rows if row.pattern.fullmatch(request.line)]
        occurred |= {row.requests for row in listed}
        if found != set().union(*(row.parts for row in listed)):
            wrong.append(f"{request.line}\n  differs in {sorted(found)}\n  envoy   {one}\n  gateway {other}")
    assert not wrong, f"{len(wrong)} of {len(asked)} are not as listed:\n" + "\n".join(wrong)
    assert occurred == {row.requests for row in rows}, "listed, but never asked"


def test_an_engine_that_is_gone_is_told_alike(engine: Running, envoy: Front, gateway: Front) -> None:
    """Once the engine has stopped both answer 503; of a stream's end grpc-gateway alone says why. Comes last."""
    path = "/v1/market/prices:stream?symbols=BTC-USDT"
    envoy_stream, gateway_stream = envoy.opened(path), gateway.opened(path)
    assert engine.stop() == 0
    assert envoy_stream.read() == b""
    assert json.loads(gateway_stream.read())["details"][0]["reason"] == "SERVER_002"
    price = Request("GET", "/v1/market/price/BTC-USDT")
    one, other = envoy.ask(price), gateway.ask(price)
    assert one == other
    assert (one.status, one.headers["x-error-code"], one.headers["retry-after"]) == (503, "SERVER_002", "1")
