"""The AsyncAPI document, and messages held against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "gen" / "asyncapi" / "entasis.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
REQUESTS = frozenset(
    reference["$ref"].rpartition("/")[2]
    for operation in DOCUMENT["operations"].values()
    if operation["action"] == "receive"
    for reference in operation["messages"]
)
"""Names of the messages that clients send; the server sends the others."""


def closed(schema: Any) -> Any:
    """The schema with no room for fields that it does not name."""
    if isinstance(schema, Mapping):
        named = {key: closed(value) for key, value in schema.items()}
        if named.get("additionalProperties") is True:
            del named["additionalProperties"]
            named["unevaluatedProperties"] = False
        return named
    return [closed(one) for one in schema] if isinstance(schema, list) else schema


_CLOSED = {"components": {"schemas": closed(SCHEMAS)}}


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Of a schema that may refer to those of the document."""
    return Draft202012Validator({**schema, **_CLOSED})


VALIDATORS = {name: validator(message["payload"]) for name, message in MESSAGES.items()}


def kinds(message: Any) -> list[str]:
    """The messages of the document that this could be, without a field that is not described: one, if all is well."""
    return [name for name, one in VALIDATORS.items() if one.is_valid(message)]
