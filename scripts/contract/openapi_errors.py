"""Errors of the OpenAPI document: per operation the statuses it can give, each with its reasons, from the catalogue."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from entasis_engine.errors import CATALOGUE, EntasisError, FieldFault, status_as_json
from scripts.contract.openapi_contract import Binding, ContractError, Rpc, path_variables
from scripts.contract.openapi_fields import CASE_VALUES, VALUES, Schema

NEVER_OVER_REST: Mapping[str, str] = {
    "METHOD_REFUSED": "given where a path has no operation of the method",
    "NO_SUCH_RPC": "what gRPC is told; REST has NOTHING_HERE",
    "NOT_FOR_CALLERS": "the RPCs that say so have no path",
    "ORIGIN_REFUSED": "WebSockets alone look at the origin",
}
"""Cases of the catalogue that no operation of the document can give, with the reason."""
EARLY = {400, 408, 431}
"""What Envoy may answer before it has read a request, which then has no id."""
NOT_COUNTED = {408, 413, 431}
"""What Envoy answers by itself: nobody's limit is touched."""
PHRASES: Mapping[int, str] = {431: "Request headers too large"}
SHAPES: Mapping[str, Schema] = {
    "Status": {
        "type": "object",
        "description": "`google.rpc.Status`: what every error is.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {
                "type": "integer",
                "format": "int32",
                "minimum": 1,
                "maximum": 16,
                "description": "The code of gRPC (`google.rpc.Code`), such as 5, NOT_FOUND.",
            },
            "message": {
                "type": "string",
                "description": "What went wrong, in the caller's language. The words may change; branch on the reason.",
            },
            "details": {
                "type": "array",
                "description": "First an `ErrorInfo`, which has the reason. Then a `BadRequest` where fields are at "
                "fault, and a `RetryInfo` where trying again makes sense.",
                "minItems": 1,
                "contains": {"$ref": "#/components/schemas/ErrorInfo"},
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/ErrorInfo"},
                        {"$ref": "#/components/schemas/BadRequest"},
                        {"$ref": "#/components/schemas/RetryInfo"},
                    ]
                },
            },
        },
    },
    "ErrorInfo": {
        "type": "object",
        "description": "`google.rpc.ErrorInfo`: the reason, for programs.",
        "required": ["@type", "reason", "domain"],
        "properties": {
            "@type": {"const": "type.googleapis.com/google.rpc.ErrorInfo", "type": "string"},
            "reason": {"$ref": "#/components/schemas/ErrorReason"},
            "domain": {"const": "entasis", "type": "string"},
            "metadata": {
                "type": "object",
                "description": "What the message speaks of, by name.",
                "additionalProperties": {"type": "string"},
            },
        },
    },
    "BadRequest": {
        "type": "object",
        "description": "`google.rpc.BadRequest`: each field at fault.",
        "required": ["@type", "field_violations"],
        "properties": {
            "@type": {"const": "type.googleapis.com/google.rpc.BadRequest", "type": "string"},
            "field_violations": {
                "type": "array",
                "minItems": 1,
                "description": "The fields at fault, at most eight.",
                "items": {"$ref": "#/components/schemas/FieldViolation"},
            },
        },
    },
    "FieldViolation": {
        "type": "object",
        "description": "A field at fault.",
        "required": ["field", "description"],
        "properties": {
            "field": {"type": "string", "description": "Its name."},
            "description": {"type": "string", "description": "What would be right, in the caller's language."},
            "reason": {"type": "string", "description": "Empty."},
        },
    },
    "RetryInfo": {
        "type": "object",
        "description": "`google.rpc.RetryInfo`: when to try again.",
        "required": ["@type", "retry_delay"],
        "properties": {
            "@type": {"const": "type.googleapis.com/google.rpc.RetryInfo", "type": "string"},
            "retry_delay": {
                "type": "string",
                "pattern": r"^[0-9]+(\.[0-9]+)?s$",
                "description": "How long to wait, in seconds, such as `5s`; the header `Retry-After` has it too.",
            },
        },
    },
}


def cases_of(rpc: Rpc, binding: Binding, declared: Mapping[str, str]) -> dict[int, list[str]]:
    """What can go wrong in an operation: by HTTP status, cases of the catalogue in its order.

    Args:
        declared: the reasons that the RPC's comment names, with its words about each.
    """
    found = {"REQUEST_MALFORMED", "INTERNAL", "UNAVAILABLE", "TOO_SLOW", "HEADERS_TOO_LARGE", "RATE_LIMITED"}
    found |= {"KEY_INVALID", "KEY_ENDED", "CREDENTIAL_MALFORMED", "ADDRESS_REFUSED"}
    found |= {"TOKEN_INVALID", "TOKEN_EXPIRED", "CREDENTIALS_DIFFER"}  # where a token is sent at all it must be valid
    found |= {"KEY_NEEDED"} if rpc.requirement.api_key else {"CREDENTIAL_MISSING"}
    if rpc.requirement.scope:
        found.add("SCOPE_MISSING")
    if path_variables(binding.path):
        found.add("NOTHING_HERE")  # a slash in a variable makes another path
    if binding.has_body:
        found.add("TOO_LARGE")
    if rpc.streams:
        found.add("TOO_MANY")
    for reason, words in declared.items():
        cases = {case for case, entry in CATALOGUE.items() if entry.reason == reason}
        if not cases:
            raise ContractError(f"{rpc.name} declares {reason}, which the catalogue has not")
        if reason in {"AUTH_001", "AUTH_002"}:
            cases &= found | {"SCOPE_MISSING"}
        if reason == "MARKET_001" and "malformed" in words and "listed" not in words:
            cases = {"SYMBOL_MALFORMED"}
        found |= cases
    if unlikely := found & set(NEVER_OVER_REST):
        raise ContractError(f"{rpc.name} declares what REST never gives: {unlikely}")
    by_status: dict[int, list[str]] = {}
    for case, entry in CATALOGUE.items():
        if case in found:
            by_status.setdefault(entry.http, []).append(case)
    by_status[HTTPStatus.REQUEST_TIMEOUT] = ["TOO_SLOW"]  # the caller is late: Envoy's own
    return dict(sorted(by_status.items()))


class Errors:
    """Responses of errors, shared by the operations that have the same."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._cases: dict[str, tuple[str, ...]] = {}

    def refer(self, status: int, cases: Iterable[str]) -> Schema:
        """A reference to the response of these cases."""
        cases = tuple(cases)
        reasons = list(dict.fromkeys(CATALOGUE[case].reason for case in cases))
        first = name = ".".join([_phrase(status).title().replace(" ", ""), *reasons])
        number = 1
        while self._cases.setdefault(name, cases) != cases:
            number += 1
            name = f"{first}-{number}"
        if name not in self.components:
            self.components[name] = _response(status, cases, reasons)
        return {"$ref": f"#/components/responses/{name}"}


def _phrase(status: int) -> str:
    return PHRASES.get(status) or HTTPStatus(status).phrase.capitalize()


def _response(status: int, cases: tuple[str, ...], reasons: list[str]) -> Schema:
    lines = [f"- `{CATALOGUE[case].reason}`: {CATALOGUE[case].messages['en']}" for case in cases]
    headers: dict[str, Schema] = {
        "X-Error-Code": {
            "description": "The reason, as the body has it.",
            "required": True,
            "schema": {"type": "string", "enum": reasons},
            "example": reasons[0],
        },
        "X-Request-ID": {"$ref": f"#/components/headers/{'Early-' if status in EARLY else ''}X-Request-ID"},
    }
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    if status == HTTPStatus.TOO_MANY_REQUESTS or any(CATALOGUE[case].retry_after_seconds for case in cases):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status not in NOT_COUNTED:
        headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT_HEADERS}
    codes = sorted({CATALOGUE[case].code for case in cases})
    told_apart: Schema = {
        "properties": {
            "code": {"enum": codes},
            "details": {"contains": {"required": ["reason"], "properties": {"reason": {"enum": reasons}}}},
        }
    }
    return {
        "description": "\n".join([f"{_phrase(status)}.", "", *lines]),
        "headers": headers,
        "content": {
            "application/json": {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Status"}, told_apart]},
                "examples": {case: {"summary": CATALOGUE[case].reason, "value": example(case)} for case in cases},
            }
        },
    }


RATE_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def example(case: str) -> dict[str, Any]:
    """The body of an error, as an English caller sees it."""
    names = _placeholders(CATALOGUE[case].messages["en"])
    values = {name: CASE_VALUES.get(case, {}).get(name) or VALUES[name] for name in names if name != "problem"}
    faults = []
    if "problem" in names:
        field, _, words = VALUES["problem"].partition(": ")
        faults = [FieldFault(field, {"en": words, "ko": words})]
    body = status_as_json(EntasisError(case, faults=faults, retry_after_seconds=None, **values).status())
    for detail in body["details"]:
        if "metadata" in detail:
            detail["metadata"] = dict(sorted(detail["metadata"].items()))  # protobuf keeps no order of a map
    plain: dict[str, Any] = json.loads(json.dumps(body))
    return plain


def _placeholders(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]


def headers() -> dict[str, Schema]:
    """Headers that answers share."""
    return {
        "X-Request-ID": {
            "description": "Identifies the request; tell it to whoever operates the engine.",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "example": VALUES["request_id"],
        },
        "Early-X-Request-ID": {
            "description": "Identifies the request, unless it was refused before it was read.",
            "schema": {"type": "string", "minLength": 1},
            "example": VALUES["request_id"],
        },
        "X-RateLimit-Limit": _count("Requests per minute that the caller may make.", 1000),
        "X-RateLimit-Remaining": _count("How many of them are left.", 999),
        "X-RateLimit-Reset": _count("Seconds until the earliest request that still counts does not any more.", 60),
        "Retry-After": _count("After how many seconds to try again.", 5),
        "WWW-Authenticate": {
            "description": "How to authenticate (RFC 9110, section 11.6.1).",
            "required": True,
            "schema": {"type": "string"},
            "example": "Bearer",
        },
        "Idempotency-Replayed": {
            "description": "There when this is the first answer again, to a request that came with the same "
            "`Idempotency-Key` before.",
            "schema": {"type": "string", "const": "true"},
            "example": "true",
        },
        "Cache-Control": {
            "description": "The answer is not to be kept.",
            "required": True,
            "schema": {"type": "string", "const": "no-store"},
            "example": "no-store",
        },
    }


def _count(description: str, example: int) -> Schema:
    return {"description": description, "schema": {"type": "integer", "minimum": 0}, "example": example}
