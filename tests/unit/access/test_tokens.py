"""Tokens: right ones are accepted, and everything else is refused as a token, whatever it sets off inside."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import stat
import string
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from entasis_engine.access.tokens import (
    JwksError,
    JwksFile,
    Tokens,
    VerificationKey,
    VerifiedToken,
    ensure_secret,
    load_jwks,
)
from entasis_engine.errors import EntasisError

SECRET = b"0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 3, 21, 9, 30, 0, 250_000, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ALPHABET = string.ascii_letters + string.digits + "-_"

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PARTNERS: Mapping[str, tuple[str, Any]] = {
    "partner-rsa": ("RS256", RSA),
    "partner-ec": ("ES256", EC),
    "7": ("EdDSA", ED),
}
JWKS = {kid: VerificationKey(kid, alg, key.public_key()) for kid, (alg, key) in PARTNERS.items()}

TOKENS = Tokens(SECRET, issuer="entasis", audience="engine", jwks=JWKS)


def _issued(tokens: Tokens = TOKENS, *, scopes: tuple[str, ...] = ("market:read", "portfolio:write")) -> str:
    expires_at = NOW + timedelta(minutes=15)
    return tokens.issue(account="acct_1", key_id="key_1", scopes=scopes, now=NOW, expires_at=expires_at)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


ISSUED = _issued()
HEADER: Mapping[str, Any] = json.loads(_decoded(ISSUED.split(".")[0]))
CLAIMS: Mapping[str, Any] = json.loads(_decoded(ISSUED.split(".")[1]))
OWN_KID = HEADER["kid"]


def _signed(
    claims: Mapping[str, Any] | bytes = CLAIMS,
    header: Mapping[str, Any] | bytes = HEADER,
    secret: bytes = SECRET,
    digest: str = "sha256",
) -> str:
    """A token that is right in everything but what the test changes; made without the library that checks it."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(map(_encoded, parts))
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), digest))}"


def _by_partner(kid: str, /, claims: Mapping[str, Any] | None = None, **header: object) -> str:
    """A token of the other issuer. `client_id` names one of our keys."""
    alg, key = PARTNERS[kid]
    return jwt.encode(dict(claims or CLAIMS), key, alg, {"typ": "at+jwt", "kid": kid, **header})


def _with(**changes: object) -> dict[str, Any]:
    return {**CLAIMS, **changes}


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


def _header(**changes: object) -> dict[str, Any]:
    return {**HEADER, **changes}


def _refusal(text: Any, now: datetime = NOW, tokens: Tokens = TOKENS) -> str:
    """The case that a text is refused with; any other exception fails the test."""
    with pytest.raises(EntasisError) as raised:
        tokens.verify(text, now)
    assert raised.value.__cause__ is None
    return raised.value.case


# What is right.


def test_an_issued_token_says_what_it_was_issued_for() -> None:
    """A token of ours comes back with its account, key, scopes and end."""
    assert TOKENS.verify(ISSUED, NOW) == VerifiedToken(
        account="acct_1",
        key_id="key_1",
        scopes=frozenset({"market:read", "portfolio:write"}),
        expires_at=datetime(2026, 3, 21, 9, 45, tzinfo=UTC),
        signer=OWN_KID,
    )


def test_an_issued_token_is_an_access_token_of_rfc_9068() -> None:
    """Its header and claims are those of the standard, in whole seconds, and a strict reader accepts it."""
    assert HEADER == {"alg": "HS256", "typ": "at+jwt", "kid": OWN_KID}
    assert dict(CLAIMS) == {
        "iss": "entasis",
        "aud": "engine",
        "sub": "acct_1",
        "client_id": "key_1",
        "scope": "market:read portfolio:write",
        "iat": SECONDS,
        "nbf": SECONDS,
        "exp": SECONDS + 900,
        "jti": CLAIMS["jti"],
    }
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "jti"]}
    assert jwt.decode(ISSUED, SECRET, ["HS256"], options, audience="engine", issuer="entasis") == CLAIMS


def test_no_two_tokens_are_the_same() -> None:
    """Tokens issued for the same at the same time differ in their id."""
    assert len({_issued() for _ in range(50)}) == 50


def test_a_token_made_without_the_library_is_accepted() -> None:
    """What the tests below change is right before they change it, by the standard and not by the library's habits."""
    assert TOKENS.verify(_signed(), NOW) == TOKENS.verify(ISSUED, NOW)


@pytest.mark.parametrize("kid", PARTNERS)
def test_tokens_of_the_other_issuer_are_accepted(kid: str) -> None:
    """A token signed by a key of the JWKS file is accepted, by each of the three algorithms."""
    verified = TOKENS.verify(_by_partner(kid), NOW)
    assert (verified.account, verified.scopes) == ("acct_1", {"market:read", "portfolio:write"})
    assert verified.signer == JWKS[kid].fingerprint


@pytest.mark.parametrize("kid", PARTNERS)
@pytest.mark.parametrize("client_id", ["key_1", "", 7, None, ["key_1"]])
def test_the_other_issuer_cannot_speak_of_our_keys(kid: str, client_id: object) -> None:
    """Whatever `client_id` a token of the other issuer has, no key of ours is believed to be behind it."""
    assert TOKENS.verify(_by_partner(kid, _with(client_id=client_id)), NOW).key_id == ""


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_the_type_is_a_media_type(typ: str) -> None:
    """The type counts in any case, with `application/` or without (RFC 7515, section 4.1.9)."""
    assert TOKENS.verify(_signed(header=_header(typ=typ)), NOW).account == "acct_1"


@pytest.mark.parametrize("aud", ["engine", ["engine"], ["other", "engine"]])
def test_we_may_be_one_audience_of_several(aud: object) -> None:
    """A token is for us where we are its audience or one of them."""
    assert TOKENS.verify(_signed(_with(aud=aud)), NOW).account == "acct_1"


@pytest.mark.parametrize("name", ["nbf", "iat", "jti"])
def test_claims_that_may_be_left_out(name: str) -> None:
    """A token need not say when it was made or begins, nor have an id."""
    assert TOKENS.verify(_signed(_without(name)), NOW).account == "acct_1"


def test_further_headers_and_claims_are_ignored() -> None:
    """What says nothing about trust is skipped: the thumbprint of a certificate, a content type, claims of others."""
    text = _signed(_with(azp="someone", roles=["root"]), _header(x5t="abc", cty="json"))
    assert TOKENS.verify(text, NOW) == TOKENS.verify(ISSUED, NOW)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("market:read", {"market:read"}),
        ("admin  market:read", {"admin", "market:read"}),
        ("openid market:read profile market:write", {"market:read"}),
        ("", set()),
        ("MARKET:READ", set()),
        ("market:read,admin", set()),
        ("market:read\tadmin", set()),
        ("market:read\u00a0admin", set()),
        ("market:read\nadmin analysis:read", {"analysis:read"}),
    ],
)
def test_scopes_are_words_between_spaces(scope: str, expected: set[str]) -> None:
    """Scopes that we know count, other words do not, and no other character separates them."""
    assert TOKENS.verify(_signed(_with(scope=scope)), NOW).scopes == expected


def test_a_token_without_scopes_permits_nothing() -> None:
    """A token that names no scopes is a token all the same."""
    assert TOKENS.verify(_signed(_without("scope")), NOW).scopes == frozenset()


# Time.


@pytest.mark.parametrize("exp", [SECONDS + 60, float(SECONDS + 60), SECONDS + 59.9996])
def test_a_token_ends_when_it_says(exp: float) -> None:
    """A token lives until just before its end, and is dead at it; there is no leeway."""
    text = _signed(_with(exp=exp))
    end = datetime.fromtimestamp(exp, UTC)
    end = end.replace(microsecond=end.microsecond // 1000 * 1000)
    assert TOKENS.verify(text, end - timedelta(microseconds=1)).expires_at == end
    for late in (timedelta(), timedelta(milliseconds=1), timedelta(days=10_000)):
        assert _refusal(text, end + late) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("nbf", [SECONDS + 60, SECONDS + 60.0])
def test_a_token_begins_when_it_says(nbf: float) -> None:
    """A token is not valid before its beginning, and is at it; there is no leeway."""
    text = _signed(_with(nbf=nbf))
    begin = datetime.fromtimestamp(nbf, UTC)
    assert TOKENS.verify(text, begin).account == "acct_1"
    assert _refusal(text, begin - timedelta(milliseconds=1)) == "TOKEN_INVALID"


def test_a_fraction_of_a_second_shortens_a_token() -> None:
    """Issued tokens tell whole seconds; what is over is taken from their life, never added to it."""
    end = NOW + timedelta(seconds=60)
    text = TOKENS.issue(account="a", key_id="k", scopes=(), now=NOW, expires_at=end)
    assert TOKENS.verify(text, NOW).expires_at == end.replace(microsecond=0) < end


@pytest.mark.parametrize(
    "claims",
    [
        _with(exp=SECONDS, aud="other"),
        _with(exp=SECONDS, iss="other"),
        _with(exp=SECONDS, sub=""),
        _with(exp=SECONDS, nbf=SECONDS + 60),
        _with(exp=SECONDS, scope=["market:read"]),
    ],
)
def test_only_the_age_of_a_right_token_is_told(claims: dict[str, Any]) -> None:
    """A token that is wrong in anything else is not called expired."""
    assert _refusal(_signed(claims)) == "TOKEN_INVALID"


def test_the_age_of_a_forged_token_is_not_told() -> None:
    """An expired token with another signature is not called expired."""
    assert _refusal(_signed(_with(exp=SECONDS))) == "TOKEN_EXPIRED"
    assert _refusal(_signed(_with(exp=SECONDS), secret=b"x" * 32)) == "TOKEN_INVALID"


NO_TIMES: list[Any] = [
    str(SECONDS + 60),
    "",
    "never",
    True,
    False,
    None,
    [SECONDS + 60],
    {"value": SECONDS + 60},
    -1,
    -(10**400),
    10**12,
    10**18,
    10**400,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    datetime(2030, 1, 1, tzinfo=UTC).isoformat(),
]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", NO_TIMES, ids=lambda value: repr(value)[:24])
def test_times_are_numbers_of_seconds(name: str, value: object) -> None:
    """A time that is a text, a truth value, no number, infinite, negative or beyond the year 9999 is refused."""
    assert _refusal(_signed(_with(**{name: value}))) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 1500, "1" + "0" * 1500 + ".5", "0x1", "01"]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "other"])
def test_numbers_beyond_json_are_refused(name: str, number: str) -> None:
    """Numbers that Python reads and JSON has not, or that no time can be, are refused where they count."""
    text = _signed(json.dumps(_with(**{name: 0})).replace(f'"{name}": 0', f'"{name}": {number}').encode())
    if name == "other" and number in {"1e999", "-1e999", "9" * 1500, "1" + "0" * 1500 + ".5"}:
        assert TOKENS.verify(text, NOW).account == "acct_1"  # JSON, and nothing to us
    else:
        assert _refusal(text) == "TOKEN_INVALID"


def test_a_time_without_a_zone_is_a_mistake_of_ours() -> None:
    """A wrong clock is told as such, and not as a wrong token."""
    with pytest.raises(TypeError):
        TOKENS.verify(ISSUED, NOW.replace(tzinfo=None))


# Forgery: the algorithm and the key.


def _casings(word: str) -> list[str]:
    """Every way to write a word in large and small letters."""
    spellings = [""]
    for letter in word:
        spellings = [start + form for start in spellings for form in sorted({letter.lower(), letter.upper()})]
    return spellings


def test_a_token_without_a_signature_is_refused() -> None:
    """The algorithm `none` is refused in all its spellings, with a signature or without, with a kid or without."""
    for alg in (*_casings("none"), "", "null", "None ", "\u0000none"):
        for header in ({"alg": alg, "typ": "at+jwt"}, _header(alg=alg)):
            text = _signed(header=header)
            signed = text.rpartition(".")[0]
            for forged in (text, f"{signed}.", signed, f"{signed}.AA"):
                assert _refusal(forged) == "TOKEN_INVALID"


OTHER_ALGORITHMS = ["HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES256K", "EdDSA", "Ed25519", "dir"]
LOOK_ALIKES = ["hs256", "Hs256", "HS256 ", " HS256", "HS256\u0000", "HS256\u200b", "\uff28\uff33256", "HS"]


@pytest.mark.parametrize("alg", [*OTHER_ALGORITHMS, *LOOK_ALIKES, "", None, True, 256, ["HS256"], {"HS256": 1}])
def test_a_key_has_one_algorithm(alg: object) -> None:
    """A token that names any algorithm other than its key's is refused, though its signature is good."""
    assert _refusal(_signed(header=_header(alg=alg))) == "TOKEN_INVALID"


def test_stronger_signatures_with_our_secret_are_refused() -> None:
    """Even a good signature by another algorithm with the right secret is not ours."""
    for bits in ("384", "512"):
        assert _refusal(_signed(header=_header(alg=f"HS{bits}"), digest=f"sha{bits}")) == "TOKEN_INVALID"
        assert _refusal(_signed(digest=f"sha{bits}")) == "TOKEN_INVALID"


def _public_forms(key: Any) -> list[bytes]:
    """What a forger who knows the public key might take for a secret."""
    public = key.public_key()
    forms = [public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forms += [pem, pem.strip(), pem.replace(b"\n", b"\r\n"), pem.replace(b"\n", b""), b""]
    if key is RSA:
        pkcs1 = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms += [pkcs1, pkcs1.strip(), str(public.public_numbers().n).encode()]
    return forms


@pytest.mark.parametrize("kid", PARTNERS)
def test_a_public_key_is_no_secret(kid: str) -> None:
    """Signing by HMAC with the public key, in any of its forms, forges nothing, under any kid and algorithm."""
    own_alg, key = PARTNERS[kid]
    for secret in _public_forms(key):
        for alg in ("HS256", "HS384", own_alg):
            for named in (kid, OWN_KID, ""):
                assert _refusal(_signed(header=_header(alg=alg, kid=named), secret=secret)) == "TOKEN_INVALID"


def test_keys_do_not_stand_in_for_each_other() -> None:
    """A good signature by one key under the kid of another is refused."""
    for kid in PARTNERS:
        for other in (*PARTNERS, OWN_KID):
            if other != kid:
                assert _refusal(_by_partner(kid, kid=other)) == "TOKEN_INVALID"
                other_alg = PARTNERS[other][0] if other in PARTNERS else "HS256"
                header = _header(alg=other_alg, kid=other)
                signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, dict(CLAIMS)))
                signature = _by_partner(kid).rpartition(".")[2]
                assert _refusal(f"{signed}.{signature}") == "TOKEN_INVALID"


def test_trivial_signatures_are_refused() -> None:
    """Signatures of zeros, of ones and of nothing, of every length that matters, verify for no key."""
    for kid, alg in [(OWN_KID, "HS256"), *((kid, alg) for kid, (alg, _) in PARTNERS.items())]:
        signed = _signed(header=_header(kid=kid, alg=alg)).rpartition(".")[0]
        for length in (0, 1, 31, 32, 33, 63, 64, 65, 70, 72, 255, 256, 257):
            for filling in (b"\x00", b"\x01", b"\xff"):
                assert _refusal(f"{signed}.{_encoded(filling * length)}") == "TOKEN_INVALID"


KIDS = [
    *["", " ", "unknown", "key_1", "0", "k" * 2000, "\ud800", "\u0000", "__class__", "PARTNER-RSA"],
    *[f"{OWN_KID} ", f"{OWN_KID}\n", f"{OWN_KID}\u0000", f" {OWN_KID}", OWN_KID[:-1], f"{OWN_KID}0"],
    *["../../../../dev/null", "/dev/null", "/proc/self/environ", "file:///dev/null", "C:\\nul", "%00"],
    *["' OR '1'='1", "x' UNION SELECT 'secret' --", "partner-rsa' --", "$(id)", "`id`", "| id", "{{7*7}}"],
    *["http://attacker.example/jwks.json", "https://127.0.0.1/"],
    *[None, True, False, 0, 1, 7, 7.0, -1, [], [OWN_KID], {}, {"kid": OWN_KID}, [["7"]]],
]


@pytest.mark.parametrize("kid", KIDS, ids=lambda kid: repr(kid)[:24])
def test_a_kid_is_looked_up_and_nothing_else(kid: object) -> None:
    """A kid that is not one of ours to the letter is refused: it is no path, no query, no address and no number."""
    for secret in (SECRET, b"", b"\x00", b"secret"):
        assert _refusal(_signed(header=_header(kid=kid), secret=secret)) == "TOKEN_INVALID"


def test_a_token_must_name_its_key() -> None:
    """Without a kid no key is tried."""
    header = {"alg": "HS256", "typ": "at+jwt"}
    assert _refusal(_signed(header=header)) == "TOKEN_INVALID"


JWK_OF_FORGER = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwk", JWK_OF_FORGER),
        ("jwk", {"kty": "oct", "k": _encoded(SECRET)}),
        ("jwk", None),
        ("jku", "https://attacker.example/jwks.json"),
        ("jku", "file:///etc/passwd"),
        ("jku", ""),
        ("x5u", "https://attacker.example/chain.pem"),
        ("x5c", ["MIIB"]),
        ("x5c", []),
        ("crit", ["exp"]),
        ("crit", ["b64"]),
        ("crit", []),
        ("crit", None),
        ("b64", False),
        ("b64", True),
    ],
)
def test_a_token_does_not_bring_its_own_key(name: str, value: object) -> None:
    """A token that points at a key, holds one, or asks for what we do not know is refused, though rightly signed."""
    assert _refusal(_signed(header=_header(**{name: value}))) == "TOKEN_INVALID"


OTHER_TYPES = [
    *["JWT", "jwt", "", "at", "id+jwt", "logout+jwt", "dpop+jwt", "text/at+jwt", "application/"],
    *["at+jwt ", " at+jwt", "at+jwt;v=1", "application/application/at+jwt", "at+jwt\u0000"],
    *["\u0430t+jwt", "at\uff0bjwt", None, True, 1, ["at+jwt"], {"at+jwt": 1}],
]


@pytest.mark.parametrize("typ", OTHER_TYPES)
def test_only_access_tokens_are_taken(typ: object) -> None:
    """Another type of token, such as an ID token, is refused, and so is one that does not say."""
    assert _refusal(_signed(header=_header(typ=typ))) == "TOKEN_INVALID"
    assert _refusal(_signed(header={key: value for key, value in HEADER.items() if key != "typ"})) == "TOKEN_INVALID"


# Forgery: the claims.


@pytest.mark.parametrize(
    "claims",
    [
        *(_without(name) for name in ("iss", "aud", "sub", "exp", "client_id")),
        *(_with(iss=iss) for iss in ("", "other", "Entasis", "entasis/", "ent\u0430sis", None, True, ["entasis"], {})),
        *(
            _with(aud=aud)
            for aud in ("", "other", "Engine", "engine ", "engin\u0435", None, True, 1, [], {}, ["other"])
        ),
        *(_with(aud=aud) for aud in ({"engine": True}, [["engine"]], [{"engine": 1}], "engine,other", [None])),
        *(_with(sub=sub) for sub in ("", None, True, 1, [], ["acct_1"], {}, {"sub": "acct_1"}, "a" * 256)),
        *(_with(sub=sub) for sub in ("\ud800", "a\u0000b", "acct_1\n", "acct\u202e_1", "\u200bacct_1", "a\u2028b")),
        *(_with(client_id=client_id) for client_id in ("", None, True, 1, [], ["key_1"], {})),
        *(_with(scope=scope) for scope in (None, True, 1, ["admin"], {"admin": True})),
    ],
    ids=lambda claims: repr(sorted(set(map(repr, claims.items())) ^ set(map(repr, CLAIMS.items()))))[:60],
)
def test_wrong_claims_are_refused(claims: dict[str, Any]) -> None:
    """A token for somebody else, of somebody else, or whose claims have the wrong form is refused."""
    assert _refusal(_signed(claims)) == "TOKEN_INVALID"


def test_the_other_issuer_must_say_who_it_is() -> None:
    """Claims of the other issuer are read as strictly as ours."""
    for claims in (_with(iss="other"), _with(aud="other"), _with(sub=""), _with(nbf=SECONDS + 60), _without("exp")):
        assert _refusal(_by_partner("partner-ec", claims)) == "TOKEN_INVALID"
    assert _refusal(_by_partner("partner-ec", _with(exp=SECONDS))) == "TOKEN_EXPIRED"


RIGHT_HEADER = json.dumps(HEADER).encode()
RIGHT_CLAIMS = json.dumps(dict(CLAIMS)).encode()


@pytest.mark.parametrize("member", ["iss", "aud", "sub", "exp", "scope", "client_id", "jti"])
def test_a_claim_that_comes_twice_is_refused(member: str) -> None:
    """Readers differ in which of two they take; a token with two is refused, though both are the same."""
    value = json.dumps(CLAIMS[member])
    twice = RIGHT_CLAIMS[:-1] + f', "{member}": {value}}}'.encode()
    assert json.loads(twice) == dict(CLAIMS)
    assert _refusal(_signed(twice)) == "TOKEN_INVALID"
    escaped = RIGHT_CLAIMS[:-1] + f', "\\u{ord(member[0]):04x}{member[1:]}": {value}}}'.encode()
    assert _refusal(_signed(escaped)) == "TOKEN_INVALID"
    nested = RIGHT_CLAIMS[:-1] + b', "other": [{"a": 1, "a": 1}]}'
    assert _refusal(_signed(nested)) == "TOKEN_INVALID"


@pytest.mark.parametrize("member", ["alg", "typ", "kid"])
def test_a_header_that_comes_twice_is_refused(member: str) -> None:
    """A header with two algorithms, types or kids is refused, in either order."""
    for first, second in ((HEADER[member], "none"), ("none", HEADER[member]), (HEADER[member], HEADER[member])):
        others = ", ".join(f'"{name}": "{value}"' for name, value in HEADER.items() if name != member)
        text = f'{{"{member}": "{first}", {others}, "{member}": "{second}"}}'
        assert _refusal(_signed(header=text.encode())) == "TOKEN_INVALID"


NO_OBJECTS = [
    b"",
    b" ",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"0",
    b'"at+jwt"',
    b"[{}]",
    b"{}{}",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"\xff",
    b'{"a": "\xc3\x28"}',
    b"{'alg': 'HS256'}",
    b'{"alg": "HS256",}',
    b"[" * 1400,
    b'{"a":' * 280,
    b"[" * 700 + b"]" * 700,
    b'{"exp":' + b"[" * 700 + b"]" * 700 + b"}",
    b"9" * 1400,
    b"-",
    b"\x00" * 64,
]


@pytest.mark.parametrize("part", NO_OBJECTS, ids=lambda part: repr(part)[:24])
def test_parts_that_are_no_objects_are_refused(part: bytes) -> None:
    """A header or claims that are no JSON object in UTF-8, however deep or damaged, are refused."""
    assert _refusal(_signed(header=part)) == "TOKEN_INVALID"
    assert _refusal(_signed(part)) == "TOKEN_INVALID"


def test_right_json_in_another_encoding_is_refused() -> None:
    """JSON is read as UTF-8 and nothing else."""
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        assert _refusal(_signed(RIGHT_CLAIMS.decode().encode(encoding))) == "TOKEN_INVALID"
        assert _refusal(_signed(header=RIGHT_HEADER.decode().encode(encoding))) == "TOKEN_INVALID"


def test_compressed_claims_are_refused() -> None:
    """Claims are read as they stand, whatever the header says of how they were packed."""
    for packed in (gzip.compress(RIGHT_CLAIMS), zlib.compress(RIGHT_CLAIMS), zlib.compress(b" " * 10_000_000)):
        for header in (HEADER, _header(zip="DEF"), _header(zip="GZIP"), _header(enc="gzip")):
            if len(text := _signed(packed[:2000], header)) < 4096:
                assert _refusal(text) == "TOKEN_INVALID"


# Forgery: the text.


def test_a_token_cut_anywhere_is_refused() -> None:
    """No beginning and no end of a token is a token."""
    for length in range(len(ISSUED)):
        assert _refusal(ISSUED[:length]) == "TOKEN_INVALID"
        assert _refusal(ISSUED[length + 1 :]) == "TOKEN_INVALID"


def test_a_token_changed_anywhere_is_refused() -> None:
    """Any other character of the alphabet at any place makes a token of ours none; the last place has spare bits."""
    ends = [len(ISSUED.rpartition(".")[0]) - 1, len(ISSUED.partition(".")[0]) - 1, len(ISSUED) - 1]
    for place, right in enumerate(ISSUED):
        others = ALPHABET if place in ends else "Aa0_" + ALPHABET[(place * 7) % 64]
        for other in others:
            if other != right:
                assert _refusal(ISSUED[:place] + other + ISSUED[place + 1 :]) == "TOKEN_INVALID"


@pytest.mark.parametrize("kid", PARTNERS)
def test_a_token_of_the_other_issuer_changed_anywhere_is_refused(kid: str) -> None:
    """The same holds for the algorithms with public keys, with every character at the end of each part."""
    text = _by_partner(kid)
    ends = {len(text.rpartition(".")[0]) - 1, len(text.partition(".")[0]) - 1, len(text) - 1}
    for place, right in enumerate(text):
        for other in ALPHABET if place in ends else "A_":
            if other != right:
                assert _refusal(text[:place] + other + text[place + 1 :]) == "TOKEN_INVALID"


def test_a_token_with_a_character_left_out_or_moved_is_refused() -> None:
    """A character that is missing, doubled or swapped with the next one makes a token none."""
    for place in range(len(ISSUED)):
        assert _refusal(ISSUED[:place] + ISSUED[place + 1 :]) == "TOKEN_INVALID"
        assert _refusal(ISSUED[:place] + ISSUED[place] + ISSUED[place:]) == "TOKEN_INVALID"
        if ISSUED[place] != ISSUED[place + 1 : place + 2] and place + 1 < len(ISSUED):
            swapped = ISSUED[:place] + ISSUED[place + 1] + ISSUED[place] + ISSUED[place + 2 :]
            assert _refusal(swapped) == "TOKEN_INVALID"


FOREIGN = [
    *[" ", "\n", "\r\n", "\t", "\0", "=", "==", ".", "+", "/", "%", "~", "!", "\\", '"', "\x7f", "\x80", "\u00e9"],
    *["\u200b", "\ufeff", "\u0430", "\uff21", "\u2024", "\ud800", "\U0001f511", "A", "-"],
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=ascii)
def test_a_token_with_something_put_in_is_refused(foreign: str) -> None:
    """Spaces, line ends, padding, dots and foreign characters are refused at every place, and so are letters."""
    for place in range(len(ISSUED) + 1):
        assert _refusal(ISSUED[:place] + foreign + ISSUED[place:]) == "TOKEN_INVALID"


def test_padding_is_refused() -> None:
    """The parts of a token have no padding, not even as much as base64 would ask for."""
    for count in range(1, 5):
        for changed in range(3):
            parts = ISSUED.split(".")
            parts[changed] += "=" * count
            assert _refusal(".".join(parts)) == "TOKEN_INVALID"


def test_the_other_base64_alphabet_is_refused() -> None:
    """`+` and `/` stand for nothing, even where the bytes would be the same."""
    found = 0
    for _ in range(200):
        text = _issued()
        signed, _, signature = text.rpartition(".")
        other = signature.replace("-", "+").replace("_", "/")
        if other != signature:
            found += 1
            assert _refusal(f"{signed}.{other}") == "TOKEN_INVALID"
    assert found


def test_parts_do_not_change_places() -> None:
    """The parts of a token in any other order, of two tokens together, or fewer or more of them, are no token."""
    header, claims, signature = ISSUED.split(".")
    _, other_claims, other_signature = _issued(scopes=("admin",)).split(".")
    for parts in (
        (claims, header, signature),
        (header, signature, claims),
        (signature, claims, header),
        (signature, header, claims),
        (claims, signature, header),
        (header, claims, other_signature),
        (header, other_claims, signature),
        (header, header, signature),
        (claims, claims, signature),
        (header,),
        (header, claims),
        (header, claims, signature, ""),
        ("", header, claims, signature),
        (header, claims, "", signature),
        (header, claims, signature, signature),
        (header, claims, signature, header, claims, signature),
        ("", "", ""),
        ("", claims, signature),
        (header, "", signature),
        (header, claims, ""),
    ):
        assert _refusal(".".join(parts)) == "TOKEN_INVALID"


def test_other_serialisations_are_refused() -> None:
    """Encrypted tokens, tokens within tokens, and the JSON forms of RFC 7515 are not read."""
    header, claims, signature = ISSUED.split(".")
    jwe = _encoded(b'{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}')
    flattened = {"protected": header, "payload": claims, "signature": signature}
    for text in (
        f"{jwe}..{_encoded(os.urandom(12))}.{_encoded(RIGHT_CLAIMS)}.{_encoded(os.urandom(16))}",
        f"{header}.{claims}.{signature}.{claims}.{signature}",
        _signed(ISSUED.encode(), _header(cty="JWT")),
        _signed(json.dumps(ISSUED).encode(), _header(cty="JWT")),
        json.dumps(flattened),
        json.dumps({"payload": claims, "signatures": [flattened]}),
        f"Bearer {ISSUED}",
        f'"{ISSUED}"',
        f"{ISSUED},{ISSUED}",
        f"{ISSUED} {ISSUED}",
        base64.b64encode(ISSUED.encode()).decode(),
        f"{header}..{signature}",  # the detached form of RFC 7515, appendix F
    ):
        assert _refusal(text) == "TOKEN_INVALID"


def test_a_token_has_a_greatest_length() -> None:
    """Up to 4096 characters are read, and not one more, though rightly signed."""
    lengths = set()
    for filling in range(2500, 2800):
        text = _signed(_with(filling="x" * filling))
        lengths.add(len(text))
        if len(text) <= 4096:
            assert TOKENS.verify(text, NOW).account == "acct_1"
        else:
            assert _refusal(text) == "TOKEN_INVALID"
    assert {4096, 4098} & lengths
    assert max(lengths) > 4096


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", "x" * 5_000_000, "." * 4096, "\0", None, b"", 7, []])
def test_what_is_no_token_at_all_is_refused(text: object) -> None:
    """Whatever is put where a token should be is refused as a token, and quickly."""
    assert _refusal(text) == "TOKEN_INVALID"


@given(st.one_of(st.text(max_size=300), st.lists(st.binary(max_size=60).map(_encoded), max_size=6).map(".".join)))
@settings(max_examples=300, deadline=None)
def test_no_text_sets_off_anything_else(text: str) -> None:
    """Any text is refused as a token."""
    assert _refusal(text) == "TOKEN_INVALID"


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "b64", "x"]), JSON_VALUES, max_size=4),
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "client_id", "jti", "x"]),
        JSON_VALUES,
        max_size=4,
    ),
)
@settings(max_examples=500, deadline=None)
def test_no_signed_claims_set_off_anything_else(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Whatever rightly signed headers and claims hold, they are read or refused."""
    for text in (_signed(_with(**claims)), _signed(_with(**claims), _header(**header)), _signed(header=header)):
        try:
            verified = TOKENS.verify(text, NOW)
        except EntasisError as error:
            assert error.case in {"TOKEN_INVALID", "TOKEN_EXPIRED"}  # noqa: PT017 - or it is read
        else:
            assert verified.account
            assert verified.key_id
            assert verified.expires_at > NOW


# The secret, and who signs.


def test_tokens_of_a_former_secret_are_of_an_unknown_key() -> None:
    """After a change of the secret old tokens are refused, and their signer is not known any more."""
    changed = Tokens(SECRET[::-1], issuer="entasis", audience="engine")
    assert _refusal(ISSUED, tokens=changed) == "TOKEN_INVALID"
    assert not changed.knows(TOKENS.verify(ISSUED, NOW).signer)
    assert json.loads(_decoded(_issued(changed).split(".")[0]))["kid"] != OWN_KID


def test_the_same_secret_is_the_same_signer() -> None:
    """Two processes with one secret accept each other's tokens, under a kid that does not hold the secret."""
    other = Tokens(SECRET, issuer="entasis", audience="engine")
    assert other.verify(ISSUED, NOW) == TOKENS.verify(ISSUED, NOW)
    assert hashlib.sha256(SECRET).hexdigest()[:16] != OWN_KID
    assert SECRET.decode() not in repr(VerificationKey("k", "HS256", SECRET))


@pytest.mark.parametrize("secret", [b"", b"secret", b"x" * 31])
def test_a_short_secret_is_refused(secret: bytes) -> None:
    """A secret that could be guessed is refused with how to make a good one."""
    with pytest.raises(ValueError, match="openssl rand"):
        Tokens(secret, issuer="entasis", audience="engine")


@pytest.mark.parametrize(
    "secret",
    _public_forms(RSA)[:3] + _public_forms(EC)[:3],
    ids=[f"{kind}{at}" for kind in ("rsa", "ec") for at in range(3)],
)
def test_a_public_key_as_the_secret_is_refused(secret: bytes) -> None:
    """A public key, which others have, is refused as a secret, with how to make a good one."""
    with pytest.raises(ValueError, match="openssl rand"):
        Tokens(secret, issuer="entasis", audience="engine")


def test_other_keys_of_the_other_issuer_take_the_place_of_the_old() -> None:
    """With new keys our own tokens go on, and those of keys that have gone are refused."""
    kept = TOKENS.with_jwks({"partner-ec": JWKS["partner-ec"]})
    assert kept.verify(ISSUED, NOW).signer == OWN_KID
    assert kept.verify(_by_partner("partner-ec"), NOW).account == "acct_1"
    assert _refusal(_by_partner("partner-rsa"), tokens=kept) == "TOKEN_INVALID"
    assert kept.knows(OWN_KID)
    assert kept.knows(JWKS["partner-ec"].fingerprint)
    assert not kept.knows(JWKS["partner-rsa"].fingerprint)
    assert not kept.knows("")
    assert TOKENS.knows(JWKS["partner-rsa"].fingerprint)


def test_a_new_key_under_an_old_kid_is_another_signer() -> None:
    """What was opened with a key that is replaced in a hurry ends, though the new one has the same kid."""
    opened = TOKENS.verify(_by_partner("partner-ec"), NOW)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    replaced = TOKENS.with_jwks({"partner-ec": VerificationKey("partner-ec", "ES256", key)})
    assert not replaced.knows(opened.signer)
    assert _refusal(_by_partner("partner-ec"), tokens=replaced) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "key", [VerificationKey(OWN_KID, "RS256", RSA.public_key()), VerificationKey("k", "HS256", b"x" * 32)]
)
def test_our_own_key_cannot_be_taken_over(key: VerificationKey) -> None:
    """The other issuer can neither take our kid nor bring a secret."""
    with pytest.raises(JwksError):
        TOKENS.with_jwks({key.kid: key})


# The JWKS file.


def _jwk(kid: str, /, **changes: object) -> dict[str, Any]:
    alg, key = PARTNERS[kid]
    numbers = jwt.get_algorithm_by_name(alg).to_jwk(key.public_key(), as_dict=True)
    return {**numbers, "kid": kid, "alg": alg, **changes}


def _written(path: Path, *entries: object) -> Path:
    path.write_text(json.dumps({"keys": entries}))
    return path


def test_a_jwks_file_gives_the_keys_in_it(tmp_path: Path) -> None:
    """Keys of the three kinds are read, with whatever else their entries say."""
    entries = [_jwk("partner-rsa", use="sig", x5t="abc"), _jwk("partner-ec", key_ops=["verify"]), _jwk("7")]
    keys = load_jwks(_written(tmp_path / "jwks.json", *entries))
    assert {kid: (key.kid, key.alg) for kid, key in keys.items()} == {
        "partner-rsa": ("partner-rsa", "RS256"),
        "partner-ec": ("partner-ec", "ES256"),
        "7": ("7", "EdDSA"),
    }
    tokens = Tokens(SECRET, issuer="entasis", audience="engine", jwks=keys)
    for kid in PARTNERS:
        assert tokens.verify(_by_partner(kid), NOW).signer == JWKS[kid].fingerprint


def test_a_jwks_file_may_be_empty_of_keys(tmp_path: Path) -> None:
    """Whoever trusts no other issuer for now may say so."""
    assert load_jwks(_written(tmp_path / "jwks.json")) == {}


def _private_jwk(alg: str, key: Any) -> dict[str, Any]:
    return {**jwt.get_algorithm_by_name(alg).to_jwk(key, as_dict=True), "kid": "k", "alg": alg}


def _public_jwk(alg: str, key: Any) -> dict[str, Any]:
    return _private_jwk(alg, key.public_key())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (_jwk("7", kid=None), "no kid"),
        (_jwk("7", kid=""), "no kid"),
        (_jwk("7", kid=7), "no kid"),
        (_jwk("7", kid="a\nb"), "no kid"),
        (_jwk("7", kid="k" * 256), "no kid"),
        (_jwk("7", alg=None), '"alg"'),
        (_jwk("7", alg="none"), '"alg"'),
        (_jwk("7", alg="HS256"), '"alg"'),
        (_jwk("partner-rsa", alg="RS512"), '"alg"'),
        (_jwk("partner-rsa", alg="PS256"), '"alg"'),
        (_jwk("partner-rsa", alg=["RS256"]), '"alg"'),
        (_jwk("partner-rsa", alg="ES256"), '"kty" EC'),
        (_jwk("partner-ec", alg="RS256"), '"kty" RSA'),
        (_jwk("7", alg="ES256"), '"kty" EC'),
        (_jwk("7", kty=None), '"kty" OKP'),
        ({"kid": "k", "kty": "oct", "alg": "HS256", "k": _encoded(SECRET)}, "symmetric"),
        ({"kid": "k", "kty": "oct", "alg": "RS256", "k": _encoded(SECRET)}, "symmetric"),
        (_private_jwk("RS256", RSA), "private"),
        (_private_jwk("ES256", EC), "private"),
        (_private_jwk("EdDSA", ED), "private"),
        (_jwk("partner-ec", d=None), "private"),
        (_jwk("7", use="enc"), "signatures"),
        (_jwk("7", key_ops=["sign"]), "signatures"),
        (_jwk("7", key_ops="verify"), "signatures"),
        (_public_jwk("RS256", rsa.generate_private_key(65537, 1024)), "1024 bits"),
        ({"kid": "k", "alg": "RS256", "kty": "RSA", "e": "AQAB", "n": _encoded(b"\xff" * 2048)}, "16384 bits"),
        (_jwk("partner-rsa", n=""), "not a valid"),
        (_jwk("partner-rsa", n=7), "not a valid"),
        (_jwk("partner-rsa", e=_encoded(b"\x02")), "not a valid"),
        (_jwk("partner-rsa", n=None), "not a valid"),
        (_jwk("partner-ec", x=_encoded(b"\x00" * 32)), "not a valid"),
        (_jwk("partner-ec", crv="P-384"), "not a valid"),
        ({**_public_jwk("ES384", ec.generate_private_key(ec.SECP384R1())), "alg": "ES256"}, "another curve"),
        ({**_public_jwk("ES256K", ec.generate_private_key(ec.SECP256K1())), "alg": "ES256"}, "another curve"),
        (_public_jwk("EdDSA", ed448.Ed448PrivateKey.generate()), "another curve"),
        (_jwk("7", crv="X25519"), "not a valid"),
        (_jwk("7", x="AA"), "not a valid"),
        (_jwk("7", x=None), "not a valid"),
    ],
)
def test_a_key_that_should_not_be_there_is_named(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    """One key that is secret, weak, of another kind or not for signatures makes the file unusable, with a reason."""
    path = _written(tmp_path / "jwks.json", _jwk("partner-rsa", kid="good"), entry)
    with pytest.raises(JwksError, match=words) as raised:
        load_jwks(path)
    assert f"{path}: key 2" in str(raised.value)
    assert _encoded(SECRET) not in str(raised.value)


NO_JWKS = [
    *[b"", b"{}", b"[]", b"null", b'{"keys": null}', b'{"keys": {}}', b'{"keys": [7]}', b'{"keys": [[]]}', b"\xff"],
    *[b'{"keys": [], "keys": []}', b'{"keys": [{"kid": "a", "kid": "b"}]}', b"-----BEGIN PUBLIC KEY-----", b"[" * 9999],
]


@pytest.mark.parametrize("content", NO_JWKS, ids=lambda content: repr(content)[:32])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is no JWKS is refused with what one looks like."""
    (path := tmp_path / "jwks.json").write_bytes(content)
    with pytest.raises(JwksError, match=r'\{"keys"'):
        load_jwks(path)


def test_two_keys_may_not_have_one_kid(tmp_path: Path) -> None:
    """A kid stands for one key."""
    path = _written(tmp_path / "jwks.json", _jwk("7"), _jwk("partner-ec", kid="7"))
    with pytest.raises(JwksError, match="two keys have the kid '7'"):
        load_jwks(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder and a huge file are refused with their path."""
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(JwksError, match="cannot be read"):
            load_jwks(path)
    (huge := tmp_path / "huge.json").write_bytes(b" " * 2_000_000)
    with pytest.raises(JwksError, match="larger"):
        load_jwks(huge)


def _replaced(path: Path, *entries: object) -> None:
    """Put a new file in the old one's place, as tools do that never show half a file."""
    _written(path.with_suffix(".new"), *entries).replace(path)


def test_a_jwks_file_is_read_when_it_changes(tmp_path: Path) -> None:
    """The first look gives the keys, and each later one only where the file has changed."""
    path = _written(tmp_path / "jwks.json", _jwk("7"))
    file = JwksFile(path)
    assert set(file.poll() or ()) == {"7"}
    assert file.poll() is None
    _replaced(path, _jwk("7"), _jwk("partner-ec"))
    assert set(file.poll() or ()) == {"7", "partner-ec"}
    assert file.poll() is None
    _written(path)
    assert file.poll() == {}
    assert file.poll() is None


def test_a_bad_jwks_file_is_told_once(tmp_path: Path) -> None:
    """A file that turns bad is told once for each state of it, and read again when it is good."""
    path = _written(tmp_path / "jwks.json", _jwk("7"))
    file = JwksFile(path)
    assert file.poll() is not None
    for content in (b"{", b"{}"):
        path.write_bytes(content)
        with pytest.raises(JwksError):
            file.poll()
        assert file.poll() is None
    path.unlink()
    with pytest.raises(JwksError, match="cannot be read"):
        file.poll()
    assert file.poll() is None
    path.mkdir()
    with pytest.raises(JwksError, match="not a file"):
        file.poll()
    assert file.poll() is None
    path.rmdir()
    for _ in range(2):
        _written(path, _jwk("partner-ec"))
        assert set(file.poll() or ()) == {"partner-ec"}
        path.unlink()
        with pytest.raises(JwksError, match="cannot be read"):
            file.poll()


# The file of the secret.


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """A secret is random, for our user only, and the same from then on; nothing else is left in the folder."""
    path = tmp_path / "new" / "jwt-secret"
    secret = ensure_secret(path)
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_secret(path) == secret == path.read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["jwt-secret"]
    assert ensure_secret(tmp_path / "other") != secret


def test_all_who_make_a_secret_at_once_get_the_same(tmp_path: Path) -> None:
    """However many make the secret at the same time, each gets the whole of one and the same."""
    with ThreadPoolExecutor(8) as threads:
        for number in range(50):
            path = tmp_path / str(number)
            together = threading.Barrier(8)

            def make(path: Path = path, wait: Callable[[], int] = together.wait) -> bytes:
                wait()
                return ensure_secret(path)

            made = [task.result() for task in [threads.submit(make) for _ in range(8)]]
            assert len(set(made)) == 1
            assert len(made[0]) == 32
    assert len(list(tmp_path.iterdir())) == 50


@pytest.mark.parametrize("content", [b"", b"x" * 31])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds too little is refused with what to do, and left as it is."""
    (path := tmp_path / "jwt-secret").write_bytes(content)
    with pytest.raises(ValueError, match="Delete the file") as raised:
        ensure_secret(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content
