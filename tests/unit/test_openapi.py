"""The OpenAPI document is valid, complete, and says what the contract and the specification say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from scripts.contract.openapi import said
from scripts.contract.openapi_contract import Binding, ContractError, Rpc, declared_errors
from scripts.contract.openapi_errors import cases_of
from scripts.contract.openapi_schemas import Schemas

from entasis.access.v1 import access_pb2
from entasis.access.v1.requirement_pb2 import Requirement, requirement
from entasis.analysis.v1 import analysis_pb2
from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis.web.v1 import web_pb2
from entasis_engine import assets
from entasis_engine.errors import CATALOGUE

DOCUMENT: dict[str, Any] = yaml.safe_load(assets.path("gen/openapi/entasis.yaml").read_text(encoding="utf-8"))
CONTRACT = descriptor_pb2.FileDescriptorSet.FromString(assets.path("gen/descriptor/entasis.binpb").read_bytes())
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: operation | {"path": path, "verb": verb}
    for path, item in DOCUMENT["paths"].items()
    for verb, operation in item.items()
}
MODULES = (access_pb2, analysis_pb2, market_pb2, portfolio_pb2)
NEVER_OVER_REST = {"METHOD_REFUSED", "NO_SUCH_RPC", "NOT_FOR_CALLERS", "ORIGIN_REFUSED"}
WITHOUT_EXAMPLE = {"Idempotency-Key"}  # filled in by Swagger UI, it would have a second try replayed or refused
REGISTRY: Registry[Any] = Registry().with_resource(
    "document", Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
)

# Answers of the specification (api.md, sections 3 to 5), word for word.
SPECIFIED = {
    "getPrice": '{"symbol": "BTC-USDT", "price": "65432.10", "timestamp": "2024-03-21T09:30:00Z", "volume": "123.45", '
    '"exchange": "binance"}',
    "getHistory": '{"symbol": "BTC-USDT", "data": [{"timestamp": "2024-03-21T09:00:00Z", "open": "65000.00", '
    '"high": "65100.00", "low": "64900.00", "close": "65050.00", "volume": "234.56"}]}',
    "listPositions": '{"positions": [{"symbol": "BTC-USDT", "size": "1.5", "entry_price": "64000.00", '
    '"current_price": "65000.00", "pnl": "1500.00", "timestamp": "2024-03-21T09:30:00Z"}]}',
    "createPosition": '{"position_id": "pos_123456", "status": "success", "timestamp": "2024-03-21T09:30:00Z"}',
    "getPrediction": '{"symbol": "BTC-USDT", "prediction": "66000.00", "confidence": 0.85, "timeframe": "1h", '
    '"model": "ensemble", "timestamp": "2024-03-21T09:30:00Z"}',
    "getRisk": '{"symbol": "BTC-USDT", "var_95": "3200.00", "expected_shortfall": "3800.00", "volatility": "0.45", '
    '"timestamp": "2024-03-21T09:30:00Z"}',
}


def services() -> Iterator[tuple[Any, Any]]:
    for file in CONTRACT.file:
        for service in file.service:
            if service.name != "WebService":  # pages are for browsers
                for method in service.method:
                    yield service, method


def rules(method: Any) -> list[Any]:
    rule = method.options.Extensions[annotations_pb2.http]
    return [one for one in (rule, *rule.additional_bindings) if one.WhichOneof("pattern")]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """What a part refers to, or itself."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema within the document, with formats."""
    within = json.loads(json.dumps(schema).replace('"#/', '"document#/'))
    return Draft202012Validator(within, registry=REGISTRY, format_checker=FormatChecker())


def contents() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything that has a schema and an example: parameters, headers, bodies and answers."""
    for name, operation in OPERATIONS.items():
        for parameter in map(resolved, operation["parameters"]):
            yield name, parameter["name"], parameter
        yield from ((name, "body", one) for one in operation.get("requestBody", {}).get("content", {}).values())
        for status, response in operation["responses"].items():
            told = resolved(response)
            yield from ((name, status, one) for one in told.get("content", {}).values())
            yield from ((name, f"{status} {title}", resolved(one)) for title, one in told["headers"].items())


def test_the_document_is_valid() -> None:
    """It is OpenAPI 3.1, by a validator of others."""
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_binding_is_described_and_nothing_else() -> None:
    """Each path and method of the contract is an operation or the alias of one; there is no further one."""
    described = {
        (verb, path)
        for operation in OPERATIONS.values()
        for verb, path in ((operation["verb"], operation["path"]), (operation["verb"], operation["x-alias"]))
    }
    bound = {
        (one.WhichOneof("pattern"), getattr(one, one.WhichOneof("pattern")))
        for _, method in services()
        for one in rules(method)
    }
    assert described == bound
    assert all(path.startswith("/api/v1/") for path in DOCUMENT["paths"])


def test_the_document_says_who_may_call() -> None:
    """The security of an operation is what the contract requires of its caller."""
    for service, method in services():
        if not rules(method):
            continue
        needs = method.options.Extensions[requirement]
        described = [one for one in OPERATIONS.values() if one["x-rpc"].endswith(f".{service.name}.{method.name}")]
        assert described
        for one in described:
            schemes = {name for alternative in one["security"] for name in alternative}
            assert schemes == ({"ApiKeyAuth"} if needs.api_key else {"ApiKeyAuth", "BearerAuth"})
            assert ({} in one["security"]) == needs.public
            scopes = {scope for alternative in one["security"] for given in alternative.values() for scope in given}
            assert scopes == ({needs.scope} if needs.scope else set())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_tells_what_it_is(name: str) -> None:
    """It has a short summary, a tag that is described, statuses of callers' and of our own faults, and a success."""
    operation = OPERATIONS[name]
    assert 10 < len(operation["summary"]) < 160
    assert not operation["summary"].endswith(".")
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    assert {"400", "401", "403", "429", "431", "500", "503", "504"} <= set(operation["responses"])
    assert {"200", "201"} & set(operation["responses"]) == {"201" if name == "createPosition" else "200"}
    assert ("409" in operation["responses"]) == (operation["verb"] != "get" and name != "issueToken")
    headers = {parameter["name"] for parameter in map(resolved, operation["parameters"]) if parameter["in"] == "header"}
    assert headers == {"Accept-Language"} | ({"Idempotency-Key"} if "409" in operation["responses"] else set())


def test_everything_has_an_example_that_its_schema_takes() -> None:
    """Parameters, bodies, headers and answers: each has an example, and each example is valid."""
    checked = 0
    for operation, part, content in contents():
        examples = [one["value"] for one in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples or part in WITHOUT_EXAMPLE, (operation, part)
        for example in examples:
            faults = [fault.message for fault in validator(content["schema"]).iter_errors(example)]
            assert not faults, (operation, part, faults)
            checked += 1
    assert checked > 300


def test_a_schema_refuses_what_envoy_never_prints() -> None:
    """Numbers for decimals, a field left out, a local time and another name are no valid answer."""
    answer = OPERATIONS["getPrice"]["responses"]["200"]["content"]["application/json"]
    for spoilt in (
        {"price": 65432.1},
        {"price": "6.5e4"},
        {"timestamp": "2024-03-21T09:30:00+09:00"},
        {"timestamp": "2024-03-21T09:30:00.1Z"},
        {"symbol": "btc"},
    ):
        assert not validator(answer["schema"]).is_valid(answer["example"] | spoilt), spoilt
    for name in answer["example"]:
        left = {other: value for other, value in answer["example"].items() if other != name}
        assert not validator(answer["schema"]).is_valid(left), name


@pytest.mark.parametrize("name", SPECIFIED)
def test_the_answers_of_the_specification_are_shown(name: str) -> None:
    """An example has every field of the specification's, with its value; it may have more."""

    def within(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return all(key in whole and within(value, whole[key]) for key, value in part.items())
        if isinstance(part, list):
            return len(part) == len(whole) and all(map(within, part, whole))
        return bool(part == whole)

    responses = OPERATIONS[name]["responses"]
    example = responses.get("200", responses.get("201"))["content"]["application/json"]["example"]
    assert within(json.loads(SPECIFIED[name]), example)


def test_answers_are_messages_of_the_contract() -> None:
    """Protobuf itself can read each example of an answer as its message, and knows every field of each schema."""
    messages = {name: kind for module in MODULES for name, kind in vars(module).items() if isinstance(kind, type)}
    for operation in OPERATIONS.values():
        for status in ("200", "201"):
            content = operation["responses"].get(status, {}).get("content", {})
            for media_type in ("application/json", "application/x-ndjson"):
                if media_type in content:
                    name = content[media_type]["schema"]["$ref"].rpartition("/")[2]
                    message: Message = messages[name]()
                    json_format.ParseDict(content[media_type]["example"], message)
                    fields = {field.name for field in message.DESCRIPTOR.fields}
                    assert set(DOCUMENT["components"]["schemas"][name]["properties"]) == fields


def test_every_reason_that_rest_can_give_is_described() -> None:
    """Each case of the catalogue is an example of a response with its status, and no other case is."""
    shown: dict[str, set[int]] = {}
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            for case in resolved(response).get("content", {}).get("application/json", {}).get("examples", {}):
                shown.setdefault(case, set()).add(int(status))
    assert set(shown) == set(CATALOGUE) - NEVER_OVER_REST
    for case, statuses in shown.items():
        late = {408} if case == "TOO_SLOW" else set()
        assert statuses == {CATALOGUE[case].http} | late


@pytest.mark.parametrize("name", DOCUMENT["components"]["responses"])
def test_an_error_is_googles_status_with_the_reasons_it_says(name: str) -> None:
    """Header, schema and examples have the same reasons; each example is `google.rpc.Status`; others are refused."""
    response = DOCUMENT["components"]["responses"][name]
    content = response["content"]["application/json"]
    reasons = set(response["headers"]["X-Error-Code"]["schema"]["enum"])
    assert reasons == set(re.findall(r"^- `(\w+)`", response["description"], re.MULTILINE))
    assert reasons == {CATALOGUE[case].reason for case in content["examples"]}
    for case, example in content["examples"].items():
        status = json_format.ParseDict(example["value"], status_pb2.Status())
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, status.code) == (CATALOGUE[case].reason, CATALOGUE[case].code)
        other = json.loads(json.dumps(example["value"]).replace(info.reason, "REQUEST_002"))
        assert validator(content["schema"]).is_valid(other) == ("REQUEST_002" in reasons)
        assert not validator(content["schema"]).is_valid(example["value"] | {"details": []})


def test_rules_of_the_contract_are_constraints() -> None:
    """Patterns, sets, limits and defaults of requests are those of the contract."""
    history = {one["name"]: one for one in map(resolved, OPERATIONS["getHistory"]["parameters"])}
    assert history["symbol"]["schema"]["pattern"] == "^[A-Z0-9]{1,20}-[A-Z0-9]{1,20}$"
    assert history["interval"]["schema"] == {"type": "string", "enum": ["1m", "5m", "1h", "1d"], "default": "1h"}
    assert history["interval"]["allowEmptyValue"]
    assert history["page_size"]["schema"]["minimum"] == 0
    assert history["page_token"]["schema"]["maxLength"] == 256
    stream = {one["name"]: one for one in map(resolved, OPERATIONS["streamOrderBooks"]["parameters"])}
    symbols = stream["symbols"]
    assert symbols["required"]
    assert (symbols["schema"]["minItems"], symbols["schema"]["maxItems"]) == (1, 100)
    assert (stream["depth"]["schema"]["minimum"], stream["depth"]["schema"]["maximum"]) == (1, 100)
    assert stream["depth"]["schema"]["default"] == 10
    body = OPERATIONS["createPosition"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["symbol", "size", "type"]
    assert body["properties"]["type"]["enum"] == ["long", "short"]
    assert body["additionalProperties"] is False


PRICE = Rpc(
    market_pb2.DESCRIPTOR.services_by_name["MarketService"].methods_by_name["GetPrice"],
    [],
    {},
    Requirement(scope="market:read"),
)


@pytest.mark.parametrize("comment", ["", "Errors: AUTH_001.", "Returns a price.", "GetPrice " + "very " * 40 + "long."])
def test_the_generator_wants_a_summary(comment: str) -> None:
    """A comment that is missing, begins otherwise than with the RPC, or has an endless first sentence, is none."""
    with pytest.raises(ContractError, match="GetPrice"):
        said(PRICE, comment)


def test_the_generator_wants_examples() -> None:
    """A field that openapi_fields.py does not know stops the generator, which names it."""
    with pytest.raises(ContractError, match=r"GetAssetRequest\.path"):
        Schemas({}).example(web_pb2.GetAssetRequest.DESCRIPTOR)


def test_the_generator_reads_declared_errors() -> None:
    """The `Errors:` line gives reasons with its words, over several lines; a reason of no catalogue is refused."""
    declared = declared_errors("Does it.\n\nErrors: MARKET_001 (a symbol is\nmalformed), AUTH_003, XX_001 (what).")
    assert declared == {"MARKET_001": "a symbol is malformed", "AUTH_003": "", "XX_001": "what"}
    with pytest.raises(ContractError, match="XX_001"):
        cases_of(PRICE, Binding("get", "/api/v1/x", has_body=False), declared)
