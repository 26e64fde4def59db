"""Credentials that look good and are not: ten thousand of them, each forged or damaged in another way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random
import string
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.access import make_key
from tests.support.raw_http import Headers

from entasis_engine.access.directory import SCOPES
from entasis_engine.access.store import AccessStore
from entasis_engine.access.tokens import Tokens
from entasis_engine.times import system_clock

ISSUER = AUDIENCE = "entasis"
COUNT = 11_500
"""More than are wanted: of some a transport cannot be made to carry the difference from a good one."""

MESSAGE_CHARACTERS_MAX = 8000
"""A larger frame ends a WebSocket, whatever is in it."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]
Made = Iterator[tuple[str, Headers]]

_SIGNS = string.ascii_letters + string.digits
_BASE64URL = _SIGNS + "-_"


class Forgery(NamedTuple):
    """One attempt to pass for somebody."""

    kind: str
    headers: Headers
    query: tuple[tuple[str, str], ...] = ()

    @property
    def message(self) -> dict[str, str] | None:
        """What an `auth` message carries of it; None where that has no place for it."""
        carried: dict[str, str] = {}
        for name, value in self.headers:
            field = {"authorization": "token", "x-api-key": "api_key"}.get(name)
            if field is None or field in carried or (field == "token" and not value.startswith(b"Bearer ")):
                return None
            try:
                carried[field] = value.removeprefix(b"Bearer ").decode() if field == "token" else value.decode()
            except UnicodeDecodeError:
                return None
        if not carried or self.query or sum(map(len, carried.values())) > MESSAGE_CHARACTERS_MAX:
            return None
        return carried

    @property
    def subprotocols(self) -> bytes | None:
        """What a browser offers as subprotocols of it; None where a comma or a space would part it from the rest."""
        message = self.message
        if message is None or any(sign in value for value in message.values() for sign in ", \t\r\n"):
            return None
        forms = {"token": "bearer.", "api_key": "key."}
        return ", ".join(["entasis.v1", *(forms[name] + value for name, value in message.items())]).encode()

    @property
    def metadata(self) -> Headers | None:
        """As gRPC has it, which has no query; None where that would be a good credential in its right place."""
        told = tuple((name.lower(), value.encode()) for name, value in self.query)
        if any(name in {"authorization", "x-api-key"} for name, _ in told):
            return None
        return tuple(one for one in self.headers if one[0] != "user-agent") + told

    @property
    def misplaced(self) -> bool:
        """Whether nothing stands where credentials are looked for: the caller is anonymous."""
        return not {"authorization", "x-api-key"} & {name for name, _ in self.headers}

    @property
    def lost_on_the_way(self) -> bool:
        """Whether HTTP takes off just what is wrong, so that what arrives is good.

        Spaces around a value are none of it (RFC 9110, section 5.5); Envoy leaves out carriage returns, and an empty
        `authorization` beside another.
        """
        if any(value != value.strip(b" \t\n") or b"\r" in value for _, value in self.headers):
            return True
        authorizations = [value for name, value in self.headers if name == "authorization"]
        return len(authorizations) > 1 and b"" in authorizations


@dataclass(frozen=True)
class Genuine:
    """An installation's own secrets, and credentials that are good."""

    folder: Path
    secret: bytes
    private_keys: Mapping[str, PrivateKey]
    """By algorithm; their public halves are in the JWKS file under `kids`."""
    account: str
    key: str
    other_account: str
    other_key: str
    closed_account: str
    revoked: str
    expired: str
    closed: str
    now: int

    @property
    def settings(self) -> dict[str, object]:
        """How to start an engine that they are good for."""
        return {
            "data_dir": self.folder,
            "jwt_secret": self.secret.decode(),
            "jwt_jwks_file": self.folder / "jwks.json",
        }

    @property
    def own_kid(self) -> str:
        return str(_decoded(self.own_token().split(".")[0])["kid"])

    def own_token(self, account: str = "", key: str = "") -> str:
        """A token as the engine issues it."""
        tokens = Tokens(self.secret, issuer=ISSUER, audience=AUDIENCE)
        now = system_clock().replace(microsecond=0)
        return tokens.issue(
            account=account or self.account,
            key_id=key_id(key or self.key),
            scopes=SCOPES,
            now=now,
            expires_at=now + timedelta(hours=1),
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token, but for these; None leaves one out."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": self.account,
            "client_id": key_id(self.key),
            "scope": " ".join(SCOPES),
            "iat": self.now - 10,
            "nbf": self.now - 10,
            "exp": self.now + 3600,
            "jti": "0123456789abcdef",
        }
        return {name: value for name, value in (claims | changes).items() if value is not _ABSENT}

    def sign(self, alg: str) -> Sign:
        return hmac_by(self.secret) if alg == "HS256" else signing(self.private_keys[alg])

    def kid(self, alg: str) -> str:
        return self.own_kid if alg == "HS256" else KIDS[alg]

    def token(self, alg: str, **claims: Any) -> str:
        """A token signed by one of the installation's keys, or by its secret."""
        return made({"alg": alg, "typ": "at+jwt", "kid": self.kid(alg)}, self.claims(**claims), self.sign(alg))


KIDS = {"RS256": "issuer-rsa", "ES256": "issuer-ec", "EdDSA": "issuer-ed"}
ALGORITHMS = ("HS256", *KIDS)


class _Absent:
    """In place of a claim that is to be left out."""


_ABSENT = _Absent()


def prepare(folder: Path) -> Genuine:
    """Accounts, keys and a JWKS file in the data folder of an engine that is not started yet."""
    now = system_clock()
    key, other = make_key(folder), make_key(folder, account="other")
    revoked, closed = make_key(folder), make_key(folder, account="closed")
    expired = make_key(folder, lives=timedelta(seconds=1), now=now - timedelta(minutes=1))
    store = AccessStore(folder / "access.db")
    try:
        store.revoke_key(key_id(revoked), now)
        store.close_account("closed", now)
        ids = {account.name: account.id for account in store.load().accounts}
    finally:
        store.close()
    private_keys = new_private_keys()
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk(alg, key) for alg, key in private_keys.items()]}))
    secret = _text(random.Random(7), 48).encode()
    return Genuine(
        folder, secret, private_keys, ids["tests"], key, ids["other"], other, ids["closed"], revoked, expired, closed,
        int(now.timestamp()),
    )  # fmt: skip


def forgeries(genuine: Genuine, count: int = COUNT, seed: int = 20240321) -> list[Forgery]:
    """As many forgeries as asked for, no two of them alike, in a random order that the seed decides."""
    rng = random.Random(seed)
    bad = Forger(genuine, rng)
    found: dict[tuple[Headers, tuple[tuple[str, str], ...]], Forgery] = {}
    by_hand = itertools.chain(
        (Forgery(kind, headers) for make in bad.kinds for kind, headers in make()),
        bad.in_the_query(),
    )
    for forgery in itertools.chain(by_hand, bad.damaged_at_random()):
        found.setdefault((forgery.headers, forgery.query), forgery)
        if len(found) == count:
            break
    good = {(headers, ()) for headers in good_headers(genuine)}
    assert not good & found.keys(), "a good credential is among the forgeries"
    mixed = list(found.values())
    rng.shuffle(mixed)
    return mixed


def good_headers(genuine: Genuine) -> list[Headers]:
    """Every form in which the good credentials are taken."""
    key = ("x-api-key", genuine.key.encode())
    tokens = [("authorization", f"Bearer {genuine.token(alg)}".encode()) for alg in ALGORITHMS]
    issued = ("authorization", f"Bearer {genuine.own_token()}".encode())
    return [(key,), (issued,), (issued, key), *((token,) for token in tokens), *((token, key) for token in tokens)]


# How credentials are made --------------------------------------------------------------------------------------------


def key_id(text: str) -> str:
    return text.split("_")[1]


def checksum(body: str) -> str:
    """CRC-32 in base 62, in six signs: written once more here, as an attacker would."""
    number = zlib.crc32(body.encode())
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return "".join(alphabet[number // 62**power % 62] for power in range(5, -1, -1))


def whole_key(id_: str, secret: str, prefix: str = "ek_") -> str:
    """A key with the right checksum."""
    body = f"{prefix}{id_}_{secret}_"
    return body + checksum(body)


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return value


def made(header: object, claims: object, sign: Sign) -> str:
    signed = f"{segment(header)}.{segment(claims)}"
    return f"{signed}.{segment(sign(signed.encode()))}"


def hmac_by(secret: bytes, digest: str = "sha256") -> Sign:
    return lambda signed: hmac.new(secret, signed, digest).digest()


def signing(key: PrivateKey) -> Sign:
    """Signs as the key's own algorithm of JWT has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda signed: key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):

        def sign(signed: bytes) -> bytes:
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")

        return sign
    return key.sign


def new_private_keys() -> dict[str, PrivateKey]:
    return {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }


def jwk(alg: str, key: PrivateKey) -> dict[str, str]:
    """The public half, as JWKS files have it."""
    common = {"kid": KIDS[alg], "alg": alg, "use": "sig"}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return common | {"kty": "RSA", "n": segment(_big(numbers.n)), "e": segment(_big(numbers.e))}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        x, y = (segment(one.to_bytes(32, "big")) for one in (point.x, point.y))
        return common | {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return common | {"kty": "OKP", "crv": "Ed25519", "x": segment(key.public_key().public_bytes_raw())}


def _big(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def public_forms(alg: str, key: PrivateKey) -> list[bytes]:
    """Every form of a public key that a careless verifier may hold, and so take for the secret of an HMAC."""
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    as_jwk = jwk(alg, key)
    bare = {name: value for name, value in as_jwk.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    forms = [
        pem,
        pem.rstrip(),
        pem.replace(b"\n", b"\r\n"),
        b"".join(pem.splitlines()[1:-1]),
        b"\n".join(pem.splitlines()[1:-1]),
        der,
        base64.urlsafe_b64encode(der).rstrip(b"="),
        der.hex().encode(),
        hashlib.sha256(der).digest(),
        hashlib.sha256(der).hexdigest().encode(),
        hashlib.sha256(f"entasis token key {alg}\n".encode() + der).hexdigest()[:16].encode(),
        json.dumps(as_jwk).encode(),
        json.dumps(as_jwk, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps(bare, separators=(",", ":"), sort_keys=True).encode(),
        hashlib.sha256(json.dumps(bare, separators=(",", ":"), sort_keys=True).encode()).digest(),
        json.dumps({"keys": [as_jwk]}).encode(),
        as_jwk["kid"].encode(),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    ]
    if isinstance(public, rsa.RSAPublicKey):
        forms += [
            public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
            public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
            _big(public.public_numbers().n),
            as_jwk["n"].encode(),
            str(public.public_numbers().n).encode(),
        ]
    elif isinstance(public, ec.EllipticCurvePublicKey):
        forms += [
            public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
            as_jwk["x"].encode(),
            (as_jwk["x"] + as_jwk["y"]).encode(),
        ]
    else:
        forms += [public.public_bytes_raw(), as_jwk["x"].encode(), public.public_bytes_raw().hex().encode()]
    return forms


# How they are forged -------------------------------------------------------------------------------------------------

_KIDS_ODD: list[Any] = [
    "", " ", ".", "/", "0", "null", "none", "default", "*", "%", "..", "../../../../dev/null", "/dev/null",
    "../../../../../../proc/self/environ", "/proc/sys/kernel/randomize_va_space", "file:///dev/null",
    "C:\\Windows\\win.ini", "..\\..\\..\\dev\\null", "jwt-secret", "../jwt-secret", "./jwks.json",
    "x' UNION SELECT 'secret' --", "' OR '1'='1", "1; DROP TABLE api_keys", "\" OR \"\"=\"", "'||'a",
    "http://127.0.0.1/jwks.json", "https://attacker.example/key", "//attacker.example/key", "ldap://127.0.0.1/x",
    "gopher://127.0.0.1:25/", "$(sleep 5)", "`id`", "| cat /etc/passwd", "; cat /etc/passwd", "{{7*7}}", "${7*7}",
    "%00", "\x00", "\n", "\u0000issuer-rsa", "issuer-rsa\u0000", "issuer-rsa ", " issuer-rsa", "ISSUER-RSA",
    "issuer-rsa\n", "issuer-rs", "issuer-rsa1", "ıssuer-rsa", "issuer‐rsa", "__class__", "constructor",
    "toString", "HS256", "RS256", "a" * 2000, 0, 1, -1, 1.5, True, False, None, [], ["issuer-rsa"], {},
    {"issuer-rsa": 1}, [["issuer-rsa"]], 10**30,
]  # fmt: skip

_WRONG: dict[str, list[Any]] = {
    "iss": [_ABSENT, None, "", "Entasis", "ENTASIS", "entasis ", " entasis", "entasis/", "https://entasis", "entasi",
            "entasis\n", "entаsis", 0, True, ["entasis"], {"entasis": 1}, "accounts.google.com", "entasis,entasis"],
    "aud": [_ABSENT, None, "", "Entasis", "entasis ", "entasis/", "other", [], ["other"], [["entasis"]], [None], {},
            {"entasis": 1}, 0, True, "entasis,other", "other entasis", ["entasis "], "*", ["*"], "entаsis"],
    "sub": [_ABSENT, None, "", " ", "tests", "admin", "root", "*", "%", "acc_", "acc_000000000000", 0, True, [], {},
            ["acc_1"], "../acc_1", "' OR 1=1 --", "\x00", "\ud800", "a" * 256, "a" * 1000],
    "nbf": ["now", "", None, True, False, [], {}, -1, 1e300, 253_402_300_800, 10**30, "0"],
    "iat": ["now", "", None, True, False, [], {}, -1, 1e300, 253_402_300_800, 10**30, "0"],
    "exp": [_ABSENT, None, "", "never", "9999999999", True, False, [], {}, [9_999_999_999], {"exp": 9_999_999_999},
            -1, -9_999_999_999, 253_402_300_800, 1e300, 10**20, 10**400, "1e10", "Infinity", 0, 1, 0.5, 1.0e9],
    "scope": [None, 0, True, [], ["market:read"], {}, {"market:read": True}],
}  # fmt: skip
_TYPES: list[Any] = [
    _ABSENT, None, "", "JWT", "jwt", "at", "at+jwt ", " at+jwt", "at+jwt+x", "at-jwt", "id+jwt", "rt+jwt", "dpop+jwt",
    "logout+jwt", "application/jwt", "application/", "text/at+jwt", "application/application/at+jwt", "аt+jwt", 0, True,
    [], ["at+jwt"], {}, "JOSE", "JWE",
]  # fmt: skip

_LOOK_ALIKES = {
    "a": "аɑaàª", "B": "ВBβßʙ", "b": "Ьbƀ", "e": "еeéêℯ", "r": "гrʳ", "k": "кkK", "_": "_‿ˍ", "c": "сcç", "o": "оo0ºò",
    "0": "О0°", "1": "l1¹ⅼ", "2": "2²", "3": "3³З", "i": "іiíì", "x": "хx×", "p": "рp", "A": "АAÀ", "E": "ЕEÉ",
    "y": "уyýÿ", "J": "ЈJ", "I": "ІIÍ", "N": "NÑ", "n": "nñ", "u": "uùµ", "s": "ѕsſ", "t": "tτ", "S": "ЅS§", "O": "ОOÒ",
}  # fmt: skip

_INSIDE = ["\n", "\r", "\r\n ", "\x00", "\x0b", "\x0c", "\x1b", "\x1c", "\x7f", "\t", " ", "  ", "\x85", "\xa0", "\xad",
           "\u2028", "\u2029", "\u200b", "\ufeff", "\u00a0", "%0a", "%0d%0a", "%00", "%20", "+", "\\n", "&", ";", "=",
           "\"", "'", "#", "?", "/", "/../", "<!---->", "%2e", "%", "*", "\\", "\\u0000", "@", "!", "~", "^",
           "|"]  # fmt: skip

_SCHEMES = [
    "", "Basic ", "basic ", "Digest ", "Bearer, ", "Bearer,", "bearer\t", "Bearer\t", "Bearer: ", "Bearer:", "Bearer=",
    "Bearer", "BearerX ", "XBearer ", "Bear er ", "Token ", "token ", "Token token=", "JWT ", "ApiKey ", "Api-Key ",
    "OAuth ", "OAuth2 ", "Negotiate ", "NTLM ", "HOBA ", "Mutual ", "AWS4-HMAC-SHA256 ", "GNAP ", "DPoP ",
    "PrivateToken ", "Key ", "key=", "Bearer%20", "Bearer+", "Bearer_", "Bearer-", "Bearer.", "Bearer/", "Bearer;",
    "Bearer\x0b", "Bearer\x0c", "Bearer\xa0", "Bearer\u2003", "Bearer Bearer ", "Bearer bearer ", "Bearer token ",
    "Bearer token=", "Bearer realm=x, ", "Bearer \"", "Bearer '", "Bearer <", "Bearer [", "'Bearer ", "\"Bearer ",
    "Bearer \t", "Bearer Basic ", "Basic Bearer ", "Authorization: Bearer ", "Bearer null ", "Bearer undefined ",
]  # fmt: skip

_ELSEWHERE = [
    "x-api_key", "x_api_key", "x-apikey", "x-api-keys", "x-api-key-", "xx-api-key", "api-key", "apikey", "x-key", "key",
    "x-auth-token", "x-access-token", "access-token", "token", "x-token", "authentication", "authorisation", "auth",
    "x-authorization", "proxy-authorization", "x-forwarded-authorization", "x-original-authorization", "authorization-",
    "x-amz-security-token", "x-goog-api-key", "ocp-apim-subscription-key", "x-forwarded-access-token", "x-client-key",
    "x-session", "x-account", "x-principal", "x-user", "x-envoy-authorization", "www-authenticate", "x-api-key.",
    "sec-websocket-key2", "x-entasis-key", "x-http-authorization", "http-authorization", "redirect-authorization",
]  # fmt: skip

_COOKIES = ["api_key", "x-api-key", "X-API-Key", "access_token", "token", "authorization", "Authorization", "session"]
_PARAMETERS = ["api_key", "apikey", "key", "x-api-key", "X-API-Key", "access_token", "token", "authorization", "jwt"]


class Forger:
    """Makes each kind of forgery of an installation's credentials."""

    def __init__(self, genuine: Genuine, rng: random.Random) -> None:
        self._genuine = genuine
        self._rng = rng
        self._attacker = new_private_keys()
        self._tokens = {alg: genuine.token(alg) for alg in ALGORITHMS}
        self._own = genuine.own_token()

    @property
    def kinds(self) -> list[Callable[[], Made]]:
        return [
            self.without_signature,
            self.public_key_as_secret,
            self.kid_injection,
            self.embedded_key,
            self.wrong_claims,
            self.wrong_objects,
            self.other_signature,
            self.rearranged,
            self.wrong_key,
            self.ended_key,
            self.wrong_scheme,
            self.look_alike,
            self.spoiled_inside,
            self.both,
            self.repeated,
            self.elsewhere,
            self.of_odd_size,
            self.damaged,
        ]

    def without_signature(self) -> Made:
        """JWT of the algorithm `none`, in all its spellings."""
        spellings = ["".join(one) for one in itertools.product(*((sign, sign.upper()) for sign in "none"))]
        odd = ["", None, "null", " none", "none ", "nоne", "n\u0000one", 0, False, [], ["none"], {}, "NONE\n", "plain"]
        good_signature = self._own.split(".")[2]
        for alg, kid in itertools.product(spellings + odd, [self._genuine.own_kid, *KIDS.values(), _ABSENT]):
            header = _present({"alg": alg, "typ": "at+jwt", "kid": kid})
            signed = f"{segment(header)}.{segment(self._genuine.claims())}"
            for signature in ("", good_signature):
                yield "alg none", _bearer(f"{signed}.{signature}")
        for kept in (self._own, *self._tokens.values()):
            yield "alg none", _bearer(kept.rpartition(".")[0] + ".")
            yield "alg none", _bearer(kept.rpartition(".")[0])

    def public_key_as_secret(self) -> Made:
        """An HMAC by what everybody may know of the public keys."""
        for alg, key in self._genuine.private_keys.items():
            for form in public_forms(alg, key):
                for claimed, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), (alg, "sha256")):
                    for kid in (KIDS[alg], self._genuine.own_kid):
                        header = {"alg": claimed, "typ": "at+jwt", "kid": kid}
                        forged = made(header, self._genuine.claims(), hmac_by(form, digest))
                        yield "RS/HS confusion", _bearer(forged)

    def kid_injection(self) -> Made:
        """A `kid` that a careless verifier would open, ask a database for, or call."""
        for kid in _KIDS_ODD:
            for secret in (b"", b"secret", self._genuine.secret):
                header = {"alg": "HS256", "typ": "at+jwt", "kid": kid}
                yield "kid injection", _bearer(made(header, self._genuine.claims(), hmac_by(secret)))
        for alg, kid in itertools.product(ALGORITHMS, [self._genuine.own_kid, *KIDS.values(), _ABSENT]):
            if kid != self._genuine.kid(alg):
                header = _present({"alg": alg, "typ": "at+jwt", "kid": kid})
                yield "kid of another key", _bearer(made(header, self._genuine.claims(), self._genuine.sign(alg)))

    def embedded_key(self) -> Made:
        """A token that brings the key to verify it with; and one that is signed well, but carries such a header."""
        for alg, key in self._attacker.items():
            public = jwk(alg, key)
            der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            x5c = [base64.b64encode(der).decode()]
            brought: list[dict[str, Any]] = [
                {"jwk": public},
                {"jwk": public | {"kid": "attacker"}},
                {"jku": "http://127.0.0.1:1/jwks.json"},
                {"jku": "https://entasis@attacker.example/jwks.json"},
                {"jku": "file:///tmp/jwks.json"},
                {"x5u": "https://attacker.example/x.pem"},
                {"x5c": x5c},
                {"x5c": x5c, "x5t": segment(hashlib.sha1(der).digest())},
                {"x5t#S256": segment(hashlib.sha256(der).digest())},
                {"jwk": public, "jku": "http://127.0.0.1:1/", "x5c": x5c, "x5u": "http://127.0.0.1:1/"},
                {"keys": [public]},
                {"key": public},
            ]
            for more, kid in itertools.product(brought, [KIDS[alg], self._genuine.own_kid, "attacker", _ABSENT]):
                header = _present({"alg": alg, "typ": "at+jwt", "kid": kid}) | more
                yield "embedded key", _bearer(made(header, self._genuine.claims(), signing(key)))
        refused: list[dict[str, Any]] = [
            {"jwk": jwk("ES256", self._attacker["ES256"])}, {"jku": "http://127.0.0.1:1/"}, {"x5u": ""}, {"x5c": []},
            {"jwk": None}, {"crit": ["exp"]}, {"crit": []}, {"crit": None}, {"b64": False}, {"b64": True},
            {"b64": False, "crit": ["b64"]}, {"crit": ["http://example.com/x"], "http://example.com/x": 1},
        ]  # fmt: skip
        for alg, more in itertools.product(ALGORITHMS, refused):
            header = {"alg": alg, "typ": "at+jwt", "kid": self._genuine.kid(alg)} | more
            yield "header that is not taken", _bearer(made(header, self._genuine.claims(), self._genuine.sign(alg)))

    def wrong_claims(self) -> Made:
        """Signed well, but not for this moment, this engine or an account that may call."""
        genuine = self._genuine
        now = genuine.now
        for alg in ALGORITHMS:
            sign = genuine.sign(alg)
            for claim, values in _WRONG.items():
                for value in values:
                    kind = "exp of the wrong type" if claim == "exp" else f"wrong {claim}"
                    yield kind, _bearer(genuine.token(alg, **{claim: value}))
            for age in (1, 2, 5, 59, 60, 61, 300, 3600, 86_400, 10**8):
                yield "expired", _bearer(genuine.token(alg, exp=now - age))
                yield "expired", _bearer(genuine.token(alg, exp=now - age + 0.5, iat=now - age - 10))
            for wait in (600, 3600, 86_400, 10**8, 10**9):
                yield "not yet valid", _bearer(genuine.token(alg, nbf=now + wait))
                yield "not yet valid", _bearer(genuine.token(alg, nbf=now + wait + 0.5, exp=now + 2 * wait))
            for account in (genuine.closed_account, genuine.account.upper(), genuine.account[:-1], "other"):
                yield "wrong sub", _bearer(genuine.token(alg, sub=account))
            for value in _TYPES:
                header = _present({"alg": alg, "typ": value, "kid": genuine.kid(alg)})
                yield "wrong type", _bearer(made(header, genuine.claims(), sign))
            for value in (_ABSENT, None, "", "hs256", "HS256 ", "RS512", "PS256", "ES384", "ES256K", "HS512", "Ed25519",
                          "A256GCM", "dir", 0, True, [alg], {alg: 1}, alg.lower(), f" {alg}", f"{alg}\n"):  # fmt: skip
                header = _present({"alg": value, "typ": "at+jwt", "kid": genuine.kid(alg)})
                yield "alg that is not the key's", _bearer(made(header, genuine.claims(), sign))
        ids = [key_id(one) for one in (genuine.other_key, genuine.revoked, genuine.expired, genuine.closed)]
        for value in [*ids, _ABSENT, None, "", " ", "000000000000", 0, True, [], {}, [key_id(genuine.key)], genuine.key,
                      f"ek_{key_id(genuine.key)}", key_id(genuine.key).swapcase(),
                      key_id(genuine.key) + " "]:  # fmt: skip
            yield "token for another key", _bearer(genuine.token("HS256", client_id=value))
            yield "token for another key", _bearer(genuine.token("HS256", client_id=value, exp=now + 7200))
        yield "token for another key", _bearer(genuine.token("HS256", sub=genuine.other_account))
        yield "token of an ended key", _bearer(genuine.own_token(key=genuine.revoked))
        yield "token of an ended key", _bearer(genuine.own_token(key=genuine.expired))
        yield "token of an ended key", _bearer(genuine.own_token(genuine.closed_account, genuine.closed))

    def wrong_objects(self) -> Made:
        """Signed well, but header or claims are no JSON object, or one that parsers read differently."""
        genuine = self._genuine
        for alg in ALGORITHMS:
            header = {"alg": alg, "typ": "at+jwt", "kid": genuine.kid(alg)}
            head, body = (json.dumps(one).encode() for one in (header, genuine.claims()))
            other = json.dumps({"sub": genuine.other_account}).encode()[1:-1]
            for odd in (
                b"", b"null", b"true", b"0", b'""', b"[]", b"[" + body + b"]", b'"' + segment(body).encode() + b'"',
                body[:-1], body + b"}", body + body, b"\xef\xbb\xbf" + body, body.decode().encode("utf-16"),
                body.replace(b'"', b"'"), body[:-1] + b",}", body + b"//", body[:-1] + b"," + other + b"}",
                b"{" + other + b"," + body[1:], body[:-1] + b',"exp":9999999999}', body[:-1] + b',"x":NaN}',
                body[:-1] + b',"x":Infinity}', body[:-1] + b',"x":-Infinity}', body[:-1] + b',"x":1e}',
                b"[" * 1500, b'{"a":' * 300 + b"1" + b"}" * 299, body[:-1] + b',"x":"\xff"}', body + b"\x00",
                body[:-1] + b',"x":"\n"}', body[:-1] + b',"\\u0073ub":"' + genuine.other_account.encode() + b'"}',
            ):  # fmt: skip
                yield "claims that are no object", _bearer(made(head, odd, genuine.sign(alg)))
            for odd in (
                b"", b"null", b"[]", b"0", head[:-1], head + head, head[:-1] + b',"alg":"none"}',
                b'{"alg":"none",' + head[1:], head[:-1] + b',"kid":"x"}', head[:-1] + b',"typ":"JWT"}',
                b"\xef\xbb\xbf" + head, head.replace(b'"', b"'"), head[:-1] + b',"x":NaN}', head[:-1] + b",}",
            ):  # fmt: skip
                yield "header that is no object", _bearer(made(odd, body, genuine.sign(alg)))

    def other_signature(self) -> Made:
        """The right `kid`, and a signature by somebody else, or of another kind."""
        genuine = self._genuine
        secret = genuine.secret
        guesses = [
            b"", b"secret", b"your-256-bit-secret", b"your-secret-key", b"changeme", b"entasis", b"password", b"0" * 32,
            bytes(range(32)), secret[:-1], secret[1:], secret[:32], secret.upper(), secret.lower(), secret + b"\n",
            b" " + secret, secret + b"=", secret[::-1], secret * 2, hashlib.sha256(secret).digest(),
            base64.b64encode(secret), secret.hex().encode(), genuine.own_kid.encode(), genuine.key.encode(),
        ]  # fmt: skip
        for guess in guesses:
            for claims in (genuine.claims(), genuine.claims(scope="admin"), genuine.claims(jti="1")):
                header = {"alg": "HS256", "typ": "at+jwt", "kid": genuine.own_kid}
                yield "token of another secret", _bearer(made(header, claims, hmac_by(guess)))
        for digest, alg in (("sha384", "HS384"), ("sha512", "HS512"), ("sha1", "HS256"), ("sha512", "HS256")):
            header = {"alg": alg, "typ": "at+jwt", "kid": genuine.own_kid}
            yield "alg that is not the key's", _bearer(made(header, genuine.claims(), hmac_by(secret, digest)))
        for alg, key in self._attacker.items():
            header = {"alg": alg, "typ": "at+jwt", "kid": KIDS[alg]}
            for number in range(8):
                yield "another key's signature", _bearer(made(header, genuine.claims(jti=str(number)), signing(key)))
        rsa_key, ec_key = genuine.private_keys["RS256"], genuine.private_keys["ES256"]
        assert isinstance(rsa_key, rsa.RSAPrivateKey)
        assert isinstance(ec_key, ec.EllipticCurvePrivateKey)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        otherwise: list[tuple[str, str, Sign]] = [
            ("PS256", "RS256", lambda signed: rsa_key.sign(signed, pss, hashes.SHA256())),
            ("RS256", "RS256", lambda signed: rsa_key.sign(signed, pss, hashes.SHA256())),
            ("RS384", "RS256", lambda signed: rsa_key.sign(signed, padding.PKCS1v15(), hashes.SHA384())),
            ("RS256", "RS256", lambda signed: rsa_key.sign(signed, padding.PKCS1v15(), hashes.SHA512())),
            ("ES256", "ES256", lambda signed: ec_key.sign(signed, ec.ECDSA(hashes.SHA256()))),
            ("ES256", "ES256", lambda signed: ec_key.sign(signed, ec.ECDSA(hashes.SHA512()))),
            ("ES256", "ES256", lambda _signed: b"\0" * 64),
            ("ES256", "ES256", lambda _signed: b"\0" * 31 + b"\1" + b"\0" * 31 + b"\1"),
            ("ES256", "ES256", lambda _signed: b"\xff" * 64),
            ("EdDSA", "EdDSA", lambda _signed: b"\0" * 64),
            ("EdDSA", "EdDSA", lambda _signed: b"\1" + b"\0" * 63),
            ("RS256", "RS256", lambda _signed: b"\0" * 256),
            ("RS256", "RS256", lambda _signed: b"\0" * 255 + b"\1"),
            ("HS256", "HS256", lambda _signed: b"\0" * 32),
            ("HS256", "HS256", lambda _signed: b""),
        ]
        for alg, of, sign in otherwise:
            header = {"alg": alg, "typ": "at+jwt", "kid": genuine.kid(of)}
            yield "signature of another kind", _bearer(made(header, genuine.claims(), sign))
            yield "signature of another kind", _bearer(made(header, genuine.claims(jti="2"), sign))

    def rearranged(self) -> Made:
        """Segments of good tokens, put together anew."""
        tokens = [self._own, *self._tokens.values(), self._genuine.own_token(self._genuine.other_account)]
        parts = [token.split(".") for token in tokens]
        for one in parts:
            whole = ".".join(one)
            for order in list(itertools.permutations(range(3)))[1:]:
                yield "swapped segments", _bearer(".".join(one[place] for place in order))
            for form in (
                f"{whole}.", f".{whole}", f"{whole}..", f"{whole}.{one[2]}", f"{one[0]}..{one[2]}",
                f"{one[0]}.{one[1]}",
                f"{one[0]}.{one[1]}..", f"..{one[2]}", f"{one[0]}", f"{one[1]}", f"{whole}.e30", f"{one[0]}.{whole}",
                f"{one[0]}.{one[1]}.{one[1]}.{one[2]}", f"{one[0]},{one[1]},{one[2]}", f"{one[0]}. {one[1]}.{one[2]}",
            ):  # fmt: skip
                yield "segments too many or too few", _bearer(form)
            payload = {"protected": one[0], "payload": one[1], "signature": one[2]}
            yield "JSON serialization", _bearer(json.dumps(payload, separators=(",", ":")))
            yield "JSON serialization", _bearer(json.dumps({"token": whole}, separators=(",", ":")))
            for padded in (
                whole + "=",
                ".".join(text + "=" for text in one),
                f"{whole}==",
                f"{one[0]}=.{one[1]}.{one[2]}",
            ):
                yield "base64 with padding", _bearer(padded)
            standard = whole.replace("-", "+").replace("_", "/")
            yield "base64 of the other alphabet", _bearer(standard if standard != whole else whole + "+/")
            yield "encoded once more", _bearer(quote(whole.replace(".", "%2E")))
            yield "encoded once more", _bearer(base64.b64encode(whole.encode()))
            yield "encoded once more", _bearer(whole.encode().hex())
            yield "encoded once more", _bearer("".join(f"%{byte:02X}" for byte in whole.encode()[:1200]))
            for more in (
                ",",
                ";",
                "&",
                "!",
                "~",
                "\\",
                "|",
                ",x",
                f",{whole}",
                f";{one[0]}",
                "&x=1",
                "#x",
                "?x",
                "\x00",
            ):
                yield "something added", _bearer(whole + more)
                yield "something added", _bearer(more + whole)
            for scheme in ("token=", "jwt:", "Bearer.", "bearer.", "ek_"):
                yield "something added", _bearer(scheme + whole)
            for kid in (self._genuine.own_kid, *KIDS.values()):
                header = {"alg": "HS256", "typ": "at+jwt", "kid": kid, "cty": "JWT"}
                yield "nested", _bearer(made(header, whole.encode(), hmac_by(b"secret")))
                yield "nested", _bearer(made(header, whole.encode(), hmac_by(self._genuine.secret)))
            for alg, enc in itertools.product(("dir", "RSA-OAEP", "ECDH-ES", "A256KW", "PBES2-HS256+A128KW"),
                                              ("A128GCM", "A128CBC-HS256")):  # fmt: skip
                header = {"alg": alg, "enc": enc, "typ": "at+jwt", "kid": KIDS["RS256"], "p2c": 10**9, "p2s": "AAAA"}
                yield (
                    "five parts (JWE)",
                    _bearer(f"{segment(header)}.{one[2]}.{segment(b'iv')}.{one[1]}.{segment(b'x')}"),
                )
        for first, second, third in itertools.product(range(len(parts)), repeat=3):
            if not first == second == third:
                mixed = f"{parts[first][0]}.{parts[second][1]}.{parts[third][2]}"
                if mixed not in tokens:  # two of them have the same header
                    yield "another token's segments", _bearer(mixed)

    def wrong_key(self) -> Made:
        """API keys that are not exactly one that was given out."""
        genuine, rng = self._genuine, self._rng
        for key, other in ((genuine.key, genuine.other_key), (genuine.other_key, genuine.key)):
            _, own_id, secret, check = key.split("_")
            _, other_id, other_secret, _ = other.split("_")
            for sign in _SIGNS:
                if sign != check[-1]:
                    yield "key, checksum off", _key(key[:-1] + sign)
            for _ in range(60):
                yield "key, checksum off", _key(f"ek_{own_id}_{secret}_{_text(rng, 6)}")
                yield "key, wrong secret with right checksum", _key(whole_key(own_id, _text(rng, 32)))
                yield "key, unknown id with right checksum", _key(whole_key(_text(rng, 12), secret))
                yield "key, made up with right checksum", _key(whole_key(_text(rng, 12), _text(rng, 32)))
            for place in range(32):
                near = secret[:place] + _other(rng, secret[place]) + secret[place + 1 :]
                yield "key, one sign off with right checksum", _key(whole_key(own_id, near))
            for place in range(12):
                near = own_id[:place] + _other(rng, own_id[place]) + own_id[place + 1 :]
                yield "key, one sign off with right checksum", _key(whole_key(near, secret))
            yield "key, another account's id", _key(whole_key(other_id, secret))
            yield "key, another account's id", _key(f"ek_{other_id}_{secret}_{check}")
            yield "key, another account's secret", _key(whole_key(own_id, other_secret))
            yield "key, another account's secret", _key(whole_key(other_id, secret[:16] + other_secret[16:]))
            for form in (key * 2, f"{key} {key}", f"{key},{key}", f"{key};{key}", f"{key}.{key}", f"{key}_{key}",
                         f"{key},{other}", f"{key} {other}", f"{key}|", f"{key[:27]}{key}"):  # fmt: skip
                yield "key, doubled", _key(form)
            for prefix in ("", "EK_", "Ek_", "eK_", "sk_", "ak_", "ek", "ek-", "ek.", "ek__", "_ek_", "kek_", "ek_ek_",
                           "ek_live_", "ek_test_", "key.", "key_", "Bearer ", "ApiKey ", "bearer.",
                           "ek%5f"):  # fmt: skip
                yield "key, prefix changed", _key(prefix + key[3:])
                yield "key, prefix changed", _key(whole_key(own_id, secret, prefix))
            for form in (key.upper(), key.lower(), key.swapcase(), key.title(), key[:3] + key[3:].swapcase(), key[::-1],
                         key[:3] + key[3:].upper(), key[:3] + key[3:].lower()):  # fmt: skip
                yield "key, upper and lower case", _key(form)
            for place in range(3, len(key)):
                if key[place].swapcase() != key[place]:
                    yield "key, upper and lower case", _key(key[:place] + key[place].swapcase() + key[place + 1 :])
            for form in (own_id, secret, check, f"ek_{own_id}", f"ek_{own_id}_", f"ek_{own_id}_{secret}",
            f"{own_id}:{secret}",
                         f"ek_{own_id}_{secret}_", f"ek__{secret}_{check}", f"ek_{secret}_{own_id}_{check}",
                         f"ek_{own_id}_{'*' * 32}_{check}", f"ek_{own_id}_%_{check}",
                         f"ek_{own_id}_' OR 1=1 --_{check}",
                         hashlib.sha256(key.encode()).hexdigest(), base64.b64encode(key.encode()).decode(), f'"{key}"',
                         f"'{key}'", f"<{key}>", f"{{{key}}}", quote(key.replace("_", "%5F")), key.encode().hex(),
                         key.replace("_", "-"), key.replace("_", " "), key.replace("_", "__"), key.replace("_", ""),
                         "null", "undefined", "None", "true", "0", "[]", "{}", "*", "%", "ek_", "_",
                         "your-api-key"):  # fmt: skip
                yield "key, parts and odd forms", _key(form)
            yield "credential of the other kind", _bearer(key)
            yield "credential of the other kind", (("authorization", key.encode()),)
        for token in (self._own, *self._tokens.values()):
            yield "credential of the other kind", _key(token)
            yield "credential of the other kind", _key(f"Bearer {token}")
        yield "empty", _key("")
        yield "empty", (("authorization", b""),)
        yield "empty", (("authorization", b"Bearer"),)
        yield "empty", (("authorization", b""), ("x-api-key", b""))

    def ended_key(self) -> Made:
        """Whole and right, but revoked, expired, or of an account that is closed."""
        for kind, key in (
            ("key, revoked", self._genuine.revoked),
            ("key, expired", self._genuine.expired),
            ("key, of a closed account", self._genuine.closed),
        ):
            yield kind, _key(key)
            yield kind, (*_key(key), *_bearer(self._own))
            yield kind, (*_bearer(self._tokens["RS256"]), *_key(key))

    def wrong_scheme(self) -> Made:
        """Good credentials under a scheme that is not Bearer, or not quite."""
        genuine = self._genuine
        for scheme, credential in itertools.product(_SCHEMES, (self._own, *self._tokens.values(), genuine.key)):
            for encode in ("utf-8", "latin-1"):
                try:
                    yield "wrong scheme", (("authorization", f"{scheme}{credential}".encode(encode)),)
                except UnicodeEncodeError:
                    continue
        for user in (f"{genuine.key}:", f":{genuine.key}", f"tests:{genuine.key}", f"api:{self._own}", f"{self._own}:"):
            basic = base64.b64encode(user.encode())
            yield "wrong scheme", (("authorization", b"Basic " + basic),)
            yield "wrong scheme", (("authorization", b"Bearer " + basic),)
        digest = f'Digest username="{genuine.account}", realm="entasis", response="{genuine.key}"'
        yield "wrong scheme", (("authorization", digest.encode()),)

    def look_alike(self) -> Made:
        """Letters of other scripts that look like the right ones, as UTF-8 and, where it has them, as Latin-1."""
        whole = {"authorization": f"Bearer {self._own}", "x-api-key": self._genuine.key}
        for name, text in whole.items():
            for place in range(min(len(text), 90)):
                for sign in _LOOK_ALIKES.get(text[place], "") + _full_width(text[place]):
                    forged = text[:place] + sign + text[place + 1 :]
                    if forged == text:
                        continue
                    yield "look-alike letters", ((name, forged.encode()),)
                    if ord(sign) < 256:
                        yield "look-alike letters", ((name, forged.encode("latin-1")),)
            yield "look-alike letters", ((name, "".join(map(_full_width, text)).encode()),)
            yield "look-alike letters", ((name, text.encode("utf-16-be")),)
            yield "look-alike letters", ((name, text.encode().replace(b"_", b"\xc1\x9f").replace(b".", b"\xc0\xae")),)
            yield "look-alike letters", ((name, b"\xef\xbb\xbf" + text.encode()),)
            for byte in (0x80, 0x85, 0x9F, 0xA0, 0xC3, 0xED, 0xF8, 0xFE, 0xFF):
                yield "bytes that are no text", ((name, text.encode() + bytes([byte])),)
                yield "bytes that are no text", ((name, bytes([byte]) + text.encode()),)

    def spoiled_inside(self) -> Made:
        """Spaces, newlines and what stands for them, in the middle and at the ends."""
        for text, send in ((self._own, _bearer), (self._tokens["ES256"], _bearer), (self._genuine.key, _key)):
            for more in _INSIDE:
                for place in (1, 5, len(text) // 2, len(text) - 3):
                    yield "spoiled inside", send((text[:place] + more + text[place:]).encode())
                    if max(map(ord, more)) in range(128, 256):
                        yield "spoiled inside", send((text[:place] + more + text[place:]).encode("latin-1"))
                yield "spoiled at the end", send((text + more).encode())
                if send is _key or more.strip(" "):
                    yield "spoiled at the beginning", send((more + text).encode())

    def both(self) -> Made:
        """Both headers, of which one is bad, or which name different accounts."""
        genuine, rng = self._genuine, self._rng
        other_token = genuine.own_token(genuine.other_account, genuine.other_key)
        for alg, token in [("own", self._own), *self._tokens.items()]:
            yield "both, of different accounts", (*_bearer(token), *_key(genuine.other_key))
            yield "both, of different accounts", (*_key(genuine.other_key), *_bearer(token))
            if alg != "own":
                forged = genuine.token(alg, sub=genuine.other_account, client_id=key_id(genuine.other_key))
                yield "both, of different accounts", (*_bearer(forged), *_key(genuine.key))
            bad_keys = ["", "x", "your-api-key", genuine.key[:-1], genuine.key.swapcase(), genuine.revoked,
                        genuine.expired, whole_key(key_id(genuine.key), _text(rng, 32)), token]  # fmt: skip
            for bad in bad_keys:
                yield "both, one of them bad", (*_bearer(token), *_key(bad))
                yield "both, one of them bad", (*_key(bad), *_bearer(token))
            for place in range(3, len(genuine.key), 3):
                bad = genuine.key[:place] + _other(rng, genuine.key[place]) + genuine.key[place + 1 :]
                yield "both, one of them bad", (*_bearer(token), *_key(bad))
            for place in range(0, len(token), 17):
                bad = token[:place] + _other(rng, token[place]) + token[place + 1 :]
                yield "both, one of them bad", (*_bearer(bad), *_key(genuine.key))
        yield "both, of different accounts", (*_bearer(other_token), *_key(genuine.key))
        for bad_value in (
            "",
            "Bearer",
            "Bearer x",
            "Basic dGVzdHM6",
            "Bearer null",
            "Bearer undefined",
            "x",
            genuine.key,
        ):
            yield "both, one of them bad", (("authorization", bad_value.encode()), *_key(genuine.key))
            yield "both, one of them bad", (*_key(genuine.key), ("authorization", bad_value.encode()))

    def repeated(self) -> Made:
        """A header twice or more, with different values."""
        genuine = self._genuine
        keys = [genuine.key, genuine.other_key, genuine.revoked, "", "x", genuine.key[:-1], genuine.key.upper()]
        for first, second in itertools.permutations(keys, 2):
            yield "repeated headers", (*_key(first), *_key(second))
            yield "repeated headers", (*_key(first), *_key(second), *_key(first))
            yield "repeated headers", (*_key(first), *_bearer(self._own), *_key(second))
        tokens = [f"Bearer {token}" for token in (self._own, *self._tokens.values())]
        values = [*tokens, "", "Bearer", "Bearer x", "Basic eDp5", f"bearer {self._own}"]
        for one, two in itertools.permutations(values, 2):
            yield "repeated headers", (("authorization", one.encode()), ("authorization", two.encode()))

    def elsewhere(self) -> Made:
        """Good credentials where nobody is to look for them."""
        key, token = self._genuine.key, self._own
        for name in _ELSEWHERE:
            for value in (key, token, f"Bearer {token}", f"Bearer {key}", f"ApiKey {key}"):
                yield "in a wrong header", ((name, value.encode()),)
        for name, value in itertools.product(_COOKIES, (key, token, f"Bearer%20{token}")):
            yield "in a cookie", (("cookie", f"{name}={value}".encode()),)
            yield "in a cookie", (("cookie", f"a=b; {name}={value}; c=d".encode()),)

    def in_the_query(self) -> Iterator[Forgery]:
        """Good credentials in the query, which ends up in logs."""
        for name in _PARAMETERS:
            for value in (self._genuine.key, self._own, self._tokens["EdDSA"]):
                yield Forgery("in the query", (), ((name, value),))
                yield Forgery("in the query", (("user-agent", b"x"),), ((name, value), ("a", "b")))
        yield Forgery("in the query", (), (("api_key", self._genuine.key), ("access_token", self._own)))

    def of_odd_size(self) -> Made:
        """Much too long."""
        for size in (300, 513, 3000, 4096, 4097, 5000, 7000, 8000, 9000, 12_000, 15_000):
            yield "much too long", _key("ek_" + "A" * size)
            yield "much too long", _bearer("A" * size)
            yield "much too long", _bearer("." * size)
            padded = self._genuine.token("HS256", pad="A" * size)
            if len(padded) > 4096:
                yield "much too long", _bearer(padded)
        for size in (20_000, 40_000, 61_000):
            yield "much too long", _key("ek_" + "A" * size)

    def damaged(self) -> Made:
        """At every place: cut off, changed, left out, inserted."""
        rng = self._rng
        for text, send, whole in (
            (self._own, _bearer, True),
            (self._tokens["ES256"], _bearer, False),
            (self._tokens["EdDSA"], _bearer, False),
            (self._tokens["RS256"], _bearer, False),
            (self._genuine.key, _key, True),
            (self._genuine.other_key, _key, True),
        ):
            what = "key" if send is _key else "token"
            for place in range(0, len(text), 2 if len(text) > 600 else 1):
                changed = text[:place] + _other(rng, text[place]) + text[place + 1 :]
                yield f"{what}, a sign changed", send(changed)
                if whole:
                    yield f"{what}, a sign left out", send(text[:place] + text[place + 1 :])
                    yield f"{what}, a sign inserted", send(text[:place] + rng.choice(_BASE64URL) + text[place:])
                if place and (whole or place % 3 == 0):
                    yield f"{what}, truncated", send(text[:place])
                if place and whole:
                    yield f"{what}, beginning cut off", send(text[place:])
            if send is _key:
                for place in range(len(text) - 1):
                    turned = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
                    if turned != text:
                        yield "key, signs swapped", send(turned)

    def damaged_at_random(self) -> Iterator[Forgery]:
        """Without end: two to six places of a good credential changed."""
        rng = self._rng
        good: list[tuple[str, Callable[[str | bytes], Headers]]] = [
            *((token, _bearer) for token in (self._own, *self._tokens.values())),
            *((key, _key) for key in (self._genuine.key, self._genuine.other_key)),
        ]
        while True:
            text, send = rng.choice(good)
            signs = list(text)
            for place in rng.sample(range(len(signs)), rng.randint(2, 6)):
                signs[place] = _other(rng, signs[place])
            yield Forgery("several signs changed", send("".join(signs)))


def _bearer(token: str | bytes) -> Headers:
    return (
        ("authorization", b"Bearer " + (token.encode("utf-8", "surrogatepass") if isinstance(token, str) else token)),
    )


def _key(text: str | bytes) -> Headers:
    return (("x-api-key", text.encode() if isinstance(text, str) else text),)


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not _ABSENT}


def _text(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_SIGNS) for _ in range(count))


def _full_width(sign: str) -> str:
    return chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign


def _other(rng: random.Random, sign: str) -> str:
    return rng.choice([one for one in _BASE64URL if one != sign])


# Addresses -----------------------------------------------------------------------------------------------------------

_ADDRESS_HEADERS = [
    "x-client-ip", "x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "cf-connecting-ip", "client-ip",
    "x-envoy-external-address", "x-envoy-original-path", "x-envoy-original-dst-host", "x-envoy-internal",
    "x-envoy-downstream-service-node", "x-envoy-peer-metadata-id", "x-envoy-expected-rq-timeout-ms",
    "x-cluster-client-ip", "x-forwarded", "forwarded-for", "x-original-forwarded-for", "x-remote-ip", "x-remote-addr",
    "remote-addr", "fastly-client-ip", "x-azure-clientip", "x-appengine-user-ip", "fly-client-ip", "x-host", "via",
    "x-originating-ip", "x-forwarded-host", "x-forwarded-proto", "x-peer", "peer", "proxy-client-ip",
    "wl-proxy-client-ip",
    "x-clientip", "x-client-ip-", "x-client-address", "x-proxyuser-ip", "akamai-origin-hop", "x-trusted-proxy",
]  # fmt: skip


def forged_addresses(allowed: Iterable[str], count: int = 1000, seed: int = 20240321) -> list[Headers]:
    """As many sets of headers as asked for, no two alike, that state an address which the connection is not from.

    Args:
        allowed: addresses that a caller would like to come from.
    """
    rng = random.Random(seed)
    wanted = list(allowed)
    found: dict[Headers, None] = {}
    forms = [form for address in wanted for form in _address_forms(address)]
    for name, form in itertools.product(_ADDRESS_HEADERS[:7], forms):
        found[((name, form),)] = None
    while len(found) < count:
        chosen = rng.choices(_ADDRESS_HEADERS, k=rng.randint(1, 5))
        if rng.random() < 0.5:
            chosen = [chosen[0]] * len(chosen)
        found[tuple((_cased(rng, name), rng.choice(forms)) for name in chosen)] = None
    every = list(found)
    rng.shuffle(every)
    return every[:count]


def _address_forms(address: str) -> list[bytes]:
    texts = [
        address, f"{address}:443", f"{address}, 127.0.0.1", f"127.0.0.1, {address}", f"{address},{address}",
        f'"{address}"',
        f"::ffff:{address}", f"[::ffff:{address}]:8080", f"::{address}", f"for={address}",
        f'for="{address}:80";proto=https',
        f"for={address};by=127.0.0.1, for=127.0.0.1", f'for="[::ffff:{address}]"', "unknown", "for=unknown",
        "for=_hidden",
        "_SEVKISEK", f"{address}%eth0", f"{address}/32", f"{address}\t", f"{address};", f"{address} 127.0.0.1",
        "0.0.0.0",
        "::", "::1", "localhost", "127.0.0.1", "0x7f.1", "2130706433", "unix:", f"ipv4:{address}:1", f"ipv4:{address}",
        f"unix:{address}", f"ipv6:%5B::ffff:{address}%5D:1", address.replace(".", "%2e"), f"http://{address}/",
        "null", "-",
        ",", address + "." , "." + address, "0" + address, f"{address}\\", "A" * 300, "1" * 60, f"{address}&x=y", "%00",
        f"２{address[1:]}", f"{address}\xa0",
    ]  # fmt: skip
    return [text.strip().encode() for text in texts]


def _cased(rng: random.Random, name: str) -> str:
    return name if rng.random() < 0.5 else "".join(rng.choice((sign, sign.upper())) for sign in name)
