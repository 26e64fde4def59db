"""The messages of /ws/market, without any I/O: client text becomes a typed command, market data becomes JSON.

Nothing here knows a socket, a task or an RPC. What is wrong with a message is raised as `Rejected`, which carries
whatever the client needs to find the message again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine import times
from entasis_engine.errors import CATALOGUE, EntasisError, FieldFault, Language, field_error, status_as_json

Channel = Literal["market", "orderbook", "candles", "positions"]
IntervalName = Literal["1m", "5m", "1h", "1d"]
RequestId = str | int

DEPTH_DEFAULT = 10
INTERVAL_DEFAULT: IntervalName = "1m"
HEARTBEAT_SECONDS_MAX = 3600
TOKEN_CHARACTERS_MAX = 4096
KEY_CHARACTERS_MAX = 512
SYMBOL_CHARACTERS_SHOWN = 64

SUBSCRIPTIONS_PER_CONNECTION = "subscriptions on one connection"
SYMBOLS_PER_MESSAGE = "symbols in one message"
MESSAGES_PER_SECOND = "messages per second"
STREAMS_OPEN = "streams open at once"
POSITIONS_OPEN = "streams of an account's positions at once"
DEPTHS_ALWAYS_OPEN = (5, 10, 20, 50, 100)
DEPTHS_OPEN = f"order book depths of a symbol at once, beside {', '.join(map(str, DEPTHS_ALWAYS_OPEN))}"
CONNECTIONS_PER_ADDRESS = "connections from one address"

# The words above inside a Korean message; the metadata beside it stays as it is, since programs read that.
_KOREAN_WORDS: Mapping[str, str] = {
    SUBSCRIPTIONS_PER_CONNECTION: "연결당 구독",
    SYMBOLS_PER_MESSAGE: "메시지당 심볼",
    MESSAGES_PER_SECOND: "초당 메시지",
    STREAMS_OPEN: "동시에 열린 스트림",
    POSITIONS_OPEN: "계정당 동시 포지션 스트림",
    DEPTHS_OPEN: f"심볼별 동시 호가 깊이 ({', '.join(map(str, DEPTHS_ALWAYS_OPEN))} 제외)",
    CONNECTIONS_PER_ADDRESS: "주소당 연결",
}

# The contract's pattern for one symbol; anything else must not reach the engine, where a comma would name several.
_SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")


class Stream(NamedTuple):
    """What one subscription is to. Equal streams share everything."""

    channel: Channel
    symbol: str
    """Empty where the channel has none."""
    depth: int = 0
    """Levels on each side; 0 where the channel has none."""
    interval: str = ""
    """Length of a candle; empty where the channel has none."""
    session: str = ""
    """Whose positions, as the engine names who may read them; empty where the channel is the same for everybody."""
    address: str = ""
    """Whence they are read: the engine looks at that, too."""

    @property
    def account(self) -> str:
        """Whose positions; empty where the channel is the same for everybody."""
        return self.session.partition("|")[0]

    @property
    def label(self) -> str:
        """What it is called in logs, which the session is not for."""
        return " ".join(str(part) for part in (*self[:4], self.account) if part)


CREDENTIAL_PATTERN = r"^[!-~]+\Z"
"""Printable ASCII without spaces: nothing else can be a token or a key, nor be sent on as one."""

# --- What clients send ------------------------------------------------------------------------------------------------


class _Command(msgspec.Struct, tag_field="action", kw_only=True, frozen=True):
    id: (
        Annotated[str, msgspec.Meta(max_length=128)] | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
    ) = None
    """Chosen by the client; the answer repeats it. Left out, the client wants no acknowledgement."""


class _Selection(_Command, kw_only=True, frozen=True):
    channel: Channel
    symbol: str | None = None
    symbols: list[str] = []
    depth: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    interval: IntervalName | None = None

    @property
    def all_symbols(self) -> Sequence[str]:
        """Every symbol named, once, in the order named; on the channel `positions`, an empty one for all of them."""
        if self.channel == "positions":
            return [""]
        first = [] if self.symbol is None else [self.symbol]
        return list(dict.fromkeys(first + self.symbols))


class Subscribe(_Selection, tag="subscribe", kw_only=True, frozen=True):
    """Send the streams' data from now on, beginning with a snapshot."""

    resume: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]] = {}
    """For a symbol, the last `seq` received: what came after it is sent instead of a snapshot, where still held."""

    def stream(self, symbol: str, session: str = "", address: str = "") -> Stream:
        """The stream of one of the symbols.

        Args:
            session: of the client, and where it comes from; only the channel `positions` depends on them.
        """
        if self.channel == "positions":
            return Stream(self.channel, symbol, session=session, address=address)
        depth = (self.depth or DEPTH_DEFAULT) if self.channel == "orderbook" else 0
        interval = (self.interval or INTERVAL_DEFAULT) if self.channel == "candles" else ""
        return Stream(self.channel, symbol, depth, interval)


class Unsubscribe(_Selection, tag="unsubscribe", kw_only=True, frozen=True):
    """Stop sending. Without `depth` or `interval`, every stream of the symbol on that channel stops."""

    def matches(self, stream: Stream, symbol: str) -> bool:
        return (
            stream.channel == self.channel
            and stream.symbol == symbol
            and (self.channel != "orderbook" or self.depth in {None, stream.depth})
            and (self.channel != "candles" or self.interval in {None, stream.interval})
        )


class List(_Command, tag="list", kw_only=True, frozen=True):
    """Say what this connection is subscribed to."""


class Ping(_Command, tag="ping", kw_only=True, frozen=True):
    """Answer at once."""


class Heartbeat(_Command, tag="heartbeat", kw_only=True, frozen=True):
    """Send a heartbeat every so many seconds; 0 ends it."""

    seconds: Annotated[int, msgspec.Meta(ge=0, le=HEARTBEAT_SECONDS_MAX)]


class Auth(_Command, tag="auth", kw_only=True, frozen=True):
    """Prove who the client is, or prove it again before the credentials expire."""

    token: Annotated[str, msgspec.Meta(max_length=TOKEN_CHARACTERS_MAX, pattern=CREDENTIAL_PATTERN)] | None = None
    api_key: Annotated[str, msgspec.Meta(max_length=KEY_CHARACTERS_MAX, pattern=CREDENTIAL_PATTERN)] | None = None

    def __repr__(self) -> str:
        return f"Auth(id={self.id!r})"  # the credentials must not be printed

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


Command = Subscribe | Unsubscribe | List | Ping | Heartbeat | Auth


class _Envelope(msgspec.Struct):
    """What is looked for in a message that cannot be acted upon."""

    id: Any = None
    channel: Any = None


class Rejected(Exception):  # noqa: N818 - it is what happened to the message; the error is inside
    """A message that is not acted upon, why, and what the answer repeats of it."""

    def __init__(
        self,
        error: EntasisError | status_pb2.Status,
        *,
        request_id: RequestId | None = None,
        channel: str | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.request_id = request_id
        self.channel = channel


_COMMANDS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Command)
_ENVELOPES = msgspec.json.Decoder(_Envelope)

# One rule per field, in each language: whatever is wrong with a field, the answer says what would be right.
_RULES: Mapping[str, tuple[str, str]] = {
    "message": ("must be one JSON object in a text frame", "텍스트 프레임에 담긴 하나의 JSON 객체여야 합니다"),
    "action": (
        "must be subscribe, unsubscribe, list, ping, heartbeat or auth",
        "subscribe, unsubscribe, list, ping, heartbeat, auth 중 하나여야 합니다",
    ),
    "channel": (
        "must be market, orderbook, candles or positions",
        "market, orderbook, candles, positions 중 하나여야 합니다",
    ),
    "symbol": ("must be a string", "문자열이어야 합니다"),
    "symbols": (
        "must be a list of at least one symbol; the channel positions has none",
        "하나 이상의 심볼을 담은 목록이어야 하며, positions 채널에는 심볼이 없습니다",
    ),
    "depth": ("must be a whole number from 1 to 100", "1에서 100 사이의 정수여야 합니다"),
    "interval": ("must be 1m, 5m, 1h or 1d", "1m, 5m, 1h, 1d 중 하나여야 합니다"),
    "resume": (
        "must map symbols to the last seq received, on the channel market only",
        "market 채널에서만, 심볼마다 마지막으로 받은 seq를 지정해야 합니다",
    ),
    "id": (
        "must be a whole number of 64 bits or a string of at most 128 characters",
        "64비트 정수 또는 128자 이하의 문자열이어야 합니다",
    ),
    "seconds": (
        f"must be a whole number from 0 to {HEARTBEAT_SECONDS_MAX}",
        f"0에서 {HEARTBEAT_SECONDS_MAX} 사이의 정수여야 합니다",
    ),
    "token": (
        f"must be a token of at most {TOKEN_CHARACTERS_MAX} characters; it or api_key is needed",
        f"{TOKEN_CHARACTERS_MAX}자 이하의 토큰이어야 하며, token과 api_key 중 하나는 있어야 합니다",
    ),
    "api_key": (
        f"must be an API key of at most {KEY_CHARACTERS_MAX} characters",
        f"{KEY_CHARACTERS_MAX}자 이하의 API 키여야 합니다",
    ),
    "handshake": ("must be a WebSocket handshake by GET", "GET 메서드를 사용한 WebSocket 핸드셰이크여야 합니다"),
}
_FIELD_AT_FAULT = re.compile(r"`\$\.(\w+)|required field `(\w+)`")


def parse(text: str, *, symbols_max: int) -> Command:
    """The command in a client's text message.

    Args:
        symbols_max: most symbols that one message may name.

    Raises:
        Rejected: with REQUEST_001 naming the field at fault, or LIMIT_002 for too many symbols.
    """
    try:
        command: Command = _COMMANDS.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        found = _FIELD_AT_FAULT.search(str(error))
        field = (found[1] or found[2]) if found else "message"
        raise rejected(text, field_fault(field)) from None
    if isinstance(command, _Selection):
        count = len(command.all_symbols)
        names_symbols = command.symbol is not None or bool(command.symbols)
        if count == 0 or (names_symbols and command.channel == "positions"):
            raise rejected(text, field_fault("symbols"))
        if count > symbols_max:
            raise rejected(text, too_many(symbols_max, SYMBOLS_PER_MESSAGE))
        if isinstance(command, Subscribe) and command.resume and command.channel != "market":
            raise rejected(text, field_fault("resume"))
    if isinstance(command, Auth) and command.token is None and command.api_key is None:
        raise rejected(text, field_fault("token"))
    return command


def field_fault(field: str) -> EntasisError:
    """REQUEST_001 for a field of a client's message."""
    return field_error(field, *_RULES.get(field, _RULES["message"]))


def rejected(text: str, error: EntasisError) -> Rejected:
    """The rejection of a message for whatever reason, with as much of the message as the answer repeats."""
    try:
        envelope = _ENVELOPES.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return Rejected(error)
    is_id = (isinstance(envelope.id, str) and len(envelope.id) <= 128) or (
        type(envelope.id) is int and -(2**63) <= envelope.id < 2**63
    )
    known_id = envelope.id if is_id else None
    known_channel = envelope.channel if envelope.channel in get_args(Channel) else None
    return Rejected(error, request_id=known_id, channel=known_channel)


def symbol_fault(symbol: str) -> EntasisError | None:
    """What is wrong with the form of a symbol, if anything."""
    if _SYMBOL.fullmatch(symbol):
        return None
    shown = symbol[:SYMBOL_CHARACTERS_SHOWN]
    words: dict[Language, str] = {
        "en": f"must be BASE-QUOTE in capitals, such as BTC-USDT, not '{shown}'",
        "ko": f"'{shown}'이(가) 아니라 BTC-USDT처럼 대문자 BASE-QUOTE 형식이어야 합니다",
    }
    return EntasisError("SYMBOL_MALFORMED", faults=[FieldFault("symbols", words)], symbol=shown)


def too_many(limit: int, what: str) -> EntasisError:
    """LIMIT_002."""
    return EntasisError("TOO_MANY", limit=str(limit), what=what)


# --- What clients get: data -------------------------------------------------------------------------------------------
# The fields that were asked for come first and in that order; ours follow.


class _Price(msgspec.Struct):
    symbol: str
    price: str
    timestamp: str
    volume: str
    channel: str
    seq: int


class _Book(msgspec.Struct):
    symbol: str
    bids: list[list[str]]
    asks: list[list[str]]
    timestamp: str
    channel: str
    depth: int
    seq: int
    checksum: int


class _Candle(msgspec.Struct):
    symbol: str
    timestamp: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    channel: str
    interval: str
    closed: bool
    seq: int


class _Position(msgspec.Struct):
    """As REST has it: a time that is not set is left out, and text that there is none of is empty."""

    symbol: str
    size: str
    entry_price: str
    current_price: str
    pnl: str
    timestamp: str
    position_id: str
    type: str
    leverage: str
    status: str
    margin: str
    liquidation_price: str
    realised_pnl: str
    fees: str
    open_time: str
    close_time: str | msgspec.UnsetType = msgspec.UNSET


class _Positions(msgspec.Struct):
    # Not one position's fields beside ours: a position has a `type`, by which clients tell answers from data.
    positions: list[_Position]
    channel: str
    event: str
    seq: int


_encode = msgspec.json.Encoder().encode


def price(update: market_pb2.PriceUpdate) -> bytes:
    """A message of the channel `market`."""
    return _encode(
        _Price(update.symbol, update.price, _time(update.timestamp), update.volume, "market", update.seq),
    )


def book(update: market_pb2.GetOrderBookResponse, depth: int) -> bytes:
    """A message of the channel `orderbook`."""
    bids = [[value.string_value for value in level.values] for level in update.bids]
    asks = [[value.string_value for value in level.values] for level in update.asks]
    timestamp = _time(update.timestamp)
    return _encode(_Book(update.symbol, bids, asks, timestamp, "orderbook", depth, update.seq, update.checksum))


def candle(update: market_pb2.CandleUpdate) -> bytes:
    """A message of the channel `candles`."""
    bar = update.candle
    return _encode(
        _Candle(
            update.symbol,
            _time(bar.timestamp),
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
            "candles",
            update.interval,
            update.closed,
            update.seq,
        )
    )


def positions(held: Iterable[portfolio_pb2.Position], event: str, seq: int) -> bytes:
    """A message of the channel `positions`: what happened to one, or, as a snapshot, all that are open."""
    return _encode(_Positions([_Position(**_position_fields(one)) for one in held], "positions", event, seq))


def _position_fields(held: portfolio_pb2.Position) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(held, name) for name in _POSITION_TEXTS}
    fields |= {"timestamp": _time(held.timestamp), "open_time": _time(held.open_time)}
    if held.HasField("close_time"):
        fields["close_time"] = _time(held.close_time)
    return fields


_POSITION_TEXTS = sorted(set(_Position.__struct_fields__) - {"timestamp", "open_time", "close_time"})


def _time(moment: Timestamp) -> str:
    return times.isoformat(times.from_milliseconds(moment.seconds * 1000 + moment.nanos // 1_000_000))


# --- What clients get: answers and errors -----------------------------------------------------------------------------


class Result(NamedTuple):
    """What became of one symbol of a subscribe or unsubscribe."""

    symbol: str | None
    """None on a channel that has none."""
    error: EntasisError | status_pb2.Status | None = None
    resumed: bool | None = None
    """Whether data continues where the client left off; None where that was not asked for."""
    seq: int | None = None
    """The stream's newest number so far, where one is known."""


def selection_ack(command: Subscribe | Unsubscribe, results: Sequence[Result], language: Language) -> bytes:
    """The answer to a subscribe or unsubscribe with an `id`: each symbol on its own."""
    action = "subscribe" if isinstance(command, Subscribe) else "unsubscribe"
    printed = [_result(result, language) for result in results]
    return _encode({"type": "ack", "id": command.id, "action": action, "channel": command.channel, "results": printed})


def _result(result: Result, language: Language) -> dict[str, Any]:
    symbol = {} if result.symbol is None else {"symbol": result.symbol}
    if result.error is not None:
        return {**symbol, "status": "error", "error": _status(result.error, language)}
    printed: dict[str, Any] = {**symbol, "status": "ok"}
    if result.resumed is not None:
        printed["resumed"] = result.resumed
    if result.seq is not None:
        printed["seq"] = result.seq
    return printed


def heartbeat_ack(command: Heartbeat) -> bytes:
    """The answer to a heartbeat command with an `id`."""
    return _encode({"type": "ack", "id": command.id, "action": "heartbeat", "seconds": command.seconds})


def auth_ack(command: Auth, account: str, scopes: Sequence[str], expires_at: datetime | None) -> bytes:
    """The answer to an auth command with an `id`: whose the credentials are, and until when."""
    expiry = {} if expires_at is None else {"expires_at": times.isoformat(expires_at)}
    return _encode({"type": "ack", "id": command.id, "action": "auth", "account": account, "scopes": scopes, **expiry})


def subscriptions(command: List, streams: Sequence[Stream]) -> bytes:
    """The answer to `list`."""
    printed: list[dict[str, Any]] = []
    for stream in streams:
        entry: dict[str, Any] = {"channel": stream.channel}
        if stream.symbol:
            entry["symbol"] = stream.symbol
        if stream.depth:
            entry["depth"] = stream.depth
        if stream.interval:
            entry["interval"] = stream.interval
        printed.append(entry)
    return _encode({"type": "subscriptions", **_echo(command.id), "subscriptions": printed})


def pong(command: Ping, now: datetime) -> bytes:
    """The answer to `ping`."""
    return _encode({"type": "pong", **_echo(command.id), "timestamp": times.isoformat(now)})


def heartbeat(now: datetime) -> bytes:
    """The message that a client asked for by `heartbeat`."""
    return _encode({"type": "heartbeat", "timestamp": times.isoformat(now)})


def error(
    problem: EntasisError | status_pb2.Status,
    language: Language,
    *,
    request_id: RequestId | None = None,
    channel: str | None = None,
    symbol: str | None = None,
) -> bytes:
    """A failure: the body that REST has, and what it is about."""
    about = {"channel": channel, "symbol": symbol}
    known = {name: value for name, value in about.items() if value is not None}
    return _encode({"type": "error", **_echo(request_id), **known, **_status(problem, language)})


def rejection(rejected: Rejected, language: Language) -> bytes:
    """What the sender of a message that is not acted upon is told."""
    return error(rejected.error, language, request_id=rejected.request_id, channel=rejected.channel)


def handshake_body(problem: EntasisError | status_pb2.Status, language: Language) -> bytes:
    """The body of a refused handshake."""
    return _encode(_status(problem, language))


def _echo(request_id: RequestId | None) -> dict[str, RequestId]:
    return {} if request_id is None else {"id": request_id}


def _status(problem: EntasisError | status_pb2.Status, language: Language) -> dict[str, Any]:
    if not isinstance(problem, EntasisError):
        return status_as_json(in_language(problem, language))
    status = problem.status(language)
    if language == "ko" and not _KOREAN_WORDS.keys().isdisjoint(problem.metadata.values()):
        words = {name: _KOREAN_WORDS.get(value, value) for name, value in problem.metadata.items()}
        status.message = problem.entry.messages["ko"].format_map(words)
    return status_as_json(status)


def in_language(status: status_pb2.Status, language: Language) -> status_pb2.Status:
    """A status that the engine gave in English, in the client's language where the catalogue has the words.

    Several cases share a reason, so the case is the one whose English words these are. What is no case's English, such
    as what the engine has put in the client's language itself, stays as it is.
    """
    info = _info(status)
    if language == "en" or info is None:
        return status
    for case, entry in CATALOGUE.items():
        if (entry.reason, entry.code) == (info.reason, status.code) and "{problem}" not in entry.messages[language]:
            problem = EntasisError(case, **info.metadata)
            try:
                if problem.message() == status.message:
                    return problem.status(language)
            except KeyError:  # the words speak of something that the status does not carry
                continue
    return status


def reason_of(problem: EntasisError | status_pb2.Status) -> str:
    """The error's code, such as AUTH_001; empty where a status has none."""
    if isinstance(problem, EntasisError):
        return problem.entry.reason
    info = _info(problem)
    return "" if info is None else str(info.reason)


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    return info if any(detail.Unpack(info) for detail in status.details) else None
