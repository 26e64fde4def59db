"""TLS: where plaintext may go, which certificates prove whom, and how changed files come into use without a restart.

Private keys and certificates are PEM files. Who renews them replaces the files; no connection is cut for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_log = structlog.get_logger(__name__)

_HOW_TO_MAKE = (
    "For a trial `entasis certs --host {host}` makes a certificate and prints the settings; docs/tls.md tells the rest."
)


class TlsError(Exception):
    """TLS cannot be had as it is set. The text says why, and what to do."""


class TlsSettings(Protocol):
    """What is read of the settings here."""

    @property
    def host(self) -> str: ...
    @property
    def tls_certificate(self) -> Path | None: ...
    @property
    def tls_key(self) -> Path | None: ...
    @property
    def tls_client_ca(self) -> Path | None: ...
    @property
    def upstream_ca(self) -> Path | None: ...
    @property
    def upstream_certificate(self) -> Path | None: ...
    @property
    def upstream_key(self) -> Path | None: ...
    @property
    def upstream_name(self) -> str: ...


@dataclass(frozen=True)
class Identity:
    """Two PEM files: a certificate, followed by those between it and its authority, and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class ServerTls:
    """How a server proves itself, and whose certificates its callers must have."""

    identity: Identity
    client_ca: Path | None = None
    """Authorities of the callers' certificates; without it none is asked for."""


@dataclass(frozen=True)
class UpstreamTls:
    """How a part of ours reaches an engine on another host, where each proves itself to the other."""

    identity: Identity
    ca: Path
    """Authorities of the engine's certificate."""
    name: str = ""
    """What the engine's certificate must name; empty: the host that is called."""


def is_loopback(host: str) -> bool:
    """Whether what listens at this address can be reached from this machine alone."""
    return ipaddress.ip_address(host).is_loopback


def server_tls(settings: TlsSettings) -> ServerTls | None:
    """The server's side of the settings, once its files have been read and checked; None where there is no TLS.

    Raises:
        TlsError: a port beyond loopback would speak plaintext, or the files do not fit.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if (certificate is None) != (key is None):
        missing = "ENTASIS_TLS_KEY" if key is None else "ENTASIS_TLS_CERTIFICATE"
        raise TlsError(f"A certificate and its private key go together, and {missing} is not set.")
    if certificate is None or key is None:
        require_tls(settings.host, None)
        if settings.tls_client_ca is not None:
            raise TlsError(
                "ENTASIS_TLS_CLIENT_CA asks callers for certificates, which needs TLS: set ENTASIS_TLS_CERTIFICATE and "
                "ENTASIS_TLS_KEY, too."
            )
        return None
    found = ServerTls(Identity(certificate, key), settings.tls_client_ca)
    read_identity(found.identity)
    if found.client_ca is not None:
        read_authorities(found.client_ca)
    return found


def require_tls(host: str, tls: ServerTls | None) -> None:
    """Refuse to listen beyond loopback without TLS."""
    if tls is None and not is_loopback(host):
        made_for = "NAME" if ipaddress.ip_address(host).is_unspecified else host
        raise TlsError(
            f"ENTASIS_HOST={host} can be reached from other machines, and plaintext is for loopback: set "
            f"ENTASIS_TLS_CERTIFICATE and ENTASIS_TLS_KEY. {_HOW_TO_MAKE.format(host=made_for)}"
        )


def upstream_tls(settings: TlsSettings) -> UpstreamTls | None:
    """The way to an engine on another host, once its files have been read and checked; None where it is not set.

    Raises:
        TlsError: a part of it is missing, or the files do not fit.
    """
    given = {
        "ENTASIS_UPSTREAM_CA": settings.upstream_ca,
        "ENTASIS_UPSTREAM_CERTIFICATE": settings.upstream_certificate,
        "ENTASIS_UPSTREAM_KEY": settings.upstream_key,
    }
    missing = [name for name, path in given.items() if path is None]
    if len(missing) == len(given):
        return None
    ca, certificate, key = given.values()
    if ca is None or certificate is None or key is None:
        raise TlsError(f"To reach an engine by TLS takes {_listed(given)}; not set: {_listed(missing)}.")
    found = UpstreamTls(Identity(certificate, key), ca, settings.upstream_name)
    read_authorities(found.ca)
    read_identity(found.identity)
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


@dataclass(frozen=True)
class Material:
    """What the files of an identity hold, checked."""

    chain: bytes
    key: bytes
    leaf: x509.Certificate


def names_in(certificate: x509.Certificate) -> list[str]:
    """The DNS names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses)]


def read_identity(identity: Identity, *, now: datetime | None = None) -> Material:
    """Read a certificate and its key.

    Raises:
        TlsError: a file cannot be read, holds something else, belongs to another, or the certificate is not valid now.
    """
    now = now or datetime.now(UTC)
    chain, key = _read(identity.certificate), _read(identity.key)
    leaf = _certificates(identity.certificate, chain)[0]
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise TlsError(f"The private key in {identity.key} is encrypted, and nobody types its password here.") from None
    except Exception:  # the library has several kinds for what it cannot read, and long words
        raise TlsError(f"There is no private key (PEM) that can be used in {identity.key}.") from None
    if _public(private) != _public(leaf):
        raise TlsError(f"The private key in {identity.key} is not that of the certificate in {identity.certificate}.")
    if now >= leaf.not_valid_after_utc:
        raise TlsError(
            f"The certificate in {identity.certificate} expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. "
            "Renew it; `entasis certs` renews those that it made."
        )
    if now < leaf.not_valid_before_utc:
        raise TlsError(
            f"The certificate in {identity.certificate} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} "
            "UTC. Look at the clock of this machine."
        )
    return Material(chain, key, leaf)


def read_authorities(path: Path) -> bytes:
    """Read certificates of authorities. Raises TlsError where there is none."""
    found = _read(path)
    _certificates(path, found)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"Cannot read {path}: {error.strerror}.") from None


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsError(f"There is no certificate (PEM) in {path}.") from None


class _HasPublicKey(Protocol):
    def public_key(self) -> object: ...


def _public(holder: _HasPublicKey) -> bytes:
    encoded: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


class Reloading:
    """Gives gRPC the files of a server anew when they have changed. It is asked at every handshake."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._paths = [path for path in (tls.identity.certificate, tls.identity.key, tls.client_ca) if path is not None]
        self._seen = self._state()
        self.initial = self._load()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None to go on with the one before."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state  # before it is tried: what is bad is told once, not at every handshake
        try:
            loaded = self._load()
        except TlsError as error:
            _log.warning("tls_files_not_used", reason=str(error))
            return None
        _log.info("tls_files_reloaded", certificate=str(self._tls.identity.certificate))
        return loaded

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(path) for path in self._paths]

    def _load(self) -> grpc.ServerCertificateConfiguration:
        found = read_identity(self._tls.identity)
        roots = read_authorities(self._tls.client_ca) if self._tls.client_ca is not None else None
        return grpc.ssl_server_certificate_configuration([(found.key, found.chain)], roots)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Credentials of a gRPC server: TLS 1.2 or 1.3, which gRPC begins at by itself, and always the newest files."""
    reloading = Reloading(tls)
    return grpc.dynamic_ssl_server_credentials(
        reloading.initial,
        reloading,  # type: ignore[arg-type]  # it may give None, says gRPC's documentation and not its types
        require_client_authentication=tls.client_ca is not None,
    )


def channel_credentials(upstream: UpstreamTls) -> grpc.ChannelCredentials:
    """Credentials of a channel to an engine elsewhere, with the files as they are now."""
    found = read_identity(upstream.identity)
    return grpc.ssl_channel_credentials(read_authorities(upstream.ca), found.key, found.chain)


def channel_options(upstream: UpstreamTls) -> Collection[tuple[str, str]]:
    """Options of such a channel: the name to look for, where it is not the host."""
    return [("grpc.ssl_target_name_override", upstream.name)] if upstream.name else []


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> set[str]:
    """The names in the certificate of a gRPC peer, as `context.auth_context()` gives them; empty where it has none.

    They mean something only where the server demands certificates of an authority that it trusts.
    """
    return {name.decode(errors="replace") for name in auth_context.get("x509_subject_alternative_name", ())}
