"""TLS: certificates made for trials, files checked before they are used, and plaintext kept on loopback."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from typer.testing import CliRunner

from entasis_engine.cli import app
from entasis_engine.commands.authority import CLIENTS, AuthorityError, Made, make
from entasis_engine.settings import Settings
from entasis_engine.tls import (
    Identity,
    Reloading,
    ServerTls,
    TlsError,
    names_in,
    names_of,
    read_authorities,
    read_identity,
    require_tls,
    server_tls,
    upstream_tls,
)

NOW = datetime.now(UTC).replace(microsecond=0)


def _make(folder: Path, **changes: Any) -> Made:
    values: dict[str, Any] = {"hosts": (), "days": 90, "anew": False}
    return make(folder, **(values | changes))


def _settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates as `entasis certs` makes them."""
    _make(tmp_path / "certs")
    return tmp_path / "certs"


@pytest.fixture
def server(folder: Path) -> Identity:
    """The server's files."""
    return Identity(folder / "server.pem", folder / "server.key")


# Making certificates.


def test_the_server_is_what_it_says(tmp_path: Path) -> None:
    """The server's certificate verifies for localhost, loopback addresses and each host that was given."""
    made = _make(tmp_path, hosts=["Engine.example.com", "*.example.org", "192.0.2.7", "[2001:db8::7]"])
    leaf = made.leaves["server"].certificate
    expected = ["localhost", "engine.example.com", "*.example.org", "127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"]
    assert names_in(leaf) == expected
    verifying = PolicyBuilder().store(Store([made.authority.certificate])).time(datetime.now(UTC))
    verifying.build_server_verifier(x509.DNSName("x.example.org")).verify(leaf, [])


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_who_it_says(tmp_path: Path, name: str) -> None:
    """Each client's certificate verifies as a client's, under its own name, and not as a server's."""
    made = _make(tmp_path)
    leaf = made.leaves[name].certificate
    builder = PolicyBuilder().store(Store([made.authority.certificate])).time(datetime.now(UTC))
    subjects = builder.build_client_verifier().verify(leaf, []).subjects
    assert [subject.value for subject in subjects or ()] == [f"{name}.entasis.internal"]
    with pytest.raises(x509.verification.VerificationError):
        builder.build_server_verifier(x509.DNSName(f"{name}.entasis.internal")).verify(leaf, [])


def test_private_keys_are_private(folder: Path) -> None:
    """Only the owner can read a key, or look into the folder."""
    keys = list(folder.glob("*.key"))
    assert len(keys) == 5
    assert {oct(key.stat().st_mode & 0o777) for key in keys} == {"0o600"}
    assert {oct(one.stat().st_mode & 0o777) for one in (folder, (folder / ".current"))} == {"0o700"}


def test_a_second_run_renews(tmp_path: Path) -> None:
    """The authority stays and so do the server's names; certificates and keys are new, and the last set is kept."""
    first = _make(tmp_path, hosts=["a.example.com"])
    read_before = (tmp_path / ".current").resolve()
    second = _make(tmp_path, hosts=["b.example.com"])
    assert (first.authority_is_new, second.authority_is_new) == (True, False)
    assert second.authority.certificate == first.authority.certificate
    assert {"a.example.com", "b.example.com"} <= set(names_in(second.leaves["server"].certificate))
    for name, leaf in first.leaves.items():
        assert second.leaves[name].certificate.serial_number != leaf.certificate.serial_number
        read_identity(Identity(tmp_path / f"{name}.pem", tmp_path / f"{name}.key"))
    read_identity(Identity(read_before / "server.pem", read_before / "server.key"))
    _make(tmp_path)
    assert len(list(tmp_path.glob(".made-*"))) == 2


def test_all_files_change_in_one_step(folder: Path) -> None:
    """Every file is reached through one link, so that no reader finds a certificate beside another one's key."""
    links = [path for path in folder.iterdir() if path.suffix in {".pem", ".key"}]
    assert len(links) == 10
    assert {str(path.readlink().parent) for path in links} == {".current"}


def test_force_begins_anew(tmp_path: Path) -> None:
    """A new authority knows nothing of the names before."""
    first = _make(tmp_path, hosts=["a.example.com"])
    second = _make(tmp_path, anew=True)
    assert second.authority_is_new
    assert second.authority.certificate != first.authority.certificate
    assert names_in(second.leaves["server"].certificate) == ["localhost", "127.0.0.1", "::1"]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """A file that was not made here is never replaced, not even with --force."""
    (tmp_path / "server.key").write_text("precious")
    with pytest.raises(AuthorityError, match=r"server\.key is there already.*--out"):
        _make(tmp_path, anew=True)
    assert [path.name for path in tmp_path.iterdir()] == ["server.key"]


def test_an_authority_near_its_end_is_told(tmp_path: Path) -> None:
    """What would outlive its authority is not signed."""
    _make(tmp_path)
    with pytest.raises(AuthorityError, match="--force"):
        _make(tmp_path, now=NOW + timedelta(days=3600))


@pytest.mark.parametrize("host", ["example.com:8443", "https://example.com", "", "a b", "bücher.example", "-a.example"])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    """What is no DNS name and no address is refused before anything is written."""
    with pytest.raises(AuthorityError, match="neither a DNS name nor an IP address"):
        _make(tmp_path / "certs", hosts=[host])
    assert not (tmp_path / "certs").exists()


def test_the_command_prints_settings_that_work(tmp_path: Path) -> None:
    """Standard output of `entasis certs` is a .env file: with it, and the rest of it, everything is found."""
    done = CliRunner().invoke(app, ["certs", "--out", str(tmp_path / "certs"), "--host", "engine.example.com"])
    assert done.exit_code == 0, done.output
    (tmp_path / "some.env").write_text(done.stdout, encoding="utf-8")
    some = Settings(_env_file=tmp_path / "some.env")  # type: ignore[call-arg]
    assert server_tls(some) == ServerTls(Identity(tmp_path / "certs/server.pem", tmp_path / "certs/server.key"))
    (tmp_path / "all.env").write_text(done.stdout.replace("#ENTASIS", "ENTASIS"), encoding="utf-8")
    everything = Settings(_env_file=tmp_path / "all.env")  # type: ignore[call-arg]
    assert (found := server_tls(everything)) is not None
    assert found.client_ca == tmp_path / "certs/ca.pem"
    assert (upstream := upstream_tls(everything)) is not None
    assert upstream.identity.certificate == tmp_path / "certs/edge.pem"


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    """What cannot be done is told without a traceback, and the exit code is 1."""
    done = CliRunner().invoke(app, ["certs", "--out", str(tmp_path), "--host", "a b"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Cannot go on: 'a b' is neither")


# Using them.


def test_plaintext_beyond_loopback_is_refused() -> None:
    """Without a certificate no port may be reached from elsewhere, and the refusal says how to make one."""
    for host in ("0.0.0.0", "::", "192.0.2.7", "2001:db8::7"):
        with pytest.raises(TlsError, match=r"plaintext is for loopback.*ENTASIS_TLS_CERTIFICATE.*entasis certs --host"):
            server_tls(_settings(host=host))
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert server_tls(_settings(host=host)) is None
    with pytest.raises(TlsError):
        require_tls("0.0.0.0", None)


def test_beyond_loopback_needs_a_certificate_alone(server: Identity) -> None:
    """With a certificate any address will do, and plaintext stays on loopback."""
    settings = _settings(host="0.0.0.0", tls_certificate=server.certificate, tls_key=server.key)
    assert server_tls(settings) == ServerTls(server)
    assert settings.loopback == "127.0.0.1"
    assert _settings(host="::1").loopback == "::1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls_certificate": "server.pem"}, "ENTASIS_TLS_KEY is not set"),
        ({"tls_key": "server.key"}, "ENTASIS_TLS_CERTIFICATE is not set"),
        ({"tls_client_ca": "ca.pem"}, "needs TLS"),
        ({"tls_certificate": "server.pem", "tls_key": "gone.key"}, "Cannot read .*gone.key: No such file"),
        ({"tls_certificate": "server.pem", "tls_key": "server.pem"}, "no private key"),
        ({"tls_certificate": "server.key", "tls_key": "server.key"}, "no certificate"),
        ({"tls_certificate": "server.pem", "tls_key": "edge.key"}, "not that of the certificate"),
        ({"tls_certificate": "server.pem", "tls_key": "."}, "Cannot read .*: Is a directory"),
        ({"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.key"}, "no certificate"),
    ],
)
def test_server_files_that_do_not_fit_are_told(folder: Path, given: dict[str, str], told: str) -> None:
    """What is missing, unreadable, of another kind or of another pair is named in one line."""
    with pytest.raises(TlsError, match=told) as refused:
        server_tls(_settings(**{name: folder / file for name, file in given.items()}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"upstream_ca": "ca.pem"}, "not set: ENTASIS_UPSTREAM_CERTIFICATE, ENTASIS_UPSTREAM_KEY"),
        ({"upstream_certificate": "edge.pem", "upstream_key": "edge.key"}, "not set: ENTASIS_UPSTREAM_CA"),
        ({"upstream_ca": "no", "upstream_certificate": "edge.pem", "upstream_key": "edge.key"}, "Cannot read"),
        ({"upstream_ca": "ca.pem", "upstream_certificate": "edge.pem", "upstream_key": "ca.key"}, "not that of"),
    ],
)
def test_client_files_that_do_not_fit_are_told(folder: Path, given: dict[str, str], told: str) -> None:
    """The way to an engine elsewhere takes three files that fit, or none."""
    with pytest.raises(TlsError, match=told):
        upstream_tls(_settings(**{name: folder / file for name, file in given.items()}))
    assert upstream_tls(_settings()) is None


@pytest.mark.parametrize(
    ("moved", "told"),
    [(timedelta(days=91), "expired at .* UTC. Renew it"), (timedelta(days=-1), "not valid before .* clock")],
)
def test_a_certificate_out_of_its_time_is_told(server: Identity, moved: timedelta, told: str) -> None:
    """An expired certificate is refused, and one that is not valid yet."""
    with pytest.raises(TlsError, match=told):
        read_identity(server, now=datetime.now(UTC) + moved)


def test_an_encrypted_key_is_told(folder: Path, server: Identity) -> None:
    """A key with a password is refused, since nobody could type it at a reload."""
    made = _make(folder)
    secret = made.leaves["server"].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (folder / "locked.key").write_bytes(secret)
    with pytest.raises(TlsError, match="is encrypted"):
        read_identity(replace(server, key=folder / "locked.key"))


def test_settings_that_are_empty_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable means no file, rather than the working directory."""
    monkeypatch.setenv("ENTASIS_TLS_CERTIFICATE", "")
    monkeypatch.setenv("ENTASIS_UPSTREAM_CA", "")
    assert _settings().tls_certificate is None
    assert _settings().upstream_ca is None


def test_changed_files_are_read_again(folder: Path, server: Identity) -> None:
    """A handshake gets new files once they have changed, and otherwise only looks whether they have."""
    reloading = Reloading(ServerTls(server, folder / "ca.pem"))
    assert reloading() is None
    _make(folder)
    assert reloading() is not None
    assert reloading() is None


def test_bad_files_are_not_used_and_told_once(folder: Path, server: Identity) -> None:
    """With a new file that does not fit, the ones before stay in use; that is logged once, and ends with a good one."""
    reloading = Reloading(ServerTls(server))
    key = server.key.read_bytes()
    (folder / "server.key").unlink()
    with structlog.testing.capture_logs() as logged:
        assert [reloading() for _ in range(3)] == [None] * 3
        (folder / "server.key").write_bytes((folder / "edge.key").read_bytes())
        assert [reloading() for _ in range(3)] == [None] * 3
    assert [line["event"] for line in logged] == ["tls_files_not_used"] * 2
    assert "Cannot read" in logged[0]["reason"]
    assert "not that of the certificate" in logged[1]["reason"]
    (folder / "server.key").write_bytes(key)
    assert reloading() is not None


def test_a_look_at_unchanged_files_is_cheap(server: Identity) -> None:
    """At a handshake files are not opened where neither their time nor their size has changed."""
    reloading = Reloading(ServerTls(server))
    before = server.key.stat()
    server.key.write_bytes(b"?" * before.st_size)
    os.utime(server.key, ns=(before.st_atime_ns, before.st_mtime_ns))
    with structlog.testing.capture_logs() as logged:
        assert reloading() is None
    assert logged == []


def test_names_of_a_peer() -> None:
    """The names of a peer are those in its certificate; without one there are none."""
    context = {"x509_subject_alternative_name": [b"edge.entasis.internal", b"10.0.0.1"], "x509_common_name": [b"x"]}
    assert names_of(context) == {"edge.entasis.internal", "10.0.0.1"}
    assert names_of({"transport_security_type": [b"ssl"]}) == set()
    assert names_of({"x509_subject_alternative_name": [b"\xff"]}) == {"�"}


def test_an_authority_file_may_hold_several(folder: Path, tmp_path: Path) -> None:
    """While one authority takes over from another, callers trust both."""
    _make(tmp_path / "other")
    both = (folder / "ca.pem").read_bytes() + (tmp_path / "other" / "ca.pem").read_bytes()
    (tmp_path / "both.pem").write_bytes(both)
    assert read_authorities(tmp_path / "both.pem") == both
