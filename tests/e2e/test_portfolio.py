"""Positions over REST and gRPC, as callers of either meet them."""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from typing import Any

import grpc
import pytest
import requests
from tests.e2e.conftest import Running, Start
from tests.support.access import blocking_channel, make_key

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub

pytestmark = pytest.mark.e2e

POSITIONS = "/api/v1/portfolio/positions"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("portfolio")


@pytest.fixture(scope="module")
def up(start: Start, data_dir: Any) -> Running:
    return start(
        "up",
        data_dir=data_dir,
        paper_balance="USDT:1000000",
        notional_max=10**9,
        anonymous_rate_limit_per_minute=1_000_000,  # new keys are tried until they are known
    )


@pytest.fixture
def account(data_dir: Any) -> str:
    """The key of an account that nobody else uses, known to the engine or soon."""
    return make_key(data_dir, account=f"a{uuid.uuid4().hex[:12]}")


def ask(up: Running, method: str, path: str, key: str, body: Any = None, **headers: str) -> requests.Response:
    """A call over REST; a new key is known to the engine within a second or two."""
    while True:
        sent = {"X-API-Key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = requests.request(method, up.web + path, json=body, headers=sent, timeout=20)
        if answer.status_code != 401:
            return answer


def opened(up: Running, key: str, size: str = "0.1", side: str = "long", **more: str) -> str:
    answer = ask(up, "POST", POSITIONS, key, {"symbol": "BTC-USDT", "size": size, "type": side} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["position_id"])


def test_the_specified_request_gets_the_specified_answer(up: Running, account: str) -> None:
    """POST is 201 with exactly the specified fields; the list has the position, with the specified fields first."""
    body = {"symbol": "BTC-USDT", "size": "1.5", "type": "long", "leverage": "1"}
    answer = ask(up, "POST", POSITIONS, account, body)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert "x-http-code" not in answer.headers
    assert re.fullmatch(rf'{{"position_id":"pos_\w+","status":"success","timestamp":"{TIME}"}}', answer.text)
    (held,) = ask(up, "GET", POSITIONS, account).json()["positions"]
    assert list(held)[:6] == ["symbol", "size", "entry_price", "current_price", "pnl", "timestamp"]
    assert (held["symbol"], held["size"], held["type"], held["leverage"]) == ("BTC-USDT", "1.5", "long", "1")
    for money in ("entry_price", "current_price", "pnl", "margin", "liquidation_price"):
        assert re.fullmatch(r"-?\d+\.\d{2,}", held[money]), held
    gain = (Decimal(held["current_price"]) - Decimal(held["entry_price"])) * Decimal("1.5")
    assert abs(gain - Decimal(held["pnl"])) < Decimal("0.01")  # the entry price is an average, rounded for display
    assert held["position_id"] == answer.json()["position_id"]


@pytest.mark.parametrize("prefix", ["/api/v1", "/v1"])
def test_a_position_is_read_closed_in_part_and_closed(up: Running, account: str, prefix: str) -> None:
    """A part leaves the rest open, DELETE closes the rest, and the closed position has its realised profit or loss."""
    position = f"{prefix}/portfolio/positions/{opened(up, account, '0.3', 'short', leverage='2')}"
    part = ask(up, "POST", position + ":close", account, {"size": "0.1"})
    assert part.status_code == 200, part.text
    assert (part.json()["size"], part.json()["open_size"], part.json()["status"]) == ("0.1", "0.2", "success")
    assert ask(up, "GET", position, account).json()["position"]["size"] == "0.2"
    whole = ask(up, "DELETE", position, account)
    assert (whole.status_code, whole.json()["open_size"]) == (200, "0")
    closed = ask(up, "GET", position, account).json()["position"]
    realised = Decimal(part.json()["realised_pnl"]) + Decimal(whole.json()["realised_pnl"])
    assert (closed["status"], closed["size"], Decimal(closed["pnl"])) == ("closed", "0.3", realised)
    assert ask(up, "GET", f"{prefix}/portfolio/positions", account).json()["positions"] == []
    assert len(ask(up, "GET", f"{prefix}/portfolio/positions?status=closed", account).json()["positions"]) == 1
    again = ask(up, "DELETE", position, account)
    assert (again.status_code, again.headers["x-error-code"]) == (400, "PORT_004")


def test_balance_trades_and_ledger_agree(up: Running, account: str) -> None:
    """The ledger's entries sum to the balance, page by page, and the trades' fees and profits are what it lacks."""
    position = opened(up, account, "0.2", leverage="5")
    ask(up, "DELETE", f"{POSITIONS}/{position}", account)
    opened(up, account, "0.1")
    (balance,) = ask(up, "GET", "/api/v1/portfolio/balance", account).json()["balances"]
    entries: list[dict[str, Any]] = []
    token = ""
    while True:
        page = ask(up, "GET", f"/api/v1/portfolio/ledger?page_size=3&page_token={token}", account).json()
        entries += page["entries"]
        token = page["next_page_token"]
        if not token:
            break
    sums = {name: Decimal(0) for name in ("free", "margin")}
    for entry in entries:
        sums[entry["account"]] += Decimal(entry["amount"])
    assert (sums["free"], sums["margin"]) == (Decimal(balance["free_margin"]), Decimal(balance["used_margin"]))
    assert Decimal(balance["balance"]) == sum(sums.values())
    assert Decimal(balance["equity"]) == Decimal(balance["balance"]) + Decimal(balance["unrealised_pnl"])
    trades = ask(up, "GET", "/api/v1/portfolio/trades", account).json()["trades"]
    assert [trade["kind"] for trade in trades] == ["open", "close", "open"]
    made = sum(Decimal(trade["realised_pnl"]) - Decimal(trade["fee"]) for trade in trades)
    assert Decimal(balance["balance"]) == Decimal(1_000_000) + made


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        ({"symbol": "BTC-USDT", "size": "1000", "type": "long"}, 400, "PORT_001", None),
        ({"symbol": "FOO-BAR", "size": "1", "type": "long"}, 404, "MARKET_001", None),
        ({"symbol": "BTC-USDT", "size": "0", "type": "long"}, 400, "REQUEST_001", "size"),
        ({"symbol": "BTC-USDT", "size": "0.000000001", "type": "long"}, 400, "REQUEST_001", "size"),
        ({"symbol": "BTC-USDT", "size": "-1", "type": "long"}, 400, "REQUEST_001", "size"),
        ({"symbol": "BTC-USDT", "size": "1e3", "type": "long"}, 400, "REQUEST_001", "size"),
        ({"symbol": "BTC-USDT", "size": 1, "type": "long"}, 400, "REQUEST_001", "size"),
        ({"symbol": "BTC-USDT", "size": "1", "type": "sideways"}, 400, "REQUEST_001", "type"),
        ({"symbol": "BTC-USDT", "size": "1", "type": "long", "leverage": "0.5"}, 400, "REQUEST_001", "leverage"),
        ({"symbol": "BTC-USDT", "size": "1", "type": "long", "leverage": "9999"}, 400, "REQUEST_001", "leverage"),
        ({"symbol": "BTC-USDT", "sise": "1", "type": "long"}, 400, "REQUEST_001", "sise"),
        ({}, 400, "MARKET_001", None),
    ],
)
def test_a_bad_order_is_refused_by_name_and_changes_nothing(
    up: Running, account: str, body: dict[str, Any], status: int, reason: str, field: str | None
) -> None:
    """Whatever is wrong is named, nothing is opened, and no money moves."""
    answer = ask(up, "POST", POSITIONS, account, body)
    assert (answer.status_code, answer.headers["x-error-code"]) == (status, reason), answer.text
    fields = [one["field"] for detail in answer.json()["details"] for one in detail.get("field_violations", ())]
    assert field is None or fields == [field], answer.text
    assert ask(up, "GET", POSITIONS, account).json()["positions"] == []
    (balance,) = ask(up, "GET", "/api/v1/portfolio/balance", account).json()["balances"]
    assert balance["free_margin"] == "1000000.00"


def test_an_idempotency_key_makes_one_position(up: Running, account: str) -> None:
    """The same key and request get the same answer and say so, over REST and gRPC; another request is refused."""
    body = {"symbol": "BTC-USDT", "size": "0.1", "type": "long"}
    key = uuid.uuid4().hex
    first = ask(up, "POST", POSITIONS, account, body, Idempotency_Key=key)
    second = ask(up, "POST", POSITIONS, account, body, Idempotency_Key=key)
    assert (first.status_code, second.status_code, second.text) == (201, 201, first.text)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    other = ask(up, "POST", POSITIONS, account, body | {"size": "0.2"}, Idempotency_Key=key)
    assert (other.status_code, other.headers["x-error-code"]) == (409, "REQUEST_005")
    with blocking_channel(up.grpc, account) as channel:
        stub = PortfolioServiceStub(channel)
        request = pb.CreatePositionRequest(symbol="BTC-USDT", size="0.1", type="long")
        answer, call = stub.CreatePosition.with_call(request, metadata=[("idempotency-key", key)], timeout=20)
    assert answer.position_id == first.json()["position_id"]
    assert dict(call.trailing_metadata())["idempotency-replayed"] == "true"
    assert len(ask(up, "GET", POSITIONS, account).json()["positions"]) == 1


def test_another_accounts_position_does_not_exist(up: Running, account: str, data_dir: Any) -> None:
    """Reading, closing and deleting another account's position are 404, the same as for one that never was."""
    position = f"{POSITIONS}/{opened(up, account)}"
    stranger = make_key(data_dir, account="stranger")
    for method, path in (("GET", position), ("DELETE", position), ("POST", position + ":close")):
        answer = ask(up, method, path, stranger, {} if method == "POST" else None)
        never = ask(
            up, method, path.replace(position, f"{POSITIONS}/pos_never"), stranger, {} if method == "POST" else None
        )
        assert (answer.status_code, answer.headers["x-error-code"]) == (404, "PORT_003")
        told = json.loads(answer.text.replace(position.rpartition("/")[2], "pos_never"))
        assert told == never.json()
    assert ask(up, "GET", POSITIONS, stranger).json()["positions"] == []
    assert ask(up, "GET", position, account).json()["position"]["status"] == "open"


def test_positions_survive_a_restart(start: Start, tmp_path: Any) -> None:
    """What was acknowledged is there after a stop and a start, money included."""
    first = start("up", data_dir=tmp_path)
    key = first.key
    position = opened(first, key, "0.1")
    (before,) = ask(first, "GET", "/api/v1/portfolio/balance", key).json()["balances"]
    first.stop()
    second = start("up", data_dir=tmp_path)
    assert ask(second, "GET", f"{POSITIONS}/{position}", key).json()["position"]["size"] == "0.1"
    (after,) = ask(second, "GET", "/api/v1/portfolio/balance", key).json()["balances"]
    assert (after["free_margin"], after["used_margin"]) == (before["free_margin"], before["used_margin"])


def test_grpc_has_no_http_code(up: Running, account: str) -> None:
    """What is meant for REST alone does not reach a gRPC caller."""
    ask(up, "GET", POSITIONS, account)
    with blocking_channel(up.engine, account) as channel:
        request = pb.CreatePositionRequest(symbol="BTC-USDT", size="0.1", type="short")
        _, call = PortfolioServiceStub(channel).CreatePosition.with_call(request, timeout=20)
    assert "x-http-code" not in dict(call.trailing_metadata())
    assert call.code() is grpc.StatusCode.OK
