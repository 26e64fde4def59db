"""gen/asyncapi: the WebSocket as AsyncAPI 3 describes it.

What messages look like comes from the code and the protos (`asyncapi_schemas.py`), the examples and the tables of
errors, close codes and refusals from docs/websocket.md, limits from the settings. Words that none of them has are here.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from entasis_engine.settings import Settings
from entasis_engine.websocket import handshake, protocol
from entasis_engine.websocket.connection import SUBPROTOCOL
from entasis_engine.websocket.limits import Limits
from scripts.contract.asyncapi_schemas import Contract, ContractError, Schema, ref, schemas
from scripts.contract.tools import ROOT

PAGE = ROOT / "docs" / "websocket.md"
CHANNEL = "market"
_LIMITS = Limits()


class Message(NamedTuple):
    """A message of the document. Its name there is that of its schema, with a small letter."""

    schema: str
    title: str
    summary: str
    has_id: bool = False
    """Whether `id` ties it to another."""

    @property
    def name(self) -> str:
        return self.schema[0].lower() + self.schema[1:]


class Request(NamedTuple):
    """A message from a client, and what may answer it."""

    message: Message
    answers: Sequence[str] = ()
    """Names of messages beside `error`."""
    description: str = ""
    needs_credentials: bool = False


class Update(NamedTuple):
    """A message that the server sends by itself."""

    operation: str
    message: Message
    description: str


_IGNORED = "What chooses something on other channels does nothing here, but must be well-formed."
_EACH_SYMBOL = "Answered where it has an `id`; a bad symbol never spoils the rest. Without `id`, each symbol that "

REQUESTS: Sequence[Request] = (
    Request(
        Message("SubscribeMarket", "Subscribe to trades", "Every trade of some symbols, from now on.", True),
        ["selectionAck"],
        f"{_EACH_SYMBOL}fails is an `error` of its own. Data begins with the newest trade of each, or, after "
        f"`resume`, with what came since, where it is among the last {_LIMITS.ring_frames_max}. {_IGNORED}",
    ),
    Request(
        Message("SubscribeOrderbook", "Subscribe to order books", "The best levels of some books, from now on.", True),
        ["selectionAck"],
        f"{_EACH_SYMBOL}fails is an `error` of its own. Data begins with each book as it stands. {_IGNORED}",
    ),
    Request(
        Message("SubscribeCandles", "Subscribe to candles", "The candles of some symbols, from now on.", True),
        ["selectionAck"],
        f"{_EACH_SYMBOL}fails is an `error` of its own. Data begins with each candle as it stands. {_IGNORED}",
    ),
    Request(
        Message("SubscribePositions", "Subscribe to positions", "The positions of the socket's account.", True),
        ["selectionAck"],
        "Needs credentials with the scope `portfolio:read`. Answered where it has an `id`; a failure is an `error` in "
        f"any case. Data begins with a snapshot. {_IGNORED}",
        needs_credentials=True,
    ),
    Request(
        Message("Unsubscribe", "Unsubscribe", "No more data of some symbols, or of the account's positions.", True),
        ["selectionAck"],
        f"{_EACH_SYMBOL}is malformed is an `error` of its own.",
    ),
    Request(
        Message("List", "List subscriptions", "Ask what the socket is subscribed to.", True),
        ["subscriptions"],
        "Always answered.",
    ),
    Request(Message("Ping", "Ping", "Ask for an answer at once.", True), ["pong"], "Always answered."),
    Request(
        Message("SetHeartbeat", "Set the heartbeat", "Ask for a message every so many seconds, or for none.", True),
        ["heartbeatAck"],
        "Answered where it has an `id`.",
    ),
    Request(
        Message("Authenticate", "Authenticate", "Say who the client is, or renew that before it expires.", True),
        ["authAck"],
        "Answered where it has an `id`; a failure is an `error` in any case. Where it fails, the socket keeps what it "
        "had. A socket stays with its account.",
    ),
)
ANSWERS: Sequence[Message] = (
    Message("SelectionAck", "Subscribed or unsubscribed", "What became of each symbol.", True),
    Message("Subscriptions", "Subscriptions", "What the socket is subscribed to.", True),
    Message("Pong", "Pong", "The answer to a ping.", True),
    Message("HeartbeatAck", "Heartbeat set", "How often heartbeats come from now on.", True),
    Message("AuthAck", "Authenticated", "Whose the socket is now.", True),
)
UPDATES: Sequence[Update] = (
    Update(
        "sendTrades",
        Message("Trade", "Trade", "A trade, on the channel `market`."),
        "`volume` is the size of the trade. Where `seq` grows by more than one, trades were left out.",
    ),
    Update(
        "sendOrderBooks",
        Message("OrderBook", "Order book", "The best levels, on the channel `orderbook`."),
        "At each change of the levels; each message replaces the one before.",
    ),
    Update(
        "sendCandles",
        Message("Candle", "Candle", "A candle as it stands, on the channel `candles`."),
        "At each change of the candle in progress, and once more with `closed` true. Where `seq` grows by more than "
        "one, changes were left out, a close among them perhaps: `GET /api/v1/market/history/{symbol}` has it.",
    ),
    Update(
        "sendPositions",
        Message("Positions", "Positions", "What happened to positions, on the channel `positions`."),
        "First a snapshot, then each change with that position whole. A message stands for the newest state of its "
        "position: one that the client does not know yet is new, whatever the event.",
    ),
    Update(
        "sendHeartbeats",
        Message("Heartbeat", "Heartbeat", "A sign of life."),
        "Every so many seconds, to those who asked for it by `setHeartbeat`.",
    ),
    Update(
        "sendErrors",
        Message("Error", "Error", "A failure; it closes nothing, but where a close code follows.", True),
        "In answer to a message, for a stream that ends or whose data stops, and before the server closes the socket.",
    ),
)
MESSAGES: Sequence[Message] = (
    *(request.message for request in REQUESTS),
    *ANSWERS,
    *(update.message for update in UPDATES),
)

# By `type` and, for an acknowledgement, `action`; data is told by its `channel`.
_OF_TYPE: Mapping[str, str] = {
    "ack subscribe": "selectionAck",
    "ack unsubscribe": "selectionAck",
    "ack heartbeat": "heartbeatAck",
    "ack auth": "authAck",
    "subscriptions": "subscriptions",
    "pong": "pong",
    "heartbeat": "heartbeat",
    "error": "error",
}
_OF_CHANNEL: Mapping[str, str] = {
    "market": "trade",
    "orderbook": "orderBook",
    "candles": "candle",
    "positions": "positions",
}
_OF_ACTION: Mapping[str, str] = {
    "unsubscribe": "unsubscribe",
    "list": "list",
    "ping": "ping",
    "heartbeat": "setHeartbeat",
    "auth": "authenticate",
}


def generate(target: Path) -> None:
    """Write asyncapi/entasis.yaml into a folder."""
    file = target / "asyncapi" / "entasis.yaml"
    file.parent.mkdir(parents=True)
    text = yaml.dump(
        document(Contract.read(), PAGE.read_text(encoding="utf-8")),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    file.write_text(f"# Written by scripts/contract/asyncapi.py.\n{text}", encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Writes everything out, and text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(contract: Contract, page: str) -> dict[str, Any]:
    """The AsyncAPI document.

    Args:
        page: the text of docs/websocket.md.
    """
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Entasis Engine: WebSocket",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {CHANNEL: _channel(page)},
        "operations": _operations(),
        "components": {
            "messages": _messages(page),
            "schemas": schemas(contract),
            "securitySchemes": _SECURITY,
            "correlationIds": {
                "request": {
                    "description": "An answer repeats the `id` of the message that it answers.",
                    "location": "$message.payload#/id",
                }
            },
        },
    }


_ABOUT = """\
Live trades, order books, candles and an account's positions as JSON text frames, one object each.

The operations are the server's: it receives what a client sends. Messages that it sends are told apart by `type`, or,
where there is none, by `channel`. Every decimal is a string, every time is UTC. Fields that are not named here are
ignored in what clients send; what they get may have more fields than are named here.
"""


def _servers() -> dict[str, Any]:
    port, tls_port = (Settings.model_fields[name].default for name in ("rest_port", "https_port"))
    return {
        "local": {
            "host": f"127.0.0.1:{port}",
            "protocol": "ws",
            "description": "Where `entasis up` serves unless told otherwise.",
        },
        "remote": {
            "host": "{host}",
            "protocol": "wss",
            "description": "An installation with a certificate.",
            "variables": {
                "host": {
                    "default": f"localhost:{tls_port}",
                    "description": "Host, and port where it is not 443.",
                    "examples": ["api.example.com"],
                }
            },
        },
    }


def _channel(page: str) -> dict[str, Any]:
    return {
        "address": handshake.PATH,
        "title": "The socket",
        "description": "\n".join(
            [
                "A client subscribes to channels of data by messages; there is one address for all of them.",
                "",
                "Only positions need credentials, unless a setting says otherwise. They come with the handshake, as",
                "headers or, from browsers, as subprotocols, or later in a message. Credentials that are sent must be",
                "valid.",
                "",
                "### Limits",
                "",
                *(f"- {limit}" for limit in _limits()),
                "",
                "### Refused handshakes",
                "",
                "The body is that of an error (the schema `Status`); the header `x-error-code` has its reason.",
                "",
                *_table(page, "status"),
                "",
                "### Close codes",
                "",
                "After 4401 and 4403 the same credentials would be refused again; after the others, reconnect and",
                "resume.",
                "",
                *_table(page, "code"),
                "",
            ]
        ),
        "servers": [{"$ref": "#/servers/local"}, {"$ref": "#/servers/remote"}],
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"} for message in MESSAGES},
        "bindings": {"ws": {"method": "GET", "headers": _handshake_headers(), "bindingVersion": "0.1.0"}},
    }


def _limits() -> list[str]:
    def default(name: str) -> Any:
        return Settings.model_fields[name].default

    return [
        f"a frame from a client: {default('websocket_frame_bytes_max')} bytes;",
        f"subscriptions of one socket, and symbols in one message: {default('websocket_subscriptions_max')};",
        f"messages from one socket: {_LIMITS.message_rate:.0f} a second, after a burst of {_LIMITS.message_burst:.0f};",
        f"sockets of one address: {default('websocket_clients_per_address_max')};",
        f"bytes that a client has not read before only the newest of each stream is kept for it: "
        f"{default('websocket_buffer_bytes_max')};",
        f"answers that it has not read before it is disconnected: {_LIMITS.controls_max}, or "
        f"{_LIMITS.control_bytes_max} bytes;",
        f"the pong to a ping of the server, which comes every {_LIMITS.ping_seconds:.0f} s: "
        f"{_LIMITS.ping_seconds:.0f} s.",
    ]


def _handshake_headers() -> Schema:
    token, key = handshake._TOKEN_PREFIX, handshake._KEY_PREFIX
    return {
        "type": "object",
        "properties": {
            "Authorization": {
                "type": "string",
                "description": "`Bearer` and a token.",
                "pattern": "^[Bb][Ee][Aa][Rr][Ee][Rr] +[!-~]+$",
            },
            "X-API-Key": {
                "type": "string",
                "description": "An API key.",
                "maxLength": protocol.KEY_CHARACTERS_MAX,
                "pattern": "^[!-~]+$",
            },
            "Sec-WebSocket-Protocol": {
                "type": "string",
                "description": f"`{SUBPROTOCOL}`, which is what the server selects, and, from clients that cannot set "
                f"headers, `{token}` before a token or `{key}` before an API key.",
                "examples": [str(SUBPROTOCOL), f"{SUBPROTOCOL}, {token}eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"],
            },
            "Accept-Language": {
                "type": "string",
                "description": "Errors are in Korean where it is preferred, in English otherwise.",
                "examples": ["ko-KR,ko;q=0.9"],
            },
            "Origin": {
                "type": "string",
                "description": "What browsers say of the page. A setting can restrict it; who sends none is not asked.",
            },
        },
        "additionalProperties": True,
    }


def _operations() -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{CHANNEL}"}
    found: dict[str, Any] = {}
    for request in REQUESTS:
        message = request.message
        found[message.name] = {
            "action": "receive",
            "title": message.title,
            "summary": message.summary,
            "description": request.description,
            "channel": channel,
            "messages": [_in_channel(message.name)],
            "reply": {"channel": channel, "messages": [_in_channel(name) for name in (*request.answers, "error")]},
        }
        if request.needs_credentials:
            found[message.name]["security"] = [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY]
    for operation, message, description in UPDATES:
        found[operation] = {
            "action": "send",
            "title": message.title,
            "summary": message.summary,
            "description": description,
            "channel": channel,
            "messages": [_in_channel(message.name)],
        }
    return found


def _in_channel(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{message}"}


_SECURITY: Mapping[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "With the handshake: a token of `POST /api/v1/auth/token`. Or later, in the message "
        "`authenticate`.",
    },
    "apiKey": {
        "type": "httpApiKey",
        "name": "X-API-Key",
        "in": "header",
        "description": "With the handshake: an API key. Or later, in the message `authenticate`. Beside a token, both "
        "must be valid and of the same account.",
    },
    "subprotocol": {
        "type": "httpApiKey",
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "description": f"For browsers, which cannot set headers: `{SUBPROTOCOL}`, and `{handshake._TOKEN_PREFIX}` "
        f"before a token or `{handshake._KEY_PREFIX}` before an API key, as subprotocols.",
    },
}


def _messages(page: str) -> dict[str, Any]:
    shown: dict[str, list[dict[str, Any]]] = {message.name: [] for message in MESSAGES}
    for example in examples(page):
        if "action" in example and "type" not in example and not _is_understood(example):
            continue  # it is there to show what it is answered with
        shown[name_of(example)].append({"payload": example})
    found: dict[str, Any] = {}
    for message in MESSAGES:
        if not shown[message.name]:
            raise ContractError(f"docs/websocket.md shows no {message.name}")
        description = {"description": _ERRORS.format(table="\n".join(_table(page, "reason")))}
        found[message.name] = {
            "name": message.name,
            "title": message.title,
            "summary": message.summary,
            **(description if message.name == "error" else {}),
            "contentType": "application/json",
            **({"correlationId": {"$ref": "#/components/correlationIds/request"}} if message.has_id else {}),
            "payload": ref(message.schema),
            "examples": shown[message.name],
        }
    return found


_ERRORS = """\
The body is the one that every transport has, with `type`, and `id`, `channel` and `symbol` where they are known.

{table}
"""


def name_of(message: Mapping[str, Any]) -> str:
    """The name in the document of a message of either side."""
    if "type" in message:
        kind: str = message["type"]
        return _OF_TYPE[f"{kind} {message['action']}" if kind == "ack" else kind]
    if "action" not in message:
        return _OF_CHANNEL[message["channel"]]
    if message["action"] == "subscribe":
        return f"subscribe{message['channel'].title()}"
    return _OF_ACTION[message["action"]]


def examples(page: str) -> list[dict[str, Any]]:
    """Every message that the page shows."""
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


def _is_understood(example: Mapping[str, Any]) -> bool:
    try:
        protocol.parse(json.dumps(example), symbols_max=Settings.model_fields["websocket_subscriptions_max"].default)
    except protocol.Rejected:
        return False
    return True


def _table(page: str, first: str) -> list[str]:
    """The lines of the page's table whose first column has this heading, without links."""
    found = re.search(rf"^\| {first} \|.*\n(?:\|.*\n)+", page, re.MULTILINE)
    if found is None:
        raise ContractError(f"docs/websocket.md has no table of {first}")
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", found[0]).splitlines()
