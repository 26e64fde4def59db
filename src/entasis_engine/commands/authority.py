"""An authority for trials: certificates for the parts of an installation, in a folder that changes all at once."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entasis_engine.tls import names_in

AUTHORITY_DAYS = 3650
CLOCKS_DIFFER = timedelta(minutes=5)
"""Certificates are valid from this long ago, for machines whose clock is late."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
CLIENTS = {name: f"{name}.entasis.internal" for name in ("edge", "bridge", "client")}
"""Who shows a certificate to an engine, and the name in it."""

CURRENT = ".current"
GENERATION = ".made-"
_DNS_NAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.I)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class AuthorityError(Exception):
    """The certificates cannot be made. The text says why, and what to do."""


@dataclass(frozen=True)
class Signed:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Made:
    """What a run made."""

    authority: Signed
    authority_is_new: bool
    leaves: dict[str, Signed]
    """`server`, `edge`, `bridge` and `client`."""


def make(folder: Path, *, hosts: Sequence[str], days: int, anew: bool, now: datetime | None = None) -> Made:
    """Make what is missing and renew the rest, in one step for whoever reads the folder.

    Args:
        hosts: names and addresses of the server, beside those of this machine and those that it had.
        days: how long the certificates are valid.
        anew: make a new authority, which nobody trusts yet, and forget the server's names.

    Raises:
        AuthorityError: the folder has other files of these names, or its authority is of no use any more.
    """
    now = now or datetime.now(UTC)
    named = [_checked(host) for host in hosts]
    begun = not anew and (folder / CURRENT).exists()
    _require_own(folder)
    authority = _read(folder / CURRENT, "ca") if begun else make_authority(now)
    if authority.certificate.not_valid_after_utc < now + timedelta(days=days):
        raise AuthorityError(
            f"The authority in {folder} ends at {authority.certificate.not_valid_after_utc:%Y-%m-%d}, before what it "
            "would sign: fewer --days, or a new authority with --force."
        )
    before = names_in(_read(folder / CURRENT, "server").certificate) if begun else []
    names = list(dict.fromkeys([*LOCAL_NAMES, *before, *named]))
    leaves = {"server": issue(authority, "server", names, days=days, now=now)}
    for name, full_name in CLIENTS.items():
        leaves[name] = issue(authority, name, [full_name], days=days, now=now, server=False)
    _replace(folder, {"ca": authority, **leaves})
    return Made(authority, not begun, leaves)


def make_authority(now: datetime) -> Signed:
    """An authority that signs certificates of servers and clients, and no other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Entasis development CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signed(certificate, key)


def issue(
    authority: Signed,
    name: str,
    names: Sequence[str],
    *,
    days: float,
    now: datetime,
    server: bool = True,
    key: PrivateKey | None = None,
) -> Signed:
    """A certificate for these DNS names and addresses, of a server or of a client.

    Args:
        name: for people who read the certificate.
        key: where it is not to be a new one of curve P-256.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        _builder(_subject(f"Entasis {name}"), authority.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Signed(certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, days: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _checked(host: str) -> str:
    """A host as certificates have it."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        if len(host) <= 253 and _DNS_NAME.fullmatch(host):
            return host.lower()
    raise AuthorityError(f"'{host}' is neither a DNS name nor an IP address; write it without a port.")


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# The folder. Every file is a link into a folder of one run, and `.current`, which all go through, changes in one step:
# a reader finds no certificate beside another one's key, nor one of another authority. Kubernetes does the same.


def _require_own(folder: Path) -> None:
    for path in _paths(folder):
        if path.exists() and not path.is_symlink():
            raise AuthorityError(f"{path} is there already and was not made here. Choose another folder with --out.")


def _paths(folder: Path) -> list[Path]:
    return [folder / f"{name}{suffix}" for name in ("ca", "server", *CLIENTS) for suffix in (".pem", ".key")]


def _read(folder: Path, name: str) -> Signed:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise AuthorityError(f"Cannot read {name} in {folder}: {error}. Begin anew with --force.") from None
    if not isinstance(key, PrivateKey):
        raise AuthorityError(f"The key of {name} in {folder} is of another kind. Begin anew with --force.")
    return Signed(certificate, key)


def _replace(folder: Path, made: dict[str, Signed]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    generation = Path(tempfile.mkdtemp(prefix=GENERATION, dir=folder))  # which has the mode 0700
    for name, signed in made.items():
        _write(generation / f"{name}.pem", signed.certificate_pem, 0o644)
        _write(generation / f"{name}.key", signed.key_pem, 0o600)
    before = (folder / CURRENT).readlink().name if (folder / CURRENT).is_symlink() else ""
    _link(folder / CURRENT, generation.name)
    for path in _paths(folder):
        if not path.is_symlink():
            _link(path, f"{CURRENT}/{path.name}")
    for old in folder.glob(f"{GENERATION}*"):
        # The one before stays, for who has begun to read it.
        if old.name not in {generation.name, before}:
            shutil.rmtree(old)


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def _link(path: Path, target: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)
