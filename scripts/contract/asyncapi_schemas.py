"""JSON Schemas of the WebSocket's messages, read off the code that parses and prints them and off the protos.

The structs of `protocol.py` say which fields there are, the protos what each holds. Where the two differ, or where a
field is new and nothing here says what it is, the generator fails.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec
from google.protobuf import descriptor_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from buf.validate import validate_pb2
from entasis_engine.errors import CATALOGUE, DOMAIN
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Status
from entasis_engine.settings import Settings
from entasis_engine.websocket import protocol
from scripts.contract.tools import our_protos, protoc

Schema: TypeAlias = dict[str, Any]
Field = descriptor_pb2.FieldDescriptorProto

SYMBOL: Schema = {"type": "string", "pattern": f"^{protocol._SYMBOL.pattern}$"}
DECIMAL: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
SIGNED: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
DECIMAL_OR_EMPTY: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?)?$"}
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$",
}
INTERVAL: Schema = {"type": "string", "enum": list(get_args(protocol.IntervalName))}

# What a text of the contract holds, which Protobuf has no types for. A new one must be entered here.
_TEXTS: Mapping[str, Schema] = {
    "symbol": SYMBOL,
    "interval": INTERVAL,
    "position_id": {"type": "string", "pattern": "^pos_[0-9A-Za-z_]{1,60}$"},
    "type": {"type": "string", "enum": [side.value for side in Side]},
    "status": {"type": "string", "enum": [status.value for status in Status]},
    "pnl": SIGNED,
    "realised_pnl": SIGNED,
    "liquidation_price": DECIMAL_OR_EMPTY,
} | dict.fromkeys(
    (
        *("price", "volume", "open", "high", "low", "close"),
        *("size", "entry_price", "current_price", "leverage", "margin", "fees"),
    ),
    DECIMAL,
)
_INTEGERS: Mapping[int, Schema] = {
    Field.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    Field.TYPE_UINT64: {"type": "integer", "format": "int64", "minimum": 0},
}

# What the requests' fields are for. Their types and limits are in the structs.
_REQUEST_FIELDS: Mapping[str, str] = {
    "id": "Chosen by the client; the answer repeats it. Without one, only `list` and `ping` are answered.",
    "channel": "What kind of data.",
    "symbol": "One instrument.",
    "symbols": "Several instruments, beside `symbol` or instead of it; "
    f"at most {Settings.model_fields['websocket_subscriptions_max'].default} in one message.",
    "depth": "Levels on each side.",
    "interval": "Length of a candle.",
    "resume": "For a symbol, the last `seq` received: what came after it is sent instead of a snapshot, where it is "
    "still held.",
    "seconds": "Pause between heartbeats; 0 ends them.",
    "token": "A JWT.",
    "api_key": "An API key.",
}
_DEFAULTS: Mapping[str, object] = {"depth": protocol.DEPTH_DEFAULT, "interval": protocol.INTERVAL_DEFAULT}
_SELECTORS: Mapping[str, Sequence[str]] = {
    "market": ("symbol", "symbols", "resume"),
    "orderbook": ("symbol", "symbols", "depth"),
    "candles": ("symbol", "symbols", "interval"),
    "positions": (),
}
"""What a client can choose on each channel."""
_NAMES_SYMBOLS: Sequence[Schema] = (
    {"required": ["symbol"], "properties": {"symbol": {"type": "string"}}},
    {"required": ["symbols"], "properties": {"symbols": {"type": "array", "minItems": 1}}},
)
_NAMES_NONE: Schema = {
    "not": {"anyOf": [{"required": [name], "properties": {name: {}}} for name in ("symbol", "symbols")]}
}


class ContractError(Exception):
    """The code and the protos do not agree, or hold something that nothing here describes."""


class Contract:
    """The protos with their comments."""

    def __init__(self, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self._comments: dict[str, str] = {}
        self.messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self.enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
        for file in files:
            comments = {tuple(one.path): _words(one.leading_comments) for one in file.source_code_info.location}
            for number, message in enumerate(file.message_type):
                name = f"{file.package}.{message.name}"
                self.messages[name] = message
                self._comments[name] = comments.get((4, number), "")
                for position, field in enumerate(message.field):
                    self._comments[f"{name}.{field.name}"] = comments.get((4, number, 2, position), "")
            for number, enum in enumerate(file.enum_type):
                name = f"{file.package}.{enum.name}"
                self.enums[name] = enum
                for position, value in enumerate(enum.value):
                    self._comments[f"{name}.{value.name}"] = comments.get((5, number, 2, position), "")

    @classmethod
    def read(cls) -> Contract:
        """Compile our protos."""
        with tempfile.TemporaryDirectory() as temporary:
            compiled = Path(temporary) / "commented.binpb"
            protoc(our_protos(), f"--descriptor_set_out={compiled}", "--include_source_info")
            return cls(descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file)

    def comment(self, name: str) -> str:
        """What the contract says of a message, field or enum value, by its full name."""
        if not (comment := self._comments[name]):
            raise ContractError(f"{name} has no comment")
        return comment

    def about(self, message: str) -> str:
        """What a message is. The contract's sentence begins with the message's name, which means nothing here."""
        comment = self.comment(message)
        rest = comment.removeprefix(f"{self.messages[message].name} is ")
        return rest[:1].upper() + rest[1:]


def _words(comment: str) -> str:
    lines = [line.strip() for line in comment.strip().splitlines() if "buf:lint:ignore" not in line]
    paragraphs = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def schemas(contract: Contract) -> dict[str, Schema]:
    """Every schema of the document, by its name."""
    answers = _answers()
    answered_id = answers["Pong"]["properties"]["id"]
    return {**_requests(), **_data(contract), **answers, **_errors(contract, answered_id)}


def _object(properties: Schema, *, required: Iterable[str] = (), description: str = "", **others: Any) -> Schema:
    """Fields that are not named are ignored in what clients send, and may be added to what they get."""
    schema: Schema = {"type": "object"}
    if description:
        schema["description"] = description
    if required := list(required):
        schema["required"] = required
    return schema | {"properties": properties, "additionalProperties": True} | others


def ref(name: str) -> Schema:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


# --- What clients send ------------------------------------------------------------------------------------------------


def _requests() -> dict[str, Schema]:
    """A schema for each command, for `subscribe` one for each channel."""
    if set(_SELECTORS) != set(get_args(protocol.Channel)):
        raise ContractError("the channels are not those of protocol.py")
    found: dict[str, Schema] = {}
    for command in get_args(protocol.Command):
        properties = _request_fields(command)
        action: str = command.__struct_config__.tag
        required = [name for name, field in _struct_schema(command)["properties"].items() if "default" not in field]
        if command is protocol.Subscribe:
            found |= _subscribes(properties)
            continue
        schema = _object(properties, required=required, description=_doc(command))
        if command is protocol.Unsubscribe:
            schema |= {
                "if": {"required": ["channel"], "properties": {"channel": {"const": "positions"}}},
                "then": _NAMES_NONE,
                "else": {"anyOf": list(_NAMES_SYMBOLS)},
            }
        if command is protocol.Auth:
            schema["anyOf"] = [
                {"required": [name], "properties": {name: {"type": "string"}}} for name in ("token", "api_key")
            ]
        found[REQUESTS[action]] = schema
    return found


REQUESTS: Mapping[str, str] = {
    "unsubscribe": "Unsubscribe",
    "list": "List",
    "ping": "Ping",
    "heartbeat": "SetHeartbeat",
    "auth": "Authenticate",
}
"""Schemas of the actions, but for `subscribe`."""


def _subscribes(properties: Schema) -> dict[str, Schema]:
    chosen = {name for selectors in _SELECTORS.values() for name in selectors}
    common = [name for name in properties if name not in chosen]
    if common != ["action", "id", "channel"]:
        raise ContractError(f"which channels have {common}?")
    found: dict[str, Schema] = {}
    for channel, selectors in _SELECTORS.items():
        fields = {name: properties[name] for name in ("action", "channel", *selectors, "id")}
        fields["channel"] = {"type": "string", "const": channel}
        schema = _object(fields, required=["action", "channel"], description=_doc(protocol.Subscribe))
        names = {"anyOf": list(_NAMES_SYMBOLS)} if selectors else _NAMES_NONE
        found[f"Subscribe{channel.title()}"] = schema | names
    return found


def _request_fields(command: type[msgspec.Struct]) -> Schema:
    fields: Schema = {}
    for name, schema in _struct_schema(command)["properties"].items():
        if name == "action":
            fields[name] = {"type": "string", "const": schema["enum"][0]}
            continue
        fields[name] = {"description": _REQUEST_FIELDS[name], **_request_field(name, schema)}
        if name in _DEFAULTS:
            if command is protocol.Subscribe:
                fields[name]["default"] = _DEFAULTS[name]
            else:
                fields[name]["description"] += " Left out, all."
    return fields


def _request_field(name: str, schema: Schema) -> Schema:
    """A field as msgspec describes it, in words that every reader of JSON Schema knows."""
    schema = {key: value for key, value in schema.items() if key != "default"}
    choices: list[Schema] = [_plain(name, choice) for choice in schema.get("anyOf", [schema])]
    if len(choices) == 1:
        return choices[0]
    real = [choice for choice in choices if choice["type"] != "null"]
    if len(real) > 1:
        return {"anyOf": choices}
    nullable = {**real[0], "type": [real[0]["type"], "null"]}
    return {**nullable, "enum": [*nullable["enum"], None]} if "enum" in nullable else nullable


def _plain(name: str, schema: Schema) -> Schema:
    plain = dict(schema)
    if "enum" in plain:
        order = get_args({"channel": protocol.Channel, "interval": protocol.IntervalName}[name])
        return {"type": "string", "enum": sorted(plain["enum"], key=order.index)}
    if name in {"symbol", "symbols"} and plain["type"] != "null":
        return {"type": "array", "items": SYMBOL} if plain["type"] == "array" else SYMBOL
    if name == "resume":
        plain = {"type": "object", "propertyNames": {"pattern": SYMBOL["pattern"]}} | plain
        plain["additionalProperties"] = {**_plain("", plain["additionalProperties"]), "format": "int64"}
        plain["additionalProperties"].pop("default", None)
    if "pattern" in plain:
        plain["pattern"] = plain["pattern"].replace(r"\Z", "$")  # the end of the text in ECMA 262
    return plain


def _struct_schema(struct: type[msgspec.Struct]) -> Schema:
    _, components = msgspec.json.schema_components([struct])
    found: Schema = components[struct.__name__]
    return found


def _doc(struct: type[msgspec.Struct]) -> str:
    return " ".join((struct.__doc__ or "").split())


# --- What clients get -------------------------------------------------------------------------------------------------

_MARKET = "entasis.market.v1"
_PORTFOLIO = "entasis.portfolio.v1"


def _data(contract: Contract) -> dict[str, Schema]:
    def channel(name: str) -> Schema:
        if name not in get_args(protocol.Channel):
            raise ContractError(f"there is no channel {name}")
        return {"type": "string", "description": "The channel that this was subscribed on.", "const": name}

    asked = _request_fields(protocol.Unsubscribe)["depth"]
    depth = {
        **asked,
        "type": "integer",
        "description": "Levels on each side, as they were asked for; a thin book has fewer.",
    }
    level: Schema = {"type": "array", "minItems": 2, "maxItems": 2, "items": DECIMAL}
    levels: Schema = {"type": "array", "maxItems": depth["maximum"], "items": level}
    events = _allowed(contract, f"{_PORTFOLIO}.PositionUpdate", "event")
    return {
        "Trade": _struct(contract, protocol._Price, [f"{_MARKET}.PriceUpdate"], {"channel": channel("market")}),
        "OrderBook": _struct(
            contract,
            protocol._Book,
            [f"{_MARKET}.GetOrderBookResponse"],
            {"channel": channel("orderbook"), "depth": depth},
            {"bids": levels, "asks": levels},
        ),
        "Candle": _struct(
            contract,
            protocol._Candle,
            [f"{_MARKET}.CandleUpdate", f"{_MARKET}.Candle"],
            {"channel": channel("candles")},
        ),
        "Positions": _struct(
            contract,
            protocol._Positions,
            [f"{_PORTFOLIO}.PositionUpdate"],
            {"channel": channel("positions")},
            {
                "positions": {"type": "array", "items": ref("Position")},
                "event": {"type": "string", "enum": events},
            },
        ),
        "Position": _struct(contract, protocol._Position, [f"{_PORTFOLIO}.Position"]),
    }


def _struct(
    contract: Contract,
    struct: type[msgspec.Struct],
    messages: Sequence[str],
    ours: Mapping[str, Schema] | None = None,
    shapes: Mapping[str, Schema] | None = None,
) -> Schema:
    """The schema of a message that `struct` prints.

    Args:
        messages: the contract's messages that its fields come from; all of their fields must be in it.
        ours: fields that the contract's messages do not have.
        shapes: what fields look like whose Protobuf type does not say it.
    """
    printed = _struct_schema(struct)
    ours, shapes = ours or {}, shapes or {}
    told: Schema = {}
    for name in messages:
        for field in contract.messages[name].field:
            if field.type == Field.TYPE_MESSAGE and field.type_name.removeprefix(".") in messages:
                continue  # its fields stand beside the others
            shape = shapes.get(field.name) or _shape(field)
            told[field.name] = {"description": contract.comment(f"{name}.{field.name}"), **shape}
    if set(told) | set(ours) != set(printed["properties"]) or set(told) & set(ours):
        raise ContractError(f"{struct.__name__} has other fields than {', '.join(messages)}")
    properties = {name: told.get(name) or ours[name] for name in printed["properties"]}
    for name, printed_field in printed["properties"].items():
        if properties[name]["type"] != printed_field["type"]:
            raise ContractError(f"{struct.__name__}.{name} is printed as another type")
    return _object(properties, required=printed["required"], description=contract.about(messages[0]))


def _shape(field: descriptor_pb2.FieldDescriptorProto) -> Schema:
    if field.type == Field.TYPE_STRING:
        if field.name not in _TEXTS:
            raise ContractError(f"what does the text {field.name} hold?")
        return _TEXTS[field.name]
    if field.type == Field.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type_name == ".google.protobuf.Timestamp":
        return TIME
    return _INTEGERS[field.type]


def _allowed(contract: Contract, message: str, field_name: str) -> list[str]:
    (field,) = (field for field in contract.messages[message].field if field.name == field_name)
    options = descriptor_pb2.FieldOptions.FromString(field.options.SerializeToString())
    extension: Any = validate_pb2.field
    values = list(getattr(options.Extensions[extension].string, "in"))
    if not values:
        raise ContractError(f"{message}.{field_name} allows anything")
    return values


def _const(value: str) -> Schema:
    return {"type": "string", "const": value}


def _answers() -> dict[str, Schema]:
    channel: Schema = {"type": "string", "enum": list(get_args(protocol.Channel))}
    seq: Schema = {
        "type": "integer",
        "description": "The newest number of the stream so far; left out where there is none.",
        "format": "int64",
        "minimum": 0,
    }
    symbol = {**SYMBOL, "description": "Left out on the channel `positions`, which has no symbols."}
    named: Schema = {"type": "string", "description": "The symbol as it was named. Left out on `positions`."}
    fields = _request_fields(protocol.Subscribe)
    given = [choice for choice in fields["id"]["anyOf"] if choice["type"] != "null"]
    request_id: Schema = {"description": "The `id` of the message that this answers.", "anyOf": given}
    depth = {**fields["depth"], "type": "integer", "description": "On the channel `orderbook`."}
    del depth["default"]
    ack = {"type": _const("ack"), "id": request_id}
    ack_required = ["type", "id", "action"]
    return {
        "SelectionAck": _object(
            {
                **ack,
                "action": {"type": "string", "enum": ["subscribe", "unsubscribe"]},
                "channel": channel,
                "results": {"type": "array", "minItems": 1, "items": {"oneOf": [ref("Done"), ref("Failed")]}},
            },
            required=[*ack_required, "channel", "results"],
            description="What became of each symbol, in the order named.",
        ),
        "Done": _object(
            {
                "symbol": symbol,
                "status": _const("ok"),
                "resumed": {
                    "type": "boolean",
                    "description": "Where `resume` named the symbol: whether data goes on after that `seq`.",
                },
                "seq": seq,
            },
            required=["status"],
            description="The symbol is subscribed, or unsubscribed.",
        ),
        "Failed": _object(
            {"symbol": named, "status": _const("error"), "error": ref("Status")},
            required=["status", "error"],
            description="The symbol is not; the others are not affected.",
        ),
        "HeartbeatAck": _object(
            {
                **ack,
                "action": _const("heartbeat"),
                "seconds": _request_fields(protocol.Heartbeat)["seconds"],
            },
            required=[*ack_required, "seconds"],
            description="How often heartbeats come from now on.",
        ),
        "AuthAck": _object(
            {
                **ack,
                "action": _const("auth"),
                "account": {"type": "string", "description": "Whose the credentials are.", "minLength": 1},
                "scopes": {
                    "type": "array",
                    "description": "What they permit, such as `market:read`.",
                    "items": {"type": "string"},
                },
                "expires_at": {**TIME, "description": "Left out where they never expire."},
            },
            required=[*ack_required, "account", "scopes"],
            description="Whose the socket is now, and until when.",
        ),
        "Subscriptions": _object(
            {
                "type": _const("subscriptions"),
                "id": request_id,
                "subscriptions": {"type": "array", "items": ref("Subscription")},
            },
            required=["type", "subscriptions"],
            description="Everything that the socket is subscribed to.",
        ),
        "Subscription": _object(
            {
                "channel": channel,
                "symbol": symbol,
                "depth": depth,
                "interval": {**INTERVAL, "description": "On the channel `candles`."},
            },
            required=["channel"],
            description="One stream.",
        ),
        "Pong": _object(
            {
                "type": _const("pong"),
                "id": request_id,
                "timestamp": {**TIME, "description": "When the server answered."},
            },
            required=["type", "timestamp"],
            description="The answer to `ping`.",
        ),
        "Heartbeat": _object(
            {"type": _const("heartbeat"), "timestamp": {**TIME, "description": "When the server sent it."}},
            required=["type", "timestamp"],
            description="A sign of life, for those who asked for it.",
        ),
    }


# --- Errors -----------------------------------------------------------------------------------------------------------


def _errors(contract: Contract, answered_id: Schema) -> dict[str, Schema]:
    reasons = [value.name for value in contract.enums["entasis.errors.v1.ErrorReason"].value if value.number]
    if unknown := {entry.reason for entry in CATALOGUE.values()} - set(reasons):
        raise ContractError(f"not in the contract: {', '.join(sorted(unknown))}")
    comments = {name: contract.comment(f"entasis.errors.v1.ErrorReason.{name}") for name in reasons}
    meanings = [f"- `{name}`: {re.split(' (?:Metadata|Example):', text)[0]}" for name, text in comments.items()]
    codes = sorted({entry.code for entry in CATALOGUE.values()})
    named = ", ".join(f"{code} {code_pb2.Code.Name(code)}" for code in codes)
    status: Schema = {
        "code": {"type": "integer", "description": f"The `google.rpc.Code`: {named}.", "enum": codes},
        "message": {
            "type": "string",
            "description": "In words, which may change: English, or Korean where the handshake's `Accept-Language` "
            "prefers it.",
            "minLength": 1,
        },
        "details": {
            "type": "array",
            "description": "First an `ErrorInfo`, by whose reason to branch; then more where there is more to say.",
            "minItems": 1,
            "items": {"oneOf": [ref("ErrorInfo"), ref("BadRequest"), ref("RetryInfo")]},
            "contains": ref("ErrorInfo"),
        },
    }
    _require_fields(status_pb2.Status, status)
    text: Schema = {"type": "string"}
    info = {
        "reason": ref("ErrorReason"),
        "domain": _const(DOMAIN),
        "metadata": {
            "type": "object",
            "description": "What the words speak of, such as the symbol; left out where there is nothing.",
            "additionalProperties": text,
        },
    }
    violation = {
        "field": {**text, "description": "The field at fault."},
        "description": {**text, "description": "What would be right."},
    }
    _require_fields(error_details_pb2.ErrorInfo, info)
    _require_fields(error_details_pb2.BadRequest.FieldViolation, violation)
    return {
        "Status": _object(status, required=status, description="`google.rpc.Status`, the body of every error."),
        "Error": _object(
            {
                "type": _const("error"),
                "id": answered_id,
                "channel": {"type": "string", "enum": list(get_args(protocol.Channel))},
                "symbol": {"type": "string", "description": "The symbol that it is about, as it was named."},
                **status,
            },
            required=["type", *status],
            description="A failure: the body of every error, and what it is about, as far as that is known.",
        ),
        "ErrorReason": {"type": "string", "description": "\n".join(meanings), "enum": reasons},
        "ErrorInfo": _detail("ErrorInfo", info, ["reason", "domain"], "What kind of error it is."),
        "BadRequest": _detail(
            "BadRequest",
            {
                "field_violations": {
                    "type": "array",
                    "minItems": 1,
                    "items": _object(violation, required=violation),
                }
            },
            ["field_violations"],
            "Which fields are at fault.",
        ),
        "RetryInfo": _detail(
            "RetryInfo",
            {
                "retry_delay": {
                    "type": "string",
                    "description": "Seconds to wait before trying again, such as `5s`.",
                    "pattern": r"^[0-9]+(\.[0-9]+)?s$",
                }
            },
            ["retry_delay"],
            "When it makes sense to try again.",
        ),
    }


def _detail(name: str, fields: Schema, required: Sequence[str], description: str) -> Schema:
    _require_fields(getattr(error_details_pb2, name), fields)
    kind = {"@type": _const(f"type.googleapis.com/google.rpc.{name}")}
    return _object(kind | fields, required=["@type", *required], description=description)


def _require_fields(message: Any, fields: Iterable[str]) -> None:
    if unknown := set(fields) - set(message.DESCRIPTOR.fields_by_name):
        raise ContractError(f"{message.DESCRIPTOR.full_name} has no {', '.join(sorted(unknown))}")
