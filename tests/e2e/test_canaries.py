"""No secret shows anywhere: canaries are used in every way, right and wrong, and then every byte is searched."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import grpc
import jwt
import psutil
import pytest
from grpc_status import rpc_status
from tests.e2e.conftest import eventually
from tests.support.access import make_key
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from entasis.access.v1 import access_pb2
from entasis.market.v1 import market_pb2
from entasis_engine.access import keys
from entasis_engine.access.directory import ApiKey
from entasis_engine.access.gate import Caller
from entasis_engine.access.store import AccessStore
from entasis_engine.access.tokens import Tokens, VerificationKey
from entasis_engine.calls import Call, Principal
from entasis_engine.settings import Settings
from entasis_engine.times import system_clock
from entasis_engine.websocket.access import Credentials
from entasis_engine.websocket.protocol import Auth

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NEEDLE_CHARACTERS = 12
"""So many characters of a secret in a row, in any of the forms below, are a leak."""
PROGRAM = str(Path(sys.executable).parent / "entasis")
MARKET = market_pb2.DESCRIPTOR.services_by_name["MarketService"].full_name
ACCESS = access_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name
PRICE = "/api/v1/market/price/BTC-USDT"
TOKEN = "/api/v1/auth/token"


# --- The search ---------------------------------------------------------------------------------------------------


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, in hexadecimal digits, and in base64 at each place that it may begin at."""
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        # The first and the last characters depend on what stands beside it.
        inner = encoded[(0, 2, 3)[shift] : -1]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def windows(content: bytes) -> Iterator[bytes]:
    return (content[at : at + NEEDLE_CHARACTERS] for at in range(len(content) - NEEDLE_CHARACTERS + 1))


class Canaries:
    """Secrets by what they are called, and the search for them."""

    def __init__(self) -> None:
        self._needles: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(set(self._needles.values()))

    def keep(self, name: str, secret: str) -> None:
        """From now on this is a secret."""
        for form in forms(secret):
            self._needles.update(dict.fromkeys(windows(form), name))

    def key(self, name: str) -> str:
        """A key's text, of no key that there is."""
        return self.known_key(name, keys.new_key().text)

    def known_key(self, name: str, text: str) -> str:
        self.keep(name, text.split("_")[2])
        return text

    def token(self, name: str, text: str) -> str:
        self.keep(name, text.rpartition(".")[2])
        return text

    def found_in(self, content: bytes) -> set[str]:
        """The names of the secrets of which there is a piece in some bytes, also where they are URL-encoded."""
        found: set[str] = set()
        for text in {content, unquote_to_bytes(content)} if b"%" in content else {content}:
            found |= {self._needles[needle] for needle in self._needles.keys() & set(windows(text))}
        return found


@pytest.mark.parametrize(
    "disguise",
    [
        lambda secret: secret,
        lambda secret: secret[7:19],
        lambda secret: quote(secret, safe=""),
        lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
        lambda secret: secret.encode().hex(),
        lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(f"x{secret}yz".encode()).decode(),
        lambda secret: base64.b64encode(f"{secret}".encode()).decode(),
    ],
)
def test_the_search_finds_what_is_there(tmp_path: Path, disguise: Callable[[str], str]) -> None:
    """A secret that is planted in a file of the folder, in whatever form, is found there and in no other file."""
    canaries, other = Canaries(), Canaries()
    secret = canaries.key("planted").split("_")[2]
    other.key("elsewhere")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(secrets.token_bytes(5000) + disguise(secret).encode() + b"\0\xff")
    (tmp_path / "innocent").write_bytes(secrets.token_bytes(5000) + secret[:11].encode())
    assert leaks(canaries, tmp_path) == {"deep/file.bin": {"planted"}}
    assert leaks(other, tmp_path) == {}


def leaks(canaries: Canaries, folder: Path) -> dict[str, set[str]]:
    """The files of a folder in which there are secrets."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found = {name: canaries.found_in(path.read_bytes()) for name, path in files.items()}
    return {name: names for name, names in found.items() if names}


# --- The program --------------------------------------------------------------------------------------------------


class Program:
    """`entasis up`, with all that it says in a file."""

    def __init__(self, folder: Path, output: Path, **settings: object) -> None:
        ports = dict.fromkeys(("rest_port", "grpc_port", "envoy_admin_port", "metrics_port", "https_port"), 0)
        self.environment = os.environ | {
            f"ENTASIS_{name.upper()}": str(value) for name, value in (ports | {"data_dir": folder} | settings).items()
        }
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [PROGRAM, "up"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            eventually(lambda: self.said, lambda said: "Ctrl-C ends it" in said or self.process.poll() is not None)
        except AssertionError:
            self.stop()
            raise
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self._output.read_text()

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found, self.said
        return found[1]

    @property
    def authority(self) -> str:
        return self._found(r"ws://([^/]+)/ws/market")

    @property
    def engine(self) -> str:
        return "127.0.0.1:" + self._found(r"port (\d+) directly")

    @property
    def metrics(self) -> str:
        return self._found(r"http://([^/]+)/metrics")

    @property
    def bridge_socket(self) -> str:
        return self._found(r'"unix_path": "([^"]+)"')

    @property
    def demo_key(self) -> str:
        return self._found(r"Key +(ek_\w+)")

    @property
    def family(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    @property
    def envoy(self) -> psutil.Process:
        (found,) = [one for one in self.family if "--admin-address-path" in one.cmdline()]
        return found

    @property
    def admin(self) -> str:
        line = self.envoy.cmdline()
        return Path(line[line.index("--admin-address-path") + 1]).read_text()

    def stop(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGINT)
            self.process.wait(timeout=30)


@dataclass
class Scene:
    """What was done with the canaries, and all that was answered."""

    canaries: Canaries
    program: Program
    folder: Path
    output: Path
    answers: list[tuple[str, bytes, set[str]]] = field(default_factory=list)
    """To what, the whole answer, and the secrets that it may have: what a caller put where no credential belongs."""
    told: list[tuple[str, bytes, set[str]]] = field(default_factory=list)
    """The same of commands."""
    pages: dict[str, bytes] = field(default_factory=dict)
    """What the operator's pages show."""
    processes: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    """Name, arguments and environment of the program's processes."""

    def wrong(self, kept: Sequence[tuple[str, bytes, set[str]]]) -> list[tuple[str, set[str]]]:
        found = [(what, self.canaries.found_in(answer) - may) for what, answer, may in kept]
        return [(what, names) for what, names in found if names]

    # REST and WebSocket handshakes, byte for byte, so that nothing of a client's own stands in the way.

    def exchange(self, what: str, request: bytes, may: set[str] | None = None, *, unix: str | None = None) -> bytes:
        """Send bytes, and keep what comes back."""
        host, _, port = self.program.authority.rpartition(":")
        with socket.socket(socket.AF_UNIX) if unix else socket.create_connection((host, int(port))) as opened:
            opened.settimeout(30)
            if unix:
                opened.connect(unix)
            answer = b""
            with suppress(ConnectionError):
                opened.sendall(request)
            with suppress(ConnectionError, TimeoutError):
                while not _is_whole(answer) and (received := opened.recv(65_536)):
                    answer += received
        self.answers.append((what, answer, may or set()))
        return answer

    def rest(
        self,
        what: str,
        path: str = PRICE,
        *headers: tuple[str, str],
        body: str | bytes | None = None,
        may: set[str] | None = None,
        method: str = "",
    ) -> bytes:
        content = b"" if body is None else body if isinstance(body, bytes) else body.encode()
        lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "Host: localhost"]
        lines += ["Connection: close", f"Content-Length: {len(content)}"] if not method else ["Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        return self.exchange(what, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content, may)

    def socket(
        self, what: str, *headers: tuple[str, str], query: str = "", unix: str | None = None, **options: Any
    ) -> bytes:
        lines = [f"GET /ws/market{query} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return self.exchange(what, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", unix=unix, **options)

    def grpc(
        self,
        what: str,
        target: str,
        *metadata: tuple[str, str | bytes],
        method: str = f"/{MARKET}/GetPrice",
        request: bytes | None = None,
        agent: str = "",
        may: set[str] | None = None,
    ) -> bytes:
        """A gRPC call; gives the answer's message."""
        content = market_pb2.GetPriceRequest(symbol="BTC-USDT").SerializeToString() if request is None else request
        answer, headers = b"", []
        with grpc.insecure_channel(target, options=[("grpc.primary_user_agent", agent)] if agent else []) as channel:
            try:
                answer, call = channel.unary_unary(method).with_call(content, metadata=metadata, timeout=30)
                headers = [*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())]
            except grpc.RpcError as error:
                headers = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()), ("", error.details())]
                with suppress(ValueError):
                    headers.append(("", str(rpc_status.from_call(error))))
        self.answers.append((what, repr((answer, headers)).encode() + answer, may or set()))
        return answer

    def web(self, what: str, *headers: tuple[str, str], request: bytes = b"\n\x08BTC-USDT", **options: Any) -> None:
        """A gRPC-Web call."""
        kind = (("Content-Type", "application/grpc-web+proto"), ("X-Grpc-Web", "1"))
        body = struct.pack(">BI", 0, len(request)) + request
        self.rest(f"gRPC-Web: {what}", f"/{MARKET}/GetPrice", *kind, *headers, body=body, **options)

    def messages(self, what: str, *sent: str | bytes, may: set[str] | None = None, **options: Any) -> None:
        """Send WebSocket messages, and keep all that comes until a pong, or the end."""
        received: list[str | bytes] = []
        with connect(f"ws://{self.program.authority}/ws/market", open_timeout=30, proxy=None, **options) as opened:
            assert opened.response is not None
            received.append(str(list(opened.response.headers.raw_items())))
            try:
                for message in sent:
                    opened.send(message)
                opened.send(json.dumps({"action": "ping", "id": "fence"}))
                while '"fence"' not in str(message := opened.recv(timeout=30)):
                    received.append(message)
            except ConnectionClosed as closed:
                received.append(str(closed))
        self.answers.append((what, repr(received).encode(), may or set()))

    def command(self, what: str, *arguments: str, may: set[str] | None = None, **settings: str) -> tuple[str, str]:
        """Run a command; gives what it said on standard output and on standard error."""
        environment = {**self.program.environment, "COLUMNS": "400"}
        environment |= {f"ENTASIS_{name.upper()}": value for name, value in settings.items()}
        done = subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        self.told.append((what, f"{done.stdout}{done.stderr}".encode(), may or set()))
        return done.stdout.strip(), done.stderr


def _is_whole(answer: bytes) -> bool:
    """Whether nothing more is to come of an HTTP answer; Envoy puts off the end of the connection."""
    head, end, content = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and (head.startswith(b"HTTP/1.1 101") or (length is not None and len(content) >= int(length[1])))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Everything was done with canaries that can be done, and the program has ended."""
    canaries, folder = Canaries(), tmp_path_factory.mktemp("canaries")
    jwt_secret = secrets.token_urlsafe(36)
    canaries.keep("JWT secret", jwt_secret)
    output = tmp_path_factory.mktemp("output") / "said"
    told = {"log_level": "debug", "log_format": "json", "access_log": "all", "anonymous_rate_limit_per_minute": 100_000}
    program = Program(folder, output, jwt_secret=jwt_secret, **told)
    scene = Scene(canaries, program, folder, output)
    try:
        canaries.known_key("demo key", program.demo_key)
        use_everything(scene)
        look(scene)
    finally:
        program.stop()
    return scene


def look(scene: Scene) -> None:
    """Keep what the operator's pages and the list of processes show while the program runs."""
    for host, paths in (
        (scene.program.metrics, ["/metrics"]),
        (
            scene.program.admin,
            [
                "/stats",
                "/stats/prometheus",
                "/config_dump?include_eds",
                "/clusters",
                "/listeners",
                "/server_info",
                "/certs",
            ],
        ),
    ):
        for path in paths:
            with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                assert answer.status == 200
                scene.pages[path] = answer.read()
    scene.pages["envoy.json"] = (Path(scene.program.bridge_socket).parent / "envoy.json").read_bytes()
    scene.processes = [
        (one.name(), "\n".join(one.cmdline()).encode(), json.dumps(one.environ()).encode())
        for one in scene.program.family
    ]


def use_everything(scene: Scene) -> None:
    credentials = credentials_of(scene)
    for what, headers in credentials.items():
        in_headers(scene, what, headers)
    in_wrong_places(scene)
    in_wrong_places_of_grpc(scene)
    in_websockets(scene, credentials)
    in_commands(scene)


def credentials_of(scene: Scene) -> dict[str, Sequence[tuple[str, str]]]:
    """Headers with credentials, right and wrong."""
    canaries, folder = scene.canaries, scene.folder
    made = {
        "other account's key": make_key(folder, account="other"),
        "revoked key": make_key(folder),
        "expired key": make_key(folder, lives=timedelta(seconds=1), now=system_clock() - timedelta(minutes=1)),
        "key for elsewhere": make_key(folder, addresses=["198.51.100.0/24"]),
        "key without scope": make_key(folder, scopes=["admin"]),
        "key beyond its limit": make_key(folder, rate_limit=1),
        "unknown key": keys.new_key().text,
        "live key": make_key(folder),  # the last: once it is accepted, all others are known
    }
    for name, text in made.items():
        canaries.known_key(name, text)
    live = made["live key"]
    eventually(lambda: scene.rest("live key", PRICE, ("X-API-Key", live)), lambda answer: b" 200 OK" in answer)
    tokens = {}
    for name, key in (
        ("token", live),
        ("revoked token", made["revoked key"]),
        ("other token", made["other account's key"]),
    ):
        content = scene.rest("the token endpoint", TOKEN, ("X-API-Key", key), body="{}", may={name})
        tokens[name] = canaries.token(name, json.loads(content.partition(b"\r\n\r\n")[2])["access_token"])
    header, claims, signature = tokens["token"].split(".")
    payload = jwt.decode(tokens["token"], options={"verify_signature": False})
    ended = payload | {"exp": payload["iat"] - 60, "iat": payload["iat"] - 120, "nbf": payload["iat"] - 120}
    kid = jwt.get_unverified_header(tokens["token"])["kid"]
    secret = scene.program.environment["ENTASIS_JWT_SECRET"]
    tokens["expired token"] = jwt.encode(ended, secret, "HS256", headers={"typ": "at+jwt", "kid": kid})
    tokens["forged token"] = jwt.encode(
        payload, secrets.token_bytes(32), "HS256", headers={"typ": "at+jwt", "kid": kid}
    )
    for name in ("expired token", "forged token"):
        canaries.token(name, tokens[name])
    with closing(AccessStore(folder / "access.db")) as store:
        store.revoke_key(made["revoked key"].split("_")[1], system_clock())
    revoked = ("X-API-Key", made["revoked key"])
    eventually(lambda: scene.rest("revoked key", PRICE, revoked), lambda answer: b" 401 " in answer)

    found: dict[str, Sequence[tuple[str, str]]] = {name: [("X-API-Key", text)] for name, text in made.items()}
    found |= {name: [("Authorization", f"Bearer {text}")] for name, text in tokens.items()}
    basic = base64.b64encode(f"user:{live}".encode()).decode()
    for name, value in {
        "key as token": f"Bearer {live}",
        "key and token in one": f"Bearer {live} {tokens['token']}",
        "no scheme": tokens["token"],
        "unknown scheme": f"ApiKey {live}",
        "Basic with the key": f"Basic {basic}",
        "Basic, key as user": f"Basic {base64.b64encode(f'{live}:'.encode()).decode()}",
        "Basic, unencoded": f"Basic {live}",
        "claims changed": f"Bearer {header}.{claims[:-2]}AA.{signature}",
        "no signature but more": f"Bearer {header}.{claims}.{signature}.{signature}",
        "token in quotes": f'Bearer "{tokens["token"]}"',
        "token too long": f"Bearer {tokens['token'] * 20}",
        "token far too long": f"Bearer {signature * 200}",
        "not ASCII": f"Bearer {tokens['token']}\xe9",
    }.items():
        found[f"Authorization: {name}"] = [("Authorization", value)]
    for name, value in {
        "cut off": live[:-1],
        "with more": f"{live}x",
        "in quotes": f'"{live}"',
        "with its name": f"X-API-Key: {live}",
        "token as key": tokens["token"],
        "too long": live * 20,
        "far too long": live * 150,
        "not ASCII": f"{live}\xe9",
        "two in one": f"{live}, {made['unknown key']}",
    }.items():
        found[f"X-API-Key: {name}"] = [("X-API-Key", value)]
    found["two keys"] = [("X-API-Key", live), ("X-API-Key", made["unknown key"])]
    found["key and other account's token"] = [("X-API-Key", live), ("Authorization", f"Bearer {tokens['other token']}")]
    found["key and token"] = [("X-API-Key", live), ("Authorization", f"Bearer {tokens['token']}")]
    return found


def in_headers(scene: Scene, what: str, headers: Sequence[tuple[str, str]]) -> None:
    """Send credentials where they belong, over every transport but WebSocket."""
    metadata = [(name.lower(), value) for name, value in headers]
    scene.rest(what, PRICE, *headers)
    scene.rest(what, PRICE, *headers, ("Accept-Language", "ko"))
    scene.rest(what, "/api/v1/market/price/FOO-BAR", *headers)
    scene.rest(what, TOKEN, *headers, body='{"scopes": ["root"]}')
    scene.web(what, *headers)
    if all(value.isascii() for _, value in metadata):
        for target in (scene.program.engine, scene.program.authority):
            scene.grpc(f"{what}, by gRPC", target, *metadata)
            scene.grpc(f"{what}, by gRPC, not allowed", target, *metadata, method=f"/{ACCESS}/ListEndedSessions")


def in_wrong_places(scene: Scene) -> None:
    """Send keys over REST where no credential belongs. Each is another one, which alone may come back in the answer."""

    def wrong(what: str, path: str, *headers: tuple[str, str], body: str | None = None, method: str = "") -> None:
        """`KEY` in any of them is the canary."""
        name = f"key {what}"
        key = scene.canaries.key(name)
        sent = [(one.replace("KEY", key), value.replace("KEY", key)) for one, value in headers]
        if not any(one.lower() in {"x-api-key", "authorization"} for one, _ in headers):
            sent.append(("X-API-Key", scene.program.demo_key))
        content = None if body is None else body.replace("KEY", key)
        scene.rest(name, path.replace("KEY", key), *sent, body=content, method=method.replace("KEY", key), may={name})

    for parameter in ("api_key", "x-api-key", "token", "access_token", "symbol", "KEY"):
        wrong(f"in the query as {parameter}", f"{PRICE}?{parameter}=KEY")
    for parameter in ("interval", "start", "end", "page_token", "page_size"):
        wrong(f"in the query as {parameter}", f"/api/v1/market/history/BTC-USDT?{parameter}=KEY")
    wrong("in the query as symbols", "/api/v1/market/prices?symbols=KEY")
    wrong("in the query of a stream", "/api/v1/market/prices:stream?symbols=KEY")
    wrong("as depth", "/api/v1/market/orderbook/BTC-USDT?depth=KEY")
    for path in ("price", "history", "orderbook", "KEY"):
        wrong(f"in the path of {path}", f"/api/v1/market/{path}/KEY")
    wrong("as a path", "/KEY")
    wrong("in a path with an escaped slash", "/api/v1/market%2Fprice/KEY?api_key=KEY")
    wrong("in a path that is not UTF-8", "/api/v1/market/price/KEY%ff")
    wrong("in a path of /ws/market", "/ws/market/KEY")
    wrong("in a WebSocket path that asks for no WebSocket", "/ws/market?api_key=KEY")
    for body in (
        '{"KEY": 1}',
        '{"api_key": "KEY"}',
        '{"scopes": "KEY"}',
        '{"scopes": ["KEY"]}',
        '{"scopes": [{"a": "KEY"}]}',
        '{"lifetime_seconds": "KEY"}',
        '{"scopes": ["KEY"',
        '"KEY"',
        "KEY",
        '{"scopes": ["market:read"]} KEY',
        "api_key=KEY",
    ):
        wrong(f"in a body: {body}", TOKEN, body=body)
        wrong(f"in a body without a key: {body}", TOKEN, ("X-API-Key", "none"), body=body)
    wrong("in a body of a GET", PRICE, body="KEY", method="")
    wrong("in a large body", TOKEN, body='{"scopes": ["' + "KEY" * 1300 + '"]}')
    for header in (
        "User-Agent",
        "X-Request-Id",
        "Accept-Language",
        "Accept",
        "Cookie",
        "Referer",
        "Origin",
        "Content-Type",
        "X-Forwarded-For",
        "X-Client-IP",
        "X-Envoy-Original-Path",
        "X-Auth-Token",
        "Proxy-Authorization",
        "Api-Key",
        "Grpc-Timeout",
        "Traceparent",
        "Idempotency-Key",
        "Te",
        "Upgrade",
        "Expect",
        "X-Api-Key-Bin",
        "KEY",
    ):
        wrong(f"as {header}", PRICE, (header, "KEY"))
        wrong(f"as {header} without a key", PRICE, (header, "KEY"), ("X-API-Key", "none"))
    wrong("as a method", PRICE, method="KEY")
    wrong(
        "in a preflight", PRICE, ("Origin", "https://KEY"), ("Access-Control-Request-Method", "KEY"), method="OPTIONS"
    )
    name = "key in no HTTP at all"
    scene.exchange(name, f"{scene.canaries.key(name)}\r\n\r\n".encode(), {name})
    name = "key in a header that is cut off"
    scene.exchange(name, f"GET {PRICE} HTTP/1.1\r\nHost: x\r\n{scene.canaries.key(name)}\r\n\r\n".encode(), {name})
    name = "key with a control character"
    key = scene.canaries.key(name)
    scene.exchange(name, f"GET {PRICE} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\x01\r\n\r\n".encode())


def in_wrong_places_of_grpc(scene: Scene) -> None:
    """Send keys over gRPC where no credential belongs, to the engine itself and through Envoy."""
    for way, target in (("to the engine", scene.program.engine), ("through Envoy", scene.program.authority)):
        own = ("x-api-key", scene.program.demo_key)

        def wrong(
            what: str, *metadata: tuple[str, str | bytes], way: str = way, target: str = target, **given: Any
        ) -> None:
            name = f"key {what}, by gRPC {way}"
            key = scene.canaries.key(name)
            sent = [
                (one, value.replace("KEY", key) if isinstance(value, str) else key.encode()) for one, value in metadata
            ]
            for part, value in given.items():
                given[part] = (
                    value.replace("KEY", key) if isinstance(value, str) else value.replace(b"KEY", key.encode())
                )
            scene.grpc(name, target, *sent, may={name}, **given)

        for symbol in ("KEY", "BTC-USDT,KEY"):
            text = symbol.replace("KEY", "k" * 55)
            request = market_pb2.GetPriceRequest(symbol=text).SerializeToString().replace(b"k" * 55, b"KEY")
            wrong(f"as symbol {symbol}", own, request=request)
        wrong("in bytes that are no message", own, request=b"\xff\xffKEY")
        wrong("in an unknown field", own, request=b"\n\x08BTC-USDT\xfa\x07\x37KEY")
        wrong("as scope", own, request=b"\n\x37KEY", method=f"/{ACCESS}/IssueToken")
        wrong("in a large message", own, request=b"\n\x80\xd0\x04" + b"KEY" + b"x" * 75_000)
        for method in ("/KEY/KEY", f"/{MARKET}/KEY", "/entasis.KEY/GetPrice", "/KEY", f"/{MARKET}/GetPrice/KEY"):
            wrong(f"in the method {method}", own, method=method)
        for header in (
            "x-request-id",
            "accept-language",
            "user-agent-of-mine",
            "x-client-ip",
            "x-forwarded-for",
            "cookie",
        ):
            wrong(f"as {header}", own, (header, "KEY"))
            wrong(f"as {header} without a key", (header, "KEY"))
            wrong(f"as {header} of an unknown method", (header, "KEY"), method="/no.Service/Method")
        wrong("as x-api-key-bin", own, ("x-api-key-bin", b"KEY"))
        wrong("as x-envoy-original-path", own, ("x-envoy-original-path", "/api/v1/market/price/KEY?symbol=KEY"))
        wrong("as user agent", own, agent="KEY")
    name = "key as symbol, by gRPC-Web"
    key = scene.canaries.key(name)
    scene.web("symbol", ("X-API-Key", scene.program.demo_key), request=b"\n\x37" + key.encode(), may={name})


def in_websockets(scene: Scene, credentials: dict[str, Sequence[tuple[str, str]]]) -> None:
    """Use credentials in handshakes and messages of WebSockets, where they belong and where they do not."""
    for what, headers in credentials.items():
        scene.socket(f"handshake: {what}", *headers)
        value = headers[0][1]
        prefix = "bearer." if headers[0][0] == "Authorization" else "key."
        offer = value.removeprefix("Bearer ")
        scene.socket(f"subprotocol: {what}", ("Sec-WebSocket-Protocol", f"entasis.v1, {prefix}{offer}"))
        scene.socket(f"subprotocol alone: {what}", ("Sec-WebSocket-Protocol", f"{prefix}{offer}"))
        member = "token" if prefix == "bearer." else "api_key"
        if len(offer) < 10_000:
            scene.messages(f"auth: {what}", json.dumps({"action": "auth", member: offer, "id": 1}))
        scene.socket(f"bridge: {what}", *headers, unix=scene.program.bridge_socket)
    live = credentials["live key"][0][1]
    token = credentials["token"][0][1].removeprefix("Bearer ")
    scene.messages("a good subprotocol", subprotocols=[Subprotocol("entasis.v1"), Subprotocol(f"key.{live}")])
    with suppress(InvalidStatus, WebSocketException):
        scene.messages("a bad subprotocol", subprotocols=[Subprotocol(f"bearer.{token}")])
    scene.messages(
        "another account's key afterwards",
        json.dumps({"action": "auth", "api_key": live}),
        json.dumps({"action": "auth", "api_key": credentials["other account's key"][0][1]}),
    )

    sent: list[str | bytes] = []
    names: set[str] = set()
    for message in (
        "KEY",
        '"KEY"',
        '["KEY"]',
        '{"KEY": "KEY"}',
        '{"action": "KEY"}',
        '{"action": "auth", "api_key": ["KEY"]}',
        '{"action": "auth", "api_key": {"a": "KEY"}}',
        '{"action": "auth", "api_key": "a KEY"}',
        '{"action": "auth", "api_key": "KEY"',
        '{"action": "auth", "KEY": "KEY"}',
        '{"action": "auth", "token": 7, "api_key": "KEY", "id": 1}',
        '{"action": "auth", "token": "KEY", "api_key": "KEY"}',
        '{"action": "subscribe", "channel": "KEY", "symbols": ["BTC-USDT"]}',
        '{"action": "subscribe", "channel": "market", "symbols": ["KEY"]}',
        '{"action": "subscribe", "channel": "market", "symbols": ["KEY"], "id": 1}',
        '{"action": "subscribe", "channel": "market", "symbols": "KEY"}',
        '{"action": "subscribe", "channel": "market", "symbol": "KEY"}',
        '{"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": "KEY"}',
        '{"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "KEY"}',
        '{"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"], "resume": {"KEY": 1}}',
        '{"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"], "resume": {"BTC-USDT": "KEY"}}',
        '{"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"], "api_key": "KEY"}',
        '{"action": "ping", "id": "KEY"}',
        '{"action": "heartbeat", "seconds": "KEY"}',
    ):
        for kind in ("text", "binary"):
            name = f"key in a {kind} message: {message[:90]}"
            written = message.replace("KEY", scene.canaries.key(name))
            names.add(name)
            sent.append(written if kind == "text" else written.encode())
    scene.messages("wrong messages", *sent, may=names)
    scene.messages(
        "wrong messages of a caller who gave a key", *sent, may=names, additional_headers={"X-API-Key": live}
    )
    name = "key in a message that is too large"
    scene.messages(name, scene.canaries.key(name) * 400, may={name})
    for query in ("?api_key=KEY", "?token=KEY", "?KEY"):
        name = f"key in {query} of a WebSocket"
        key = scene.canaries.key(name)
        scene.socket(name, query=query.replace("KEY", key), may={name})
        scene.socket(name, ("X-API-Key", "none"), query=query.replace("KEY", key), may={name})
    for header in ("Origin", "User-Agent", "X-Request-Id", "Accept-Language", "Cookie", "Sec-WebSocket-Extensions"):
        name = f"key as {header} of a WebSocket"
        key = scene.canaries.key(name)
        scene.socket(name, (header, key), may={name})
        scene.socket(name, (header, key), ("X-API-Key", "none"), may={name})
        scene.socket(name, (header, key), may={name}, unix=scene.program.bridge_socket)
    for value in ("\x01", "\x7f", "\r\n x"):
        name = f"key and {value!r} to the bridge itself"
        scene.socket(name, ("X-API-Key", scene.canaries.key(name) + value), unix=scene.program.bridge_socket)
        name = f"key and {value!r} in a handshake"
        scene.socket(name, ("X-API-Key", scene.canaries.key(name) + value))
    name = "key in a line without a colon to the bridge itself"
    line = scene.canaries.key(name)
    scene.exchange(
        name, f"GET /ws/market HTTP/1.1\r\n{line}\r\n\r\n".encode(), {name}, unix=scene.program.bridge_socket
    )


def in_commands(scene: Scene) -> None:
    """Use keys on the command line, where they belong and where they do not, and wrong settings."""
    canaries = scene.canaries
    text, _ = scene.command("keys create", "keys", "create", "tests", "--label", "by a command", may={"created key"})
    canaries.known_key("created key", text)
    new, _ = scene.command("keys rotate", "keys", "rotate", text, "--overlap", "1h", may={"rotated key"})
    canaries.known_key("rotated key", new)
    for what in (
        ["keys", "list"],
        ["keys", "list", "--json"],
        ["keys", "list", "--all"],
        ["accounts", "list", "--json"],
    ):
        scene.command(" ".join(what), *what)
    scene.command("keys rotate, again", "keys", "rotate", text)
    for given in (new, new, f"{new[:20]}-{new[20:]}", f" {new} ", canaries.key("unknown key to be revoked")):
        scene.command("keys revoke", "keys", "revoke", given)
    for what in (
        ["accounts", "create", "KEY"],
        ["accounts", "close", "KEY"],
        ["keys", "create", "KEY"],
        ["keys", "create", "tests", "--scopes", "KEY"],
        ["keys", "create", "tests", "--label", "KEY"],
        ["keys", "create", "tests", "--expires", "KEY"],
        ["keys", "create", "tests", "--address", "KEY"],
        ["keys", "list", "KEY"],
        ["keys", "rotate", "abcdefghijkl", "--overlap", "KEY"],
    ):
        name = f"key in {' '.join(what)}"
        key = canaries.key(name)
        scene.command(name, *(part.replace("KEY", key) for part in what))
    name = "key in a folder's name"
    scene.command(name, "keys", "list", "--data-dir", str(scene.output.parent / canaries.key(name)), may={name})
    short = secrets.token_urlsafe(15)
    canaries.keep("short JWT secret", short)
    for what in (["up"], ["serve", "engine"], ["serve", "edge"], ["keys", "list"], ["accounts", "list"], ["certs"]):
        scene.command(f"{' '.join(what)} with a short secret", *what, jwt_secret=short)


# --- What must hold -----------------------------------------------------------------------------------------------


def test_no_answer_repeats_a_credential(scene: Scene) -> None:
    """Over no transport does an answer have a credential in it, nor any other secret that its caller did not send."""
    assert len(scene.answers) > 600
    print(f"\n{len(scene.answers)} answers, {len(scene.told)} commands, {len(scene.canaries)} secrets")
    assert scene.wrong(scene.answers) == []


def test_no_command_repeats_a_credential(scene: Scene) -> None:
    """Commands show a key once, when it is made, whatever they are given."""
    assert scene.wrong(scene.told) == []


def test_no_file_has_a_secret(scene: Scene) -> None:
    """No file in the data folder has a piece of a secret: databases, audit log, and Envoy's log."""
    names = {path.name for path in scene.folder.rglob("*") if path.is_file()}
    assert {"access.db", "changes.jsonl", "refusals.jsonl", "entasis.db", "envoy.log"} <= names
    assert leaks(scene.canaries, scene.folder) == {}


def test_the_program_says_no_secret(scene: Scene) -> None:
    """What the program says, at level debug and of all calls, has no secret but the demo key when it is ready."""
    said = scene.output.read_text()
    before, ready, rest = said.partition("\nEntasis is up")
    told, end, after = rest.partition("\nCtrl-C ends it.")
    assert ready
    assert end
    assert after.count('"event": "call"') > 500
    assert scene.canaries.found_in(told.encode()) == {"demo key"}
    lines = [(line[:40], scene.canaries.found_in(line.encode())) for line in f"{before}{after}".splitlines()]
    wrong = [(beginning, names) for beginning, names in lines if names]
    assert wrong == []


def test_no_page_of_the_operator_shows_a_secret(scene: Scene) -> None:
    """Metrics, Envoy's administration page and Envoy's configuration have none."""
    found = {path: scene.canaries.found_in(page) for path, page in scene.pages.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_process_shows_a_secret_in_its_arguments(scene: Scene) -> None:
    """The list of processes, which every user may read, has none."""
    assert len(scene.processes) >= 2
    assert [name for name, arguments, _ in scene.processes if scene.canaries.found_in(arguments)] == []


def test_envoy_does_not_get_the_secret(scene: Scene) -> None:
    """The secret that signs tokens is not in the environment of Envoy, which has no use for it."""
    envoy = [environment for name, _, environment in scene.processes if "envoy" in name]
    assert envoy
    assert [scene.canaries.found_in(environment) for environment in envoy] == [set()]


# --- What Python shows --------------------------------------------------------------------------------------------


def test_nothing_that_holds_a_secret_prints_it() -> None:
    """Neither `repr` nor `str` of what carries credentials has them, so that no log or traceback can."""
    canaries = Canaries()
    secret = secrets.token_urlsafe(36)
    canaries.keep("JWT secret", secret)
    new = keys.new_key()
    text = canaries.known_key("key", new.text)
    parsed = keys.parse(text)
    assert parsed is not None
    for digest in (new.digest, parsed.digest):
        canaries.keep("digest", repr(digest))
        canaries.keep("digest", digest.hex())
    now = datetime(2024, 3, 21, tzinfo=UTC)
    tokens = Tokens(secret.encode(), issuer="entasis", audience="entasis")
    token = canaries.token(
        "token", tokens.issue(account="acc_1", key_id=new.id, scopes=(), now=now, expires_at=now + timedelta(hours=1))
    )
    verified = tokens.verify(token, now)
    metadata = (("x-api-key", text), ("authorization", f"Bearer {token}"))
    carrying = [
        Settings(jwt_secret=secret, _env_file=None),
        Principal("acc_1", frozenset({"admin"}), (new.id,), verified.signer, now),
        ApiKey(new.id, "acc_1", new.digest, frozenset(), "", now),
        new,
        parsed,
        Call("/a/b", metadata),
        Caller("192.0.2.1", (f"Bearer {token}",), (text,)),
        tokens,
        verified,
        VerificationKey("kid", "HS256", secret.encode()),
        Credentials(token, text),
        Auth(token=token, api_key=text),
    ]
    wrong = [type(one).__name__ for one in carrying if canaries.found_in(f"{one!r} {one}".encode())]
    assert wrong == []


def test_a_setting_that_is_refused_is_not_printed() -> None:
    """The error about a secret that is too short does not show it."""
    canaries, short = Canaries(), secrets.token_urlsafe(15)
    canaries.keep("short secret", short)
    with pytest.raises(ValueError, match="32 bytes") as raised:
        Settings(jwt_secret=short, _env_file=None)
    assert canaries.found_in(f"{raised.value!r} {raised.value}".encode()) == set()
