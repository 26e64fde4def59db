"""Tokens (JWT, RFC 7519 and RFC 9068): ours, and those of another issuer whose public keys are in a JWKS file.

One parser, here, decides what a token says, and PyJWT whether the signature over just those bytes is good. So there is
no second reading of the header or the claims that could differ from the first (RFC 8725, sections 2 and 3).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from entasis_engine.access.directory import SCOPES
from entasis_engine.errors import EntasisError
from entasis_engine.times import from_milliseconds, to_milliseconds

TOKEN_CHARACTERS_MAX = 4096
SECRET_BYTES_MIN = 32  # as long as the digest (RFC 7518, section 3.2)

_OWN_ALGORITHM = "HS256"
_TYPE = "at+jwt"
# Headers that would have the token choose its own key, or that change what the rest means.
_HEADERS_REFUSED = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64"})
_SUBJECT_CHARACTERS_MAX = 255
_SECONDS_MAX = 253_402_300_799  # the end of the year 9999
_SCOPES = frozenset(SCOPES)

_JWKS_BYTES_MAX = 1_048_576
_KID_CHARACTERS_MAX = 255
_RSA_BITS_MIN = 2048
_RSA_BITS_MAX = 8192  # one more doubling makes a signature cost a millisecond
_KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_ALGORITHMS = {name: jwt.get_algorithm_by_name(name) for name in (_OWN_ALGORITHM, *_KEY_TYPES)}

_INVALID = "TOKEN_INVALID"
_EXPIRED = "TOKEN_EXPIRED"


class JwksError(Exception):
    """A JWKS file that cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class VerificationKey:
    """A key that signatures are verified with, by one algorithm and no other."""

    kid: str
    alg: str
    key: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | bytes = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Names the key itself: another key under the same `kid` has another one. It tells nothing of a secret."""
        if isinstance(self.key, bytes):
            return _fingerprint(self.alg, self.key)
        return _fingerprint(self.alg, self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether the signature is by this key."""
        return _ALGORITHMS[self.alg].verify(signed, self.key, signature)


@dataclass(frozen=True)
class VerifiedToken:
    """What a token says whose signature and claims are good."""

    account: str
    key_id: str
    """Id of the API key that the token was issued for; empty for tokens of another issuer."""
    scopes: frozenset[str]
    expires_at: datetime
    signer: str
    """Fingerprint of the key that signed it."""


class Tokens:
    """Issues and verifies tokens.

    Args:
        secret: signs our own tokens by HS256.
        issuer: `iss` of all tokens, whoever signs them.
        audience: must be in the `aud` of all tokens.
        jwks: public keys of another issuer, by `kid`.
    """

    def __init__(
        self, secret: bytes, *, issuer: str, audience: str, jwks: Mapping[str, VerificationKey] | None = None
    ) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(
                f"The secret that signs tokens has {len(secret)} bytes; it must have {SECRET_BYTES_MIN} at least. "
                "Make one, for instance with `openssl rand -hex 32`."
            )
        try:
            _ALGORITHMS[_OWN_ALGORITHM].prepare_key(secret)
        except jwt.InvalidKeyError:
            raise ValueError(
                "The secret that signs tokens is itself a key of another kind or a certificate. Make a random one, for "
                "instance with `openssl rand -hex 32`."
            ) from None
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        # So that tokens of a former secret are of a key that nobody knows.
        self._own = VerificationKey(_fingerprint(_OWN_ALGORITHM, secret), _OWN_ALGORITHM, secret)
        self._keys = {self._own.kid: self._own}
        for key in (jwks or {}).values():
            if key.kid == self._own.kid:
                raise JwksError(f"The kid '{key.kid}' is the one of our own tokens. Give the key another kid.")
            if key.alg not in _KEY_TYPES or isinstance(key.key, bytes):
                raise JwksError(f"The key '{key.kid}' is not a public one. Only {_listed(_KEY_TYPES)} keys are taken.")
            self._keys[key.kid] = key
        self._signers = frozenset(key.fingerprint for key in self._keys.values())

    def with_jwks(self, jwks: Mapping[str, VerificationKey]) -> Tokens:
        """The same, but for these keys of the other issuer in place of any before."""
        return Tokens(self._secret, issuer=self._issuer, audience=self._audience, jwks=jwks)

    def knows(self, signer: str) -> bool:
        """Whether tokens of that signer, as `VerifiedToken` names it, are still accepted."""
        return signer in self._signers

    def issue(self, *, account: str, key_id: str, scopes: Collection[str], now: datetime, expires_at: datetime) -> str:
        """A token for an API key. It tells time in whole seconds, rounded down."""
        issued_at = to_milliseconds(now) // 1000
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account,
            "client_id": key_id,
            "scope": " ".join(sorted(scopes)),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": to_milliseconds(expires_at) // 1000,
            "jti": secrets.token_hex(16),
        }
        headers = {"typ": _TYPE, "kid": self._own.kid}
        return jwt.encode(claims, self._secret, algorithm=_OWN_ALGORITHM, headers=headers)

    def verify(self, text: str, now: datetime) -> VerifiedToken:
        """What a token says. Raises TOKEN_INVALID, or TOKEN_EXPIRED where nothing else is wrong with it."""
        now_milliseconds = to_milliseconds(now)
        try:
            token = self._verified(text, now_milliseconds)
        except Exception:
            # Whatever a text that anybody can send sets off, in here or in a library, it is no token.
            raise EntasisError(_INVALID) from None
        if token.expires_at <= now:
            raise EntasisError(_EXPIRED)
        return token

    def _verified(self, text: str, now_milliseconds: int) -> VerifiedToken:
        """What a token says, unless something other than its age is wrong with it: then any exception."""
        if len(text) > TOKEN_CHARACTERS_MAX:
            raise ValueError("too long")
        signed, _, signature_segment = text.rpartition(".")
        header_segment, _, claims_segment = signed.partition(".")  # a third dot is no base64url
        header = _object(header_segment)
        key = self._keys[header["kid"]]
        if header["alg"] != key.alg or not _HEADERS_REFUSED.isdisjoint(header):
            raise ValueError("header")
        if header["typ"].lower().removeprefix("application/") != _TYPE:
            raise ValueError("type")
        if not key.verifies(_bytes(signature_segment), signed.encode("ascii")):
            raise ValueError("signature")
        return self._read(_object(claims_segment), key, now_milliseconds)

    def _read(self, claims: Mapping[str, Any], key: VerificationKey, now_milliseconds: int) -> VerifiedToken:
        audience = claims["aud"]
        audiences = audience if isinstance(audience, list) else [audience]
        if claims["iss"] != self._issuer or self._audience not in audiences:
            raise ValueError("not for us")
        account = claims["sub"]
        # Printable, because it is looked up, stored and logged. Half a surrogate pair, which JSON can spell, is not.
        if not isinstance(account, str) or not account.isprintable() or not 0 < len(account) <= _SUBJECT_CHARACTERS_MAX:
            raise ValueError("sub")
        # Only we know which token was issued for which key; another issuer may write there what it likes.
        key_id = claims["client_id"] if key is self._own else ""
        if not isinstance(key_id, str) or (key is self._own and not key_id):
            raise ValueError("client_id")
        expires_at = math.floor(_seconds(claims["exp"]) * 1000)
        if "nbf" in claims and math.ceil(_seconds(claims["nbf"]) * 1000) > now_milliseconds:
            raise ValueError("nbf")
        if "iat" in claims:
            _seconds(claims["iat"])
        # Split at spaces only (RFC 6749, section 3.3): a scope may not hide behind other kinds of space.
        scopes = _SCOPES.intersection(claims.get("scope", "").split(" "))
        return VerifiedToken(account, key_id, scopes, from_milliseconds(expires_at), key.fingerprint)


def load_jwks(path: Path) -> dict[str, VerificationKey]:
    """The keys in a JWKS file (RFC 7517), by `kid`. Raises `JwksError` unless all of them can be used."""
    try:
        with path.open("rb") as file:
            content = file.read(_JWKS_BYTES_MAX + 1)
    except OSError as error:
        raise JwksError(f"{path} cannot be read: {error.strerror}. Check ENTASIS_JWT_JWKS_FILE.") from error
    if len(content) > _JWKS_BYTES_MAX:
        raise JwksError(f"{path} is larger than {_JWKS_BYTES_MAX} bytes. Leave only the keys that sign tokens for us.")
    try:
        entries = _JSON.decode(content.decode("utf-8"))["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise JwksError(f'{path} is not a JWKS (RFC 7517). It must be JSON of the form {{"keys": [{{…}}, …]}}.')
    keys: dict[str, VerificationKey] = {}
    for number, entry in enumerate(entries, start=1):
        key = _key_of(entry, f"{path}: key {number}")
        if key.kid in keys:
            raise JwksError(f"{path}: two keys have the kid '{key.kid}'. Give each its own.")
        keys[key.kid] = key
    return keys


class JwksFile:
    """A JWKS file that is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._failed = False

    def poll(self) -> dict[str, VerificationKey] | None:
        """The keys, if the file has changed since the last call or this is the first, and None otherwise.

        Raises `JwksError` for a file that cannot be used, once for each state of it: the keys before it go on to count.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            if self._failed:
                return None
            self._failed, self._seen = True, None
            raise JwksError(f"{self._path} cannot be read: {error.strerror}. Check ENTASIS_JWT_JWKS_FILE.") from error
        self._failed = False
        # The time of the last change of the entry, too: a file that we may read now is worth another look.
        state = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if state == self._seen:
            return None
        # Before it is read: what is written meanwhile is another state, and will be read too.
        self._seen = state
        if not stat.S_ISREG(found.st_mode):
            raise JwksError(f"{self._path} is not a file. Check ENTASIS_JWT_JWKS_FILE.")
        return load_jwks(self._path)


def ensure_secret(path: Path) -> bytes:
    """The secret in a file that only our user may read; made where there is none.

    Of several processes that do so at once all get the same secret, and none a part of it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # exclusively, with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES_MIN))
                file.flush()
                os.fsync(file.fileno())
            # Appears whole or not at all, and not in place of one that another process has made meanwhile.
            path.hardlink_to(name)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink()
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(
            f"{path} has {len(secret)} bytes; a secret that signs tokens must have {SECRET_BYTES_MIN} at least. Delete "
            "the file, and a new one is made; tokens that were issued before end with it."
        )
    return secret


def _key_of(entry: Mapping[str, Any], where: str) -> VerificationKey:
    kid, alg = entry.get("kid"), entry.get("alg")
    if not isinstance(kid, str) or not kid.isprintable() or not 0 < len(kid) <= _KID_CHARACTERS_MAX:
        raise JwksError(f"{where} has no kid, by which tokens would name it. Add one.")
    where = f"{where} ('{kid}')"
    if entry.get("kty") == "oct":
        raise JwksError(f"{where} is symmetric: whoever reads it can sign. Remove it; only public keys are taken.")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise JwksError(f"{where} is a private key, with which tokens are signed. Leave only its public part here.")
    if not isinstance(alg, str) or alg not in _KEY_TYPES:
        raise JwksError(f'{where} must say its "alg", one of {_listed(_KEY_TYPES)}. Add it, or remove the key.')
    if entry.get("kty") != _KEY_TYPES[alg]:
        raise JwksError(f'{where} has "alg" {alg} and so must have "kty" {_KEY_TYPES[alg]}.')
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise JwksError(f"{where} is not meant for signatures. Remove it.")
    try:
        key = _ALGORITHMS[alg].from_jwk(dict(entry))
    except Exception as error:  # of several libraries, and of many kinds
        raise JwksError(f"{where} is not a valid {alg} key: {error}. Export it again.") from error
    match key:
        case RSAPublicKey() if _RSA_BITS_MIN <= key.key_size <= _RSA_BITS_MAX:
            return VerificationKey(kid, alg, key)
        case RSAPublicKey():
            raise JwksError(
                f"{where} has {key.key_size} bits. Use an RSA key of {_RSA_BITS_MIN} to {_RSA_BITS_MAX} bits."
            )
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return VerificationKey(kid, alg, key)
        case Ed25519PublicKey():
            return VerificationKey(kid, alg, key)
        case _:
            raise JwksError(f"{where} is of another curve. ES256 takes P-256, and EdDSA Ed25519.")


def _fingerprint(alg: str, key: bytes) -> str:
    return hashlib.sha256(f"entasis token key {alg}\n".encode() + key).hexdigest()[:16]


def _bytes(segment: str) -> bytes:
    """What a segment stands for. Only one text stands for the same bytes: Python's decoder alone takes many."""
    encoded = segment.encode("ascii")
    decoded = base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not base64url")
    return decoded


def _object(segment: str) -> dict[str, Any]:
    """The JSON object in a segment."""
    value = _JSON.decode(_bytes(segment).decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _seconds(value: object) -> int | float:
    """A time in a claim: a number of seconds since 1970, up to the year 9999. NaN is in no range, and a bool none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _SECONDS_MAX:
        raise ValueError("not a time")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose members comes twice: parsers differ in which one they take."""
    unique = dict(members)
    if len(unique) != len(members):
        raise ValueError("a member comes twice")
    return unique


def _no_number(name: str) -> NoReturn:
    """NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


def _listed(names: Collection[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
