"""gen/openapi: the REST API as an OpenAPI document.

grpc-gateway's generator reads paths, parameters, schemas and comments off the protos. It knows neither the rules for
fields, nor the errors, nor who may call, nor what Envoy prints; these come from the descriptors, the catalogue of
errors and openapi_fields.py. What is nowhere said stops the generator: nothing is left to be guessed.
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor

from scripts.contract.openapi_contract import (
    Binding,
    ContractError,
    Rpc,
    declared_errors,
    is_map,
    is_required,
    path_variables,
    plain_text,
    read,
    rules,
    without_errors,
)
from scripts.contract.openapi_errors import RATE_LIMIT_HEADERS, SHAPES, Errors, cases_of, headers
from scripts.contract.openapi_fields import HOLDS, Schema
from scripts.contract.openapi_schemas import Schemas, about, keys
from scripts.contract.tools import ROOT, our_services, protoc, run_go

GENERATOR = "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3"
BIN = ROOT / "build" / "go" / "bin"
OPENAPI = "3.1.1"
HEAD = "# Generated from proto/ by scripts/contract/openapi.py. DO NOT EDIT.\n"
LINE = 120
SUMMARY_MAX = 150
TAGS = {
    "MarketService": "Market",
    "PortfolioService": "Portfolio",
    "AnalysisService": "Analysis",
    "AccessService": "Access",
}
CREATED = "CreatePosition"
"""Answers 201 (portfolio/service.py says so to the edge)."""
NOT_STORED = "IssueToken"
IDEMPOTENCY_KEY = "^[!-~]([ -~]{0,126}[!-~])?$"
DESCRIPTION = """\
Market data, positions on paper, price predictions and risk figures.

**Paths.** Every path begins with `/api/v1`. The same resources also answer without `/api`: `/v1/market/price/{symbol}`
is `/api/v1/market/price/{symbol}`; each operation names its other path as `x-alias`.

**Values.** Prices, sizes and money are decimal strings, never rounded on the way. Times are UTC (RFC 3339, with `Z`);
whole seconds print without a fraction, milliseconds with three digits. Numbers that may exceed 2^53 are strings. An
answer may have more fields in a later version, never fewer: ignore what you do not know.

**Who calls.** Send an API key as `X-API-Key`, or a token as `Authorization: Bearer`. Either one is enough; where both
are sent, both must be valid and name the same account. `POST /api/v1/auth/token` exchanges a key for a token.

**Errors** are `google.rpc.Status`. The first of `details` has a `reason`, which the header `X-Error-Code` repeats:
branch on it. Messages are Korean for `Accept-Language: ko`, English otherwise. A method that a path does not have is
405 with `Allow`, a path that is none 404, both with the reason REQUEST_002.

**Limits.** 1000 requests per minute and caller unless agreed otherwise; `X-RateLimit-*` say what is left, 429 comes
with `Retry-After`. A parameter that an operation does not have, or that is given twice with different values, is
refused, as is a field of a body that it does not have.

**Streams** never end by themselves. They are newline-delimited JSON, or server-sent events for a caller who sends
`Accept: text/event-stream`. Live data also come over a WebSocket, `/ws/market`, which AsyncAPI describes.
"""


def generate(target: Path) -> None:
    """Write openapi/entasis.yaml into a folder."""
    path = target / "openapi" / "entasis.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(HEAD + as_yaml(document()), encoding="utf-8")


def document() -> Schema:
    """The whole document."""
    return _Document(_generated()).whole()


def _generated() -> Schema:
    """What the generator says, of all files together."""
    run_go("build", "-o", f"{BIN}/", GENERATOR)
    whole: Schema = {"paths": {}, "schemas": {}, "tags": {}}
    with tempfile.TemporaryDirectory() as temporary:
        protoc(our_services(), f"--openapiv3_out={temporary}", path=[BIN])
        for file in sorted(Path(temporary).rglob("*.json")):
            part = json.loads(file.read_text(encoding="utf-8"))
            whole["paths"] |= part["paths"]
            whole["schemas"] |= part["components"]["schemas"]
            whole["tags"] |= {tag["name"]: tag["description"] for tag in part["tags"]}
    return whole


class _Document:
    """Completes what was generated, operation by operation."""

    def __init__(self, generated: Schema) -> None:
        self._generated = generated
        self._schemas = Schemas(generated["schemas"])
        self._errors = Errors()
        self._rpcs = read()

    def whole(self) -> Schema:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        paths: dict[str, Schema] = {}
        for service in TAGS:
            for rpc in self._rpcs:
                if rpc.descriptor.containing_service.name == service:
                    for binding in rpc.bindings:
                        paths.setdefault(binding.path, {})[binding.verb] = self._operation(rpc, binding)
        schemas = {
            **self._schemas.components,
            "ErrorReason": self._error_reason(),
            **SHAPES,
        }
        if unused := self._schemas.unused():
            raise ContractError(f"openapi_fields.py has what no field is: {', '.join(unused)}")
        return {
            "openapi": OPENAPI,
            "info": {
                "title": "Entasis Engine",
                "version": project["version"],
                "summary": project["description"],
                "description": DESCRIPTION,
                "license": {"name": "Apache License 2.0", "identifier": project["license"]},
            },
            "servers": [{"url": "/", "description": "The engine that this document comes from."}],
            "tags": [
                {"name": tag, "description": about(self._generated["tags"][service], service)}
                for service, tag in TAGS.items()
            ],
            "paths": paths,
            "components": {
                "securitySchemes": _security_schemes(),
                "parameters": _parameters(),
                "headers": headers(),
                "responses": dict(sorted(self._errors.components.items())),
                "schemas": dict(sorted(schemas.items())),
            },
        }

    def _error_reason(self) -> Schema:
        generated = self._generated["schemas"]["entasis.errors.v1.ErrorReason"]
        return {
            "type": "string",
            "description": "Why a call failed. docs/errors.md tells of each.",
            "enum": [name for name in generated["enum"] if name != "ERROR_REASON_UNSPECIFIED"],
        }

    # Operations -------------------------------------------------------------------------------------------------------

    def _operation(self, rpc: Rpc, binding: Binding) -> Schema:
        generated = self._generated["paths"][binding.path][binding.verb]
        comment = "\n\n".join(filter(None, (generated.get("summary"), generated.get("description"))))
        summary, description = said(rpc, comment)
        operation: Schema = {
            "tags": [TAGS[rpc.descriptor.containing_service.name]],
            "operationId": _operation_id(rpc, binding),
            "summary": summary,
            "description": "\n\n".join(filter(None, (description, _asks(rpc)))),
            "security": _security(rpc),
            "parameters": self._parameters(rpc, binding, generated),
        }
        if binding.has_body:
            operation["requestBody"] = self._body(rpc, binding, generated)
        operation["responses"] = {
            **self._success(rpc, binding, generated),
            **{
                str(status): self._errors.refer(status, cases)
                for status, cases in cases_of(rpc, binding, declared_errors(comment)).items()
            },
        }
        return operation | {"x-alias": rpc.aliases[binding], "x-rpc": str(rpc.descriptor.full_name)}

    def _parameters(self, rpc: Rpc, binding: Binding, generated: Schema) -> list[Schema]:
        said = {one["name"]: plain_text(one["description"]) for one in generated.get("parameters", [])}
        in_path = path_variables(binding.path)
        parameters = []
        for field in rpc.descriptor.input_type.fields:
            # A map cannot be given in a query: the transcoder knows no form of it.
            if (field.name not in in_path and binding.has_body) or is_map(field):
                continue
            try:
                description = said.get(field.name) or said[field.json_name]
            except KeyError:
                raise ContractError(f"{field.full_name} has no comment") from None
            parameters.append(self._parameter(field, description, "path" if field.name in in_path else "query"))
        shared = ["IdempotencyKey"] if binding.verb != "get" and not rpc.requirement.api_key else []
        return parameters + [{"$ref": f"#/components/parameters/{name}"} for name in (*shared, "AcceptLanguage")]

    def _parameter(self, field: FieldDescriptor, description: str, place: str) -> Schema:
        schema = self._schemas.asked(field, description)
        parameter: Schema = {"name": field.name, "in": place, "description": description}
        if place == "path" or is_required(field):
            parameter["required"] = True
        if field.is_repeated:
            parameter |= {"style": "form", "explode": True}
        if "" in getattr(rules(field).string, "in"):
            parameter["allowEmptyValue"] = True  # the same as leaving it out
        if schema.get("format") == "date-time":
            parameter["description"] += (
                " A date alone is its midnight; seconds and zone may be left out: they are 0 and UTC. From 1970 on."
            )
        return parameter | {"schema": schema, "example": self._request_example(field)}

    def _request_example(self, field: FieldDescriptor) -> Any:
        if any(key in HOLDS for key in keys(field)):
            return self._schemas.example_of(field)
        raise ContractError(f"{field.full_name} has no example in openapi_fields.py")

    def _body(self, rpc: Rpc, binding: Binding, generated: Schema) -> Schema:
        message = rpc.descriptor.input_type
        in_path = path_variables(binding.path)
        schema = self._schemas.body(message, generated["requestBody"]["content"]["application/json"]["schema"], in_path)
        example = {field.name: self._request_example(field) for field in message.fields if field.name not in in_path}
        return {
            "required": "required" in schema,
            "content": {"application/json": {"schema": schema, "example": example}},
        }

    # Answers ----------------------------------------------------------------------------------------------------------

    def _success(self, rpc: Rpc, binding: Binding, generated: Schema) -> dict[str, Schema]:
        message = rpc.descriptor.output_type
        schema, example = self._schemas.answer(message), self._schemas.example(message)
        named = ["X-Request-ID", *RATE_LIMIT_HEADERS]
        if binding.verb != "get" and not rpc.requirement.api_key:
            named.append("Idempotency-Replayed")
        if rpc.name == NOT_STORED:
            named.append("Cache-Control")
        response: Schema = {
            "description": about(self._generated["schemas"][message.full_name]["description"], message.name),
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
            "content": _streamed(schema, example) if rpc.streams else _whole(schema, example),
        }
        if links := self._links(rpc, binding):
            response["links"] = links
        return {"201" if rpc.name == CREATED else "200": response}

    def _links(self, rpc: Rpc, binding: Binding) -> Schema:
        """Where the answer names what another operation takes: the next page, or a position."""
        links: Schema = {}
        names = {field.name for field in rpc.descriptor.output_type.fields}
        if "next_page_token" in names:
            links["nextPage"] = {
                "operationId": _operation_id(rpc, binding),
                "description": "The next page, unless the token is empty. The other parameters must be as they were.",
                "parameters": {
                    **{f"path.{name}": f"$request.path.{name}" for name in path_variables(binding.path)},
                    "query.page_token": "$response.body#/next_page_token",
                },
            }
        if "position_id" in names:
            for other in self._rpcs:
                for way in other.bindings:
                    if "position_id" in path_variables(way.path) and other is not rpc:
                        links[_operation_id(other, way)] = {
                            "operationId": _operation_id(other, way),
                            "description": "The same position.",
                            "parameters": {"path.position_id": "$response.body#/position_id"},
                        }
        return links


def said(rpc: Rpc, comment: str) -> tuple[str, str]:
    """The first sentence of an RPC's comment, and the rest of it; all of it where the sentence had to be cut."""
    text = without_errors(comment)
    rest = text.removeprefix(f"{rpc.name} ")
    if not rest or rest == text:
        raise ContractError(f"{rpc.descriptor.full_name}: its comment must begin with its name and say what it does")
    rest = rest[0].upper() + rest[1:]
    summary, _, description = rest.partition(". ") if ". " in rest.partition("\n")[0] else rest.partition("\n\n")
    if len(summary) > SUMMARY_MAX:
        summary, description = summary.partition(": ")[0], rest
    if len(summary) > SUMMARY_MAX:
        raise ContractError(f"{rpc.descriptor.full_name}: its first sentence is too long for a summary: {summary}")
    return summary.removesuffix("."), description.strip()


def _asks(rpc: Rpc) -> str:
    """Who may call, in words."""
    requirement = rpc.requirement
    if requirement.api_key:
        words = "Needs an API key, whatever its scopes; a token is not enough."
    elif requirement.public:
        words = f"Needs no credential, unless market streams are closed: then the scope `{requirement.scope}`."
    elif requirement.scope:
        words = f"Needs the scope `{requirement.scope}`."
    else:
        raise ContractError(f"{rpc.descriptor.full_name}: who may call it is not described")
    return words


def _security(rpc: Rpc) -> list[Schema]:
    scopes = [rpc.requirement.scope] if rpc.requirement.scope else []
    either: list[Schema] = [{"ApiKeyAuth": scopes}]
    if not rpc.requirement.api_key:
        either.append({"BearerAuth": scopes})
    return [*either, {}] if rpc.requirement.public else either


def _operation_id(rpc: Rpc, binding: Binding) -> str:
    name = rpc.name[0].lower() + rpc.name[1:]
    return name if binding is rpc.bindings[0] else f"{name}By{binding.verb.capitalize()}"


def _whole(schema: Schema, example: Any) -> Schema:
    return {"application/json": {"schema": schema, "example": example}}


def _streamed(schema: Schema, example: Any) -> Schema:
    """A stream has no schema in OpenAPI 3.1; what is described is one of its lines, and one of its events."""
    return {
        "application/x-ndjson": {"schema": schema, "example": example},
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event. On the wire it is a line `data: …` and an empty line.",
                "required": ["data"],
                "properties": {
                    "data": {
                        "type": "string",
                        "description": "The same JSON as a line of `application/x-ndjson`.",
                        "contentMediaType": "application/json",
                        "contentSchema": schema,
                    }
                },
            },
            "example": {"data": json.dumps(example, ensure_ascii=False, separators=(",", ":"))},
        },
    }


def _security_schemes() -> Schema:
    return {
        "ApiKeyAuth": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key, `ek_…`. `entasis keys create` makes one; `entasis up` prints that of the "
            "account `demo`.",
        },
        "BearerAuth": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token, from `POST /api/v1/auth/token`.",
        },
    }


def _parameters() -> Schema:
    return {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Chosen by the caller, 1 to 128 printable ASCII characters: within 24 hours the same key "
            "with the same request gets the first answer again, with another request 409.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": IDEMPOTENCY_KEY},
        },
        "AcceptLanguage": {
            "name": "Accept-Language",
            "in": "header",
            "description": "The language of messages (RFC 9110, section 12.5.4): Korean where it is preferred, else "
            "English.",
            "schema": {"type": "string"},
            "example": "en",
        },
    }


# Writing --------------------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Repeats what is the same, since anchors are hard to read, and writes paragraphs as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(whole: Mapping[str, Any]) -> str:
    return yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE)
