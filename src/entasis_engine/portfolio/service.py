"""The gRPC servicer of the portfolio: decode, one call, encode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal

from google.protobuf.message import Message

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis_engine.calls import Batches, Call
from entasis_engine.decimals import at_scale, plain
from entasis_engine.errors import EntasisError, field_error
from entasis_engine.market.instruments import Instruments
from entasis_engine.portfolio import wire
from entasis_engine.portfolio.broker import Broker
from entasis_engine.portfolio.desk import (
    Close,
    Desk,
    Idempotency,
    IdempotencyMismatchError,
    Open,
    PositionNotFoundError,
    Receipt,
    is_replayed,
)
from entasis_engine.portfolio.execution import StepError
from entasis_engine.portfolio.ledger import InsufficientBalanceError
from entasis_engine.portfolio.margin import LeverageError, Side
from entasis_engine.portfolio.positions import (
    CloseTooLargeError,
    Position,
    PositionLimitError,
    PositionNotOpenError,
    Status,
)
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError, PageTokenError
from entasis_engine.portfolio.streams import PositionStreams
from entasis_engine.protobuf import timestamp

SUCCESS = "success"
PAGE_SIZE_DEFAULT = 500
PAGE_SIZE_MAX = 1000
KEY_HEADER = "idempotency-key"
KEY_CHARACTERS_MAX = 128
REPLAYED = ("idempotency-replayed", "true")
CREATED = ("x-http-code", "201")
"""Turned into the status by rest.lua; gRPC has no such thing."""

_STATUSES = {
    "": (Status.OPEN,),
    "open": (Status.OPEN,),
    "closed": (Status.CLOSED, Status.LIQUIDATED),
    "all": tuple(Status),
}
_LIMITED = {"open_positions": "open positions", "notional": "notional of open positions"}


class PortfolioService:
    """Serves `entasis.portfolio.v1.PortfolioService`. Requests come validated, and calls with an account."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PortfolioService"]

    def __init__(
        self,
        desk: Desk,
        store: LedgerStore,
        broker: Broker,
        instruments: Instruments,
        last_price: wire.LastPrice,
        streams: PositionStreams,
        *,
        fee_rate: Decimal,
        maintenance_rate: Decimal,
    ) -> None:
        self._desk = desk
        self._store = store
        self._broker = broker
        self._instruments = instruments
        self._last_price = last_price
        self._streams = streams
        self._fee_rate = fee_rate
        self._maintenance_rate = maintenance_rate

    async def create_position(self, request: pb.CreatePositionRequest, call: Call) -> pb.CreatePositionResponse:
        """Opens a position of the caller's account."""
        instrument = self._instruments.require(request.symbol)
        side = Side(request.type)
        with _in_our_words(call):
            command = Open(
                owner=_owner(call),
                instrument=instrument,
                side=side,
                size=Decimal(request.size),
                fill=self._broker.order(instrument, side, opening=True),
                leverage=Decimal(request.leverage or 1),
                fee_rate=self._fee_rate,
                idempotency=_idempotency(request, call),
            )
            receipt = await self._desk.execute(command)
        _note_replay(receipt, call)
        if call.original_path:
            call.told += (CREATED,)
        position = _position_in(receipt)
        return pb.CreatePositionResponse(position_id=position.id, status=SUCCESS, timestamp=timestamp(receipt.time))

    async def close_position(self, request: pb.ClosePositionRequest, call: Call) -> pb.ClosePositionResponse:
        """Closes a position of the caller's account, or a part of it."""
        owner = _owner(call)
        with _in_our_words(call):
            held = await self._store.position(owner, request.position_id)
            if held is None:
                raise PositionNotFoundError(request.position_id)
            instrument = self._instruments.require(held.symbol)
            command = Close(
                owner=owner,
                position_id=held.id,
                fill=self._broker.order(instrument, held.side, opening=False),
                lot=instrument.lot_size,
                fee_rate=self._fee_rate,
                size=Decimal(request.size) if request.size else None,
                idempotency=_idempotency(request, call),
            )
            receipt = await self._desk.execute(command)
        _note_replay(receipt, call)
        position, trade = _position_in(receipt), receipt.trade
        response = pb.ClosePositionResponse(
            position_id=position.id,
            status=SUCCESS,
            timestamp=timestamp(receipt.time),
            open_size=plain(position.size),
        )
        if trade is not None:
            response.size = plain(trade.size)
            response.price = at_scale(trade.price, instrument.quote_scale)
            response.realised_pnl = at_scale(trade.realised_pnl, instrument.quote_scale)
            response.fee = at_scale(trade.fee, instrument.quote_scale)
        return response

    async def get_position(self, request: pb.GetPositionRequest, call: Call) -> pb.GetPositionResponse:
        """One position of the caller's account."""
        with _in_our_words(call):
            held = await self._store.position(_owner(call), request.position_id)
            if held is None:
                raise PositionNotFoundError(request.position_id)
        return pb.GetPositionResponse(position=self._message(held))

    async def list_positions(self, request: pb.ListPositionsRequest, call: Call) -> pb.ListPositionsResponse:
        """The positions of the caller's account, oldest first."""
        with _in_our_words(call):
            page = await self._store.positions(
                _owner(call), _STATUSES[request.status], _page_size(request.page_size), request.page_token
            )
        return pb.ListPositionsResponse(
            positions=[self._message(held) for held in page.items], next_page_token=page.next_token
        )

    def stream_positions(self, request: pb.StreamPositionsRequest, call: Call) -> AbstractContextManager[Batches]:
        """The open positions of the caller's account, and then what happens to them."""
        return self._streams.read(_owner(call))

    async def get_balance(self, request: pb.GetBalanceRequest, call: Call) -> pb.GetBalanceResponse:
        """What the caller's account has."""
        owner = _owner(call)
        with _in_our_words(call):
            await self._desk.ensure_owner(owner)
            return wire.balances(await self._store.holdings(owner), self._last_price)

    async def list_trades(self, request: pb.ListTradesRequest, call: Call) -> pb.ListTradesResponse:
        """The fills of the caller's account, newest first."""
        with _in_our_words(call):
            page = await self._store.trades(
                _owner(call),
                _page_size(request.page_size),
                request.page_token,
                position_id=request.position_id or None,
            )
        return pb.ListTradesResponse(
            trades=[wire.trade(one, wire.listed(self._instruments, one.symbol)) for one in page.items],
            next_page_token=page.next_token,
        )

    async def list_ledger_entries(
        self, request: pb.ListLedgerEntriesRequest, call: Call
    ) -> pb.ListLedgerEntriesResponse:
        """The changes of the caller's balances, newest first."""
        owner = _owner(call)
        with _in_our_words(call):
            await self._desk.ensure_owner(owner)
            page = await self._store.entries(owner, _page_size(request.page_size), request.page_token)
        return pb.ListLedgerEntriesResponse(
            entries=[wire.entry(one) for one in page.items], next_page_token=page.next_token
        )

    def _message(self, held: Position) -> pb.Position:
        return wire.position(
            held, wire.listed(self._instruments, held.symbol), self._last_price, self._maintenance_rate
        )


def _owner(call: Call) -> str:
    if call.principal is None:  # the contract asks for a scope, so there is one
        raise EntasisError("CREDENTIAL_MISSING")
    return call.principal.account


def _page_size(asked: int) -> int:
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _idempotency(request: Message, call: Call) -> Idempotency | None:
    """The caller's key, with a digest of what it stands for. Raises REQUEST_001 for one that is none."""
    given = [value for name, value in call.metadata if name == KEY_HEADER]
    if not given:
        return None
    key = str(given[0]).strip()
    if len(given) > 1 or not (0 < len(key) <= KEY_CHARACTERS_MAX and key.isascii() and key.isprintable()):
        raise field_error(
            "Idempotency-Key",
            f"must be sent once, with 1 to {KEY_CHARACTERS_MAX} printable ASCII characters",
            f"인쇄 가능한 ASCII 문자 1~{KEY_CHARACTERS_MAX}자로 한 번만 보내야 합니다",
        )
    asked = f"{call.method}\n".encode() + request.SerializeToString(deterministic=True)
    return Idempotency(key, hashlib.sha256(asked).digest())


def _note_replay(receipt: Receipt, call: Call) -> None:
    if receipt.replayed:
        call.told += (REPLAYED,)


def _position_in(receipt: Receipt) -> Position:
    if receipt.position is None:
        raise TypeError("a command on a position came to none")
    return receipt.position


@contextmanager
def _in_our_words(call: Call) -> Iterator[None]:
    """Turn what the rules and the ledger raise into what callers are told."""
    try:
        yield
    except Exception as error:
        told = _translated(error)
        if told is None:
            raise
        if is_replayed(error):
            call.told += (REPLAYED,)
        raise told from None


def _translated(error: Exception) -> EntasisError | None:  # noqa: PLR0911 - a table, one line for each kind
    match error:
        case StepError():
            step = plain(error.step)
            return field_error(
                error.field,
                f"must be a positive multiple of {step}, not {plain(error.given)}",
                f"{plain(error.given)}이(가) 아니라 {step}의 양의 배수여야 합니다",
            )
        case LeverageError():
            limit = plain(error.limit)
            return field_error(
                "leverage",
                f"must be from 1 to {limit}, not {plain(error.given)}",
                f"{plain(error.given)}이(가) 아니라 1에서 {limit} 사이여야 합니다",
            )
        case InsufficientBalanceError():
            required, available = plain(error.required), plain(error.available)
            return EntasisError("BALANCE_SHORT", required=required, available=available, currency=error.currency)
        case PositionLimitError():
            return EntasisError("POSITION_LIMIT", limit=plain(error.limit), what=_LIMITED.get(error.what, error.what))
        case PositionNotFoundError():
            return EntasisError("POSITION_UNKNOWN", position_id=error.position_id)
        case PositionNotOpenError():
            return EntasisError("POSITION_NOT_OPEN", position_id=error.position_id, status=error.status.value)
        case CloseTooLargeError():
            return EntasisError("CLOSE_TOO_LARGE", open_size=plain(error.open_size), given=plain(error.given))
        case IdempotencyMismatchError():
            return EntasisError("IDEMPOTENCY_MISMATCH")
        case PageTokenError():
            return field_error("page_token", "is not one that a page gave", "페이지에서 받은 토큰이 아닙니다")
        case LedgerUnavailableError():
            return EntasisError("UNAVAILABLE")
        case _:
            return None
