"""TLS from end to end: what is offered and refused on both ports, certificates that change, and an engine elsewhere."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.e2e.conftest import Running, Start, eventually
from websockets.sync.client import connect

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.commands.authority import Signed, issue, make_authority

pytestmark = pytest.mark.e2e

SUBSCRIBE = json.dumps({"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]})
STREAM = "/api/v1/market/prices:stream?symbols=BTC-USDT"
PRICES = pb.StreamPricesRequest(symbols=["BTC-USDT"])


def make_certificates(folder: Path, *arguments: str) -> Path:
    """What `entasis certs` makes."""
    command = [str(Path(sys.executable).parent / "entasis"), "certs", "--out", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


def server_settings(folder: Path) -> dict[str, object]:
    return {"tls_certificate": folder / "server.pem", "tls_key": folder / "server.key"}


def upstream_settings(folder: Path, name: str = "edge") -> dict[str, object]:
    """How Envoy or a bridge reaches an engine elsewhere."""
    return {
        "upstream_ca": folder / "ca.pem",
        "upstream_certificate": folder / f"{name}.pem",
        "upstream_key": folder / f"{name}.key",
    }


def https_port(running: Running) -> int:
    return int(running.until_said(r"https://[^:/ ]+:(\d+)/api")[1])


def engine_port(running: Running) -> int:
    return int(running.until_said(r"gRPC +127.0.0.1:(?:\d+ through Envoy, port )?(\d+)")[1])


def channel(port: int, folder: Path, name: str = "") -> grpc.Channel:
    """A gRPC channel that trusts the folder's authority, and shows a certificate of the folder where one is named."""
    pair = [(folder / f"{name}.{kind}").read_bytes() for kind in ("key", "pem")] if name else [None, None]
    return grpc.secure_channel(
        f"localhost:{port}", grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), *pair)
    )


def serves(opened: grpc.Channel) -> None:
    """Raises where the server does not answer that it serves."""
    answer = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def handshake(port: int, folder: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLSocket, int]:
    """An open connection of just this version of TLS, and the serial number of the server's certificate."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    secured = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost")
    return secured, x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"").serial_number


def serial_on(port: int, folder: Path) -> int:
    secured, serial = handshake(port, folder)
    secured.close()
    return serial


@dataclass
class Installation:
    """`entasis up` with TLS."""

    running: Running
    folder: Path

    @property
    def https(self) -> int:
        return https_port(self.running)

    @property
    def engine(self) -> int:
        return engine_port(self.running)

    def port(self, name: str) -> int:
        return {"envoy": self.https, "engine": self.engine}[name]

    def get(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(
            f"https://localhost:{self.https}{path}", headers={"X-API-Key": self.running.key}
        )
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, answer.readline(), dict(answer.headers)


@pytest.fixture(scope="module")
def up(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything, with certificates as `entasis certs` makes them."""
    folder = make_certificates(tmp_path_factory.mktemp("tls") / "certs")
    return Installation(start("up", **server_settings(folder)), folder)


@pytest.fixture(scope="module")
def rsa_up(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything, with an operator's own certificate: of an RSA key, which weak ciphers need, and not for localhost."""
    folder = tmp_path_factory.mktemp("rsa")
    authority = make_authority(datetime.now(UTC))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    server = issue(authority, "server", ["127.0.0.1", "api.example.com"], days=1, now=datetime.now(UTC), key=key)
    write(folder, "ca", authority)
    write(folder, "server", server)
    return Installation(start("up", **server_settings(folder)), folder)


def write(folder: Path, name: str, signed: Signed) -> None:
    """As certificate managers do it: each file is moved into its place, the key first."""
    for kind, content in (("key", signed.key_pem), ("pem", signed.certificate_pem)):
        (folder / f"{name}.{kind}.new").write_bytes(content)
        (folder / f"{name}.{kind}.new").rename(folder / f"{name}.{kind}")


# What is served.


def test_rest_by_https(up: Installation) -> None:
    """REST answers by HTTPS: calls, streams and errors."""
    status, body, _ = up.get("/api/v1/market/price/BTC-USDT")
    assert (status, json.loads(body)["symbol"]) == (200, "BTC-USDT")
    assert json.loads(up.get(STREAM)[1])["updates"][0]["symbol"] == "BTC-USDT"
    with pytest.raises(urllib.error.HTTPError) as error:
        up.get("/nowhere")
    assert error.value.headers["x-error-code"] == "REQUEST_002"


def test_websocket_by_wss(up: Installation) -> None:
    """WebSockets open by TLS."""
    context = ssl.create_default_context(cafile=up.folder / "ca.pem")
    with connect(f"wss://localhost:{up.https}/ws/market", ssl=context) as client:
        client.send(SUBSCRIBE)
        assert json.loads(client.recv(timeout=20))["symbol"] == "BTC-USDT"


@pytest.mark.parametrize("name", ["envoy", "engine"])
def test_grpc_by_tls(up: Installation, name: str) -> None:
    """gRPC is served by TLS through Envoy and on the engine's own port, streams and calls alike."""
    with channel(up.port(name), up.folder) as opened:
        serves(opened)
        stream = MarketServiceStub(opened).StreamPrices(PRICES, timeout=20)
        assert next(stream).updates[0].symbol == "BTC-USDT"
        stream.cancel()


def test_browsers_are_told_to_stay_with_https(up: Installation, rsa_up: Installation) -> None:
    """HSTS is on every answer by TLS, Envoy's own too, and never in plaintext, nor where a trial's certificate names
    localhost.
    """
    header = "strict-transport-security"
    context = ssl.create_default_context(cafile=rsa_up.folder / "ca.pem")
    told = []
    for path in (STREAM, "/nowhere"):
        try:
            with urllib.request.urlopen(
                f"https://127.0.0.1:{rsa_up.https}{path}", context=context, timeout=20
            ) as answer:
                told.append(answer.headers[header])
        except urllib.error.HTTPError as error:
            told.append(error.headers[header])
    assert told == ["max-age=31536000"] * 2
    with urllib.request.urlopen(rsa_up.running.web + STREAM, timeout=20) as plain:
        assert header not in plain.headers
    assert header not in up.get(STREAM)[2]


def test_all_that_listens_is_on_loopback(up: Installation) -> None:
    """No port is reached from elsewhere while the host is loopback, and the engine's sockets are for our user alone."""
    family = [psutil.Process(up.running.process.pid), *psutil.Process(up.running.process.pid).children(recursive=True)]
    listening = [
        one.laddr.ip for process in family for one in process.net_connections("inet") if one.status == "LISTEN"
    ]
    assert len(listening) >= 4
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    sockets = {Path(one.laddr) for process in family for one in process.net_connections("unix") if one.laddr}
    [engine] = [path for path in sockets if path.name == "engine.sock"]
    assert oct(engine.stat().st_mode & 0o777) == "0o600"


# What is refused.

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2 = 0x0300, 0x0301, 0x0302, 0x0303
STRONG = [0xC02B, 0xC02F, 0xC02C, 0xC030]  # ECDHE with AES-GCM
WEAK = {
    "NULL": [0x0001, 0x0002, 0x003B, 0xC006, 0xC010],
    "EXPORT": [0x0003, 0x0006, 0x0008],
    "RC4": [0x0004, 0x0005, 0xC007, 0xC011],
    "3DES": [0x000A, 0xC008, 0xC012],
    "RSA key exchange with CBC": [0x002F, 0x0035, 0x003C, 0x003D],
    "RSA key exchange with GCM": [0x009C, 0x009D],
    "ECDHE with CBC": [0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028],
    "no authentication": [0x0018, 0x0034, 0xC018, 0xC019],
}
ALL_OLD = [*STRONG, *(cipher for ciphers in WEAK.values() for cipher in ciphers)]
INSTALLATIONS = ["up", "rsa_up"]


def vector(content: bytes, length_bytes: int) -> bytes:
    return len(content).to_bytes(length_bytes, "big") + content


def client_hello(version: int, ciphers: list[int]) -> bytes:
    """The first message of a client of at most this version. Made by hand, since libraries refuse to offer such."""

    def extension(number: int, content: bytes) -> bytes:
        return struct.pack(">H", number) + vector(content, 2)

    extensions = (
        extension(0, vector(b"\0" + vector(b"localhost", 2), 2))  # server name
        + extension(10, vector(struct.pack(">3H", 0x001D, 0x0017, 0x0018), 2))  # groups
        + extension(11, vector(b"\0", 1))  # point formats
        + extension(13, vector(struct.pack(">6H", 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501), 2))  # signatures
        + extension(16, vector(vector(b"h2", 1), 2))  # ALPN
    )
    body = struct.pack(">H", version) + os.urandom(32) + b"\0"
    body += vector(struct.pack(f">{len(ciphers)}H", *ciphers), 2) + vector(b"\0", 1)
    body += vector(extensions, 2) if version > SSL_3 else b""
    message = b"\x01" + vector(body, 3)
    return b"\x16" + struct.pack(">H", min(version, TLS_1_0)) + vector(message, 2)


def answer_to(port: int, hello: bytes) -> str:
    """What a server answers: hello, an alert, or nothing before it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(hello)
        try:
            first = client.recv(1)
        except ConnectionResetError:
            first = b""
    return {b"\x16": "hello", b"\x15": "alert", b"": "nothing"}[first]


@pytest.mark.parametrize("installation", INSTALLATIONS)
@pytest.mark.parametrize("name", ["envoy", "engine"])
def test_old_versions_and_weak_ciphers_are_refused(
    request: pytest.FixtureRequest, installation: str, name: str
) -> None:
    """SSL 3, TLS 1.0 and 1.1 are refused on both ports, and with TLS 1.2 every weak cipher; a good offer is taken.

    Nor can strangers fill the log by failing.
    """
    port = request.getfixturevalue(installation).port(name)
    assert answer_to(port, client_hello(TLS_1_2, STRONG)) == "hello"
    for version in (SSL_3, TLS_1_0, TLS_1_1):
        assert answer_to(port, client_hello(version, ALL_OLD)) != "hello", hex(version)
    for kind, ciphers in WEAK.items():
        for cipher in ciphers:
            assert answer_to(port, client_hello(TLS_1_2, [cipher])) != "hello", f"{kind}: {cipher:#06x}"
    assert not [line for line in request.getfixturevalue(installation).running.lines if "andshake" in line]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_scan_can_fail(tmp_path: Path, rsa_up: Installation) -> None:
    """A server that does take old versions and weak ciphers is found out by the same messages."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.load_cert_chain(rsa_up.folder / "server.pem", rsa_up.folder / "server.key")

    def serve(listening: socket.socket) -> None:
        for _ in range(3):
            plain, _ = listening.accept()
            try:
                context.wrap_socket(plain, server_side=True).close()
            except (ssl.SSLError, OSError):
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,), daemon=True)
        server.start()
        port = listening.getsockname()[1]
        assert answer_to(port, client_hello(TLS_1_0, ALL_OLD)) == "hello"
        assert answer_to(port, client_hello(TLS_1_1, ALL_OLD)) == "hello"
        assert answer_to(port, client_hello(TLS_1_2, WEAK["RSA key exchange with CBC"])) == "hello"
        server.join(timeout=20)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["envoy", "engine"])
def test_new_versions_are_accepted(up: Installation, name: str, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are accepted on both ports, and lead to HTTP/2."""
    secured, _ = handshake(up.port(name), up.folder, version)
    with secured:
        assert (secured.version(), secured.selected_alpn_protocol()) == (version.name.replace("_", "."), "h2")


@pytest.mark.parametrize("name", ["envoy", "engine"])
def test_a_server_of_another_authority_is_refused(up: Installation, rsa_up: Installation, name: str) -> None:
    """A client that trusts another authority does not go on, over TLS as such and over gRPC."""
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(up.port(name), rsa_up.folder)
    with channel(up.port(name), rsa_up.folder) as opened, pytest.raises(grpc.RpcError) as error:
        serves(opened)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", ["envoy", "engine"])
def test_plaintext_gets_no_answer(up: Installation, name: str) -> None:
    """Who speaks plain HTTP to a TLS port, or plain gRPC, learns nothing."""
    with socket.create_connection(("127.0.0.1", up.port(name)), 20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = client.recv(100)
        assert not answer.startswith(b"HTTP")
        assert len(answer) <= 7, answer  # a TLS alert, or nothing
    with grpc.insecure_channel(f"127.0.0.1:{up.port(name)}") as opened, pytest.raises(grpc.RpcError):
        serves(opened)


# Certificates that change.


@dataclass
class Load:
    """Calls, one after the other, until it is told to stop; each counts as done or as failed."""

    call: Callable[[], object]
    done: int = 0
    failures: list[Exception] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Load]:
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                try:
                    self.call()
                    self.done += 1
                except Exception as error:
                    self.failures.append(error)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(timeout=30)


def renewed_by_the_command(folder: Path) -> None:
    make_certificates(folder)


def renewed_file_by_file(folder: Path) -> None:
    """As other programs do it, so that for a moment the key is that of another certificate."""
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    authority = Signed(x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key)
    write(folder, "server", issue(authority, "server", ["localhost", "127.0.0.1"], days=1, now=datetime.now(UTC)))


@pytest.mark.parametrize("renew", [renewed_by_the_command, renewed_file_by_file])
def test_certificates_change_without_a_failed_call(start: Start, tmp_path: Path, renew: Callable[[Path], None]) -> None:
    """New connections get the new certificate on both ports; open streams go on, and no call fails meanwhile."""
    folder = make_certificates(tmp_path / "certs")
    limits = {"rate_limit_per_minute": 1_000_000, "anonymous_rate_limit_per_minute": 1_000_000}
    up = Installation(start("up", **server_settings(folder), **limits), folder)
    before = {name: serial_on(up.port(name), folder) for name in ("envoy", "engine")}
    with (
        channel(up.https, folder) as by_envoy,
        channel(up.engine, folder) as direct,
        Load(lambda: serves(by_envoy)).running() as old_connection,
        Load(lambda: serial_on(up.https, folder)).running() as new_tls,
        Load(lambda: serial_on(up.engine, folder)).running() as new_tls_direct,
        Load(lambda: up.get(STREAM)).running() as new_connections,
    ):
        streams = [MarketServiceStub(one).StreamPrices(PRICES) for one in (by_envoy, direct)]
        loads = [old_connection, new_tls, new_tls_direct, new_connections]
        for stream in streams:
            next(stream)
        for _ in range(3):
            renew(folder)
            [renewed] = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())
            assert renewed.serial_number not in before.values()
            for name in before:
                eventually(
                    lambda name=name: serial_on(up.port(name), folder),
                    lambda found, serial=renewed.serial_number: found == serial,
                )
            for load in loads:
                eventually(lambda load=load: load, lambda now, so_far=load.done: now.done > so_far + 3)
            for stream in streams:
                next(stream)
        for stream in streams:
            stream.cancel()
    assert [load.failures for load in loads] == [[]] * 4
    print(f"\n{sum(load.done for load in loads)} calls and handshakes during 3 renewals, 0 failed")


def test_a_bad_file_leaves_the_old_certificate_in_use(start: Start, tmp_path: Path) -> None:
    """Where a new file is no certificate, the logs say so and callers go on as before; a good one is then taken."""
    folder = make_certificates(tmp_path / "certs")
    up = Installation(start("up", data_dir=tmp_path, **server_settings(folder)), folder)
    before = {name: serial_on(up.port(name), folder) for name in ("envoy", "engine")}
    (folder / "server.pem.new").write_text("no certificate")
    (folder / "server.pem.new").rename(folder / "server.pem")
    assert serial_on(up.engine, folder) == before["engine"]
    up.running.until_said(r"There is no certificate \(PEM\) in .*server\.pem")
    eventually((tmp_path / "envoy.log").read_text, lambda log: "Failed to reload certificates" in log)
    assert serial_on(up.https, folder) == before["envoy"]
    (folder / "server.pem").unlink()
    make_certificates(folder)
    for name, serial in before.items():
        eventually(lambda name=name: serial_on(up.port(name), folder), lambda found, serial=serial: found != serial)


# An engine elsewhere.


@dataclass
class Elsewhere:
    """An engine that demands certificates."""

    running: Running
    folder: Path
    foreign: Path

    @property
    def address(self) -> str:
        return f"localhost:{engine_port(self.running)}"


@pytest.fixture(scope="module")
def elsewhere(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """An engine that demands certificates, and the files of another authority."""
    base = tmp_path_factory.mktemp("mtls")
    folder, foreign = make_certificates(base / "certs"), make_certificates(base / "foreign")
    engine = start(
        "serve", "engine", **server_settings(folder), tls_client_ca=folder / "ca.pem", allowed_addresses="127.0.0.0/8"
    )
    return Elsewhere(engine, folder, foreign)


def refused(opened: AbstractContextManager[grpc.Channel]) -> bool:
    with opened as one:
        try:
            serves(one)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_an_engine_takes_certificates_of_its_authority_alone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Without a certificate, or with one of another authority, there is no connection; with ours there is."""
    port = engine_port(elsewhere.running)
    for name in ("pem", "key"):  # another authority's certificate, and ours to trust
        (tmp_path / f"client.{name}").write_bytes((elsewhere.foreign / f"client.{name}").read_bytes())
    (tmp_path / "ca.pem").write_bytes((elsewhere.folder / "ca.pem").read_bytes())
    assert refused(channel(port, elsewhere.folder))
    assert refused(channel(port, tmp_path, "client"))
    assert not refused(channel(port, elsewhere.folder, "client"))


@pytest.mark.parametrize(("name", "believed"), [("edge", True), ("bridge", True), ("client", False)])
def test_only_our_parts_are_believed(elsewhere: Elsewhere, name: str, believed: bool) -> None:
    """What Envoy and the bridge state of the caller's address counts; what other clients state does not."""
    with channel(engine_port(elsewhere.running), elsewhere.folder, name) as opened:
        stream = MarketServiceStub(opened).StreamPrices(PRICES, timeout=20, metadata=[("x-client-ip", "192.0.2.1")])
        if believed:
            with pytest.raises(grpc.RpcError) as error:
                next(stream)
            assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
        else:
            assert next(stream).updates
        stream.cancel()


def test_envoy_and_bridge_reach_an_engine_elsewhere(start: Start, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """By mutual TLS everything works as on one machine: REST, health checks, WebSockets."""
    start(
        "serve",
        "bridge",
        "--engine",
        elsewhere.address,
        data_dir=tmp_path,
        **upstream_settings(elsewhere.folder, "bridge"),
    ).until_said("Entasis is up")
    edge = start(
        "serve", "edge", "--engine", elsewhere.address, data_dir=tmp_path, **upstream_settings(elsewhere.folder)
    )
    with urllib.request.urlopen(edge.web + STREAM, timeout=20) as answer:
        assert json.loads(answer.readline())["updates"][0]["symbol"] == "BTC-USDT"
    with connect(edge.websocket) as client:
        client.send(SUBSCRIBE)
        assert json.loads(client.recv(timeout=20))["symbol"] == "BTC-USDT"


def test_envoys_certificate_for_the_engine_may_change(start: Start, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """An Envoy that the engine does not trust is let in once it has a certificate that the engine does trust."""
    for kind in ("pem", "key"):
        (tmp_path / f"edge.{kind}").write_bytes((elsewhere.foreign / f"edge.{kind}").read_bytes())
    (tmp_path / "ca.pem").write_bytes((elsewhere.folder / "ca.pem").read_bytes())
    edge = start("serve", "edge", "--engine", elsewhere.address, **upstream_settings(tmp_path))

    def status() -> int:
        try:
            with urllib.request.urlopen(edge.web + STREAM, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 503
    for kind in ("key", "pem"):
        (tmp_path / "new").write_bytes((elsewhere.folder / f"edge.{kind}").read_bytes())
        (tmp_path / "new").rename(tmp_path / f"edge.{kind}")
    eventually(status, lambda found: found == 200)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"upstream_ca": "foreign/ca.pem"}, "Envoy does not trust the engine"),
        ({"upstream_certificate": "foreign/edge.pem", "upstream_key": "foreign/edge.key"}, "the engine does not"),
        ({"upstream_name": "another.example.com"}, "the engine has another name"),
    ],
)
def test_envoy_and_an_engine_that_do_not_trust_each_other(
    start: Start, elsewhere: Elsewhere, tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    """Where either does not trust the other, callers get SERVER_002 and the engine sees nothing of them."""
    base = elsewhere.folder.parent
    files = {name: base / value if name != "upstream_name" else value for name, value in changes.items()}
    settings = upstream_settings(elsewhere.folder) | files
    edge = start("serve", "edge", "--engine", elsewhere.address, "--bridge", f"unix:{tmp_path}/b", **settings)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(edge.web + STREAM, timeout=20)
    assert (error.value.code, error.value.headers["x-error-code"]) == (503, "SERVER_002"), why


# What does not start.


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (["up"], {"host": "0.0.0.0"}, "ENTASIS_TLS_CERTIFICATE and ENTASIS_TLS_KEY.*entasis certs --host"),
        (["serve", "engine"], {"host": "192.0.2.7"}, "plaintext is for loopback.*certs --host 192.0.2.7"),
        (["serve", "edge"], {"host": "::"}, "plaintext is for loopback"),
        (["serve", "bridge"], {"host": "0.0.0.0"}, "plaintext is for loopback"),
        (["up"], {"tls_certificate": "/nowhere.pem", "tls_key": "/nowhere.key"}, "Cannot read /nowhere.pem"),
        (["serve", "edge", "--engine", "127.0.0.1:50051"], {}, "--engine unix:/path.*ENTASIS_UPSTREAM_CA"),
        (["serve", "bridge", "--engine", "127.0.0.1:50051"], {}, "--engine unix:/path.*ENTASIS_UPSTREAM_CA"),
        (["serve", "edge", "--bridge", "127.0.0.1:8081"], {}, "side by side"),
        (["serve", "engine", "--unix", f"/tmp/{'x' * 120}"], {}, "too long for a unix socket.*--unix"),
        (["serve", "edge", "--engine", f"unix:/tmp/{'x' * 120}"], {}, "too long for a unix socket.*--engine"),
    ],
)
def test_what_would_not_be_safe_does_not_start(
    start: Start, arguments: list[str], settings: dict[str, object], told: str
) -> None:
    """The refusal is one line that says what to do, and the exit code is 1; nothing has listened by then."""
    refused = start(*arguments, **settings)
    refused.until_said(f"Cannot go on: .*{told}")
    assert refused.process.wait(timeout=20) == 1
    assert not any("Traceback" in line for line in refused.lines)


def test_a_second_engine_does_not_take_the_socket(start: Start, elsewhere: Elsewhere) -> None:
    """An engine that is told the socket of another one ends, and the other goes on."""
    socket_path = elsewhere.running.until_said(r"and unix:(\S+)")[1]
    second = start("serve", "engine", "--unix", socket_path)
    second.until_said("Cannot go on: Something listens on .*--unix")
    assert second.process.wait(timeout=20) == 1
    with grpc.insecure_channel(f"unix:{socket_path}") as opened:
        serves(opened)
