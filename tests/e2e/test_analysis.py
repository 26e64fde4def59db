"""Forecasts and risk as callers meet them: a first start that trains by itself, and one answer over every transport."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf import json_format
from google.protobuf.message import Message
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import blocking_channel

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis.analysis.v1.analysis_pb2_grpc import AnalysisServiceStub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TIME = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"'
MONEY = r'"\d+\.\d{2}"'
PREDICTION = "/api/v1/analysis/prediction/BTC-USDT"
RISK = "/api/v1/analysis/risk/BTC-USDT"


def get(up: Running, path: str, **parameters: str) -> requests.Response:
    return requests.get(up.web + path, params=parameters, headers={"X-API-Key": up.key}, timeout=20)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("analysis")


@pytest.fixture(scope="module")
def first(start: Start, data_dir: Path) -> tuple[Running, list[requests.Response]]:
    """A first start, and what it answered to those who asked for a forecast until it had one of each horizon."""
    up = start(
        "up",
        data_dir=data_dir,
        training="auto",
        hourly_history_days=190,
        symbols="BTC-USDT,ETH-USDT",
    )
    answers: list[requests.Response] = []

    def ask() -> int:
        answers.append(get(up, PREDICTION, timeframe="1d"))  # the last to be trained
        return answers[-1].status_code

    eventually(ask, lambda status: status != 503, seconds=400)
    return up, answers


@pytest.fixture(scope="module")
def up(first: tuple[Running, list[requests.Response]]) -> Running:
    return first[0]


def test_a_first_start_trains_by_itself_and_says_so_until_then(
    first: tuple[Running, list[requests.Response]],
) -> None:
    """Until there is a model every answer is AI_001 with a time to retry; then there is a forecast."""
    *before, answer = first[1]
    assert answer.status_code == 200, answer.text
    assert before
    for refused in before:
        assert (refused.status_code, refused.headers["x-error-code"]) == (503, "AI_001")
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["details"][0]["metadata"] == {"timeframe": "1d"}


def test_the_prediction_is_the_specified_one(up: Running) -> None:
    """Names, order and types are those of the specification, and its defaults; what is added comes after."""
    answer = get(up, PREDICTION)
    assert re.match(
        rf'{{"symbol":"BTC-USDT","prediction":{MONEY},"confidence":0\.\d+,"timeframe":"1h","model":"ensemble",'
        rf'"timestamp":{TIME},',
        answer.text,
    ), answer.text
    assert get(up, PREDICTION.replace("/api", "")).text == answer.text
    chosen = get(up, PREDICTION, timeframe="4h", model="lstm").json()
    assert (chosen["timeframe"], chosen["model"], chosen["band"]) == ("4h", "lstm", "0.01")


def test_the_risk_is_the_specified_one(up: Running) -> None:
    """Names, order and types are those of the specification; what is added comes after."""
    answer = get(up, RISK)
    assert re.match(
        rf'{{"symbol":"BTC-USDT","var_95":{MONEY},"expected_shortfall":{MONEY},"volatility":"\d+\.\d{{2,}}",'
        rf'"timestamp":{TIME},',
        answer.text,
    ), answer.text
    assert (answer.json()["horizon"], answer.json()["method"] != "") == ("1d", True)


def _web(up: Running, method: str, request: Message) -> bytes:
    """A unary call by gRPC-Web; gives the answer's message."""
    content = request.SerializeToString()
    answer = requests.post(
        f"{up.web}/entasis.analysis.v1.AnalysisService/{method}",
        data=struct.pack(">BI", 0, len(content)) + content,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "x-api-key": up.key},
        timeout=20,
    )
    flag, length = struct.unpack(">BI", answer.content[:5])
    assert flag == 0, answer.content
    return answer.content[5 : 5 + length]


@pytest.fixture(scope="module")
def stub(up: Running) -> Iterator[Any]:
    with blocking_channel(up.grpc, up.key) as channel:
        yield AnalysisServiceStub(channel)


@pytest.mark.parametrize(
    ("method", "request_", "answer", "path", "parameters"),
    [
        (
            "GetPrediction",
            pb.GetPredictionRequest(symbol="ETH-USDT", timeframe=timeframe, model=model),
            pb.GetPredictionResponse,
            "/api/v1/analysis/prediction/ETH-USDT",
            {"timeframe": timeframe, "model": model},
        )
        for timeframe in ("1h", "4h", "1d")
        for model in ("lstm", "ensemble")
    ]
    + [
        ("GetRisk", pb.GetRiskRequest(symbol="ETH-USDT"), pb.GetRiskResponse, "/api/v1/analysis/risk/ETH-USDT", {}),
        ("ListModels", pb.ListModelsRequest(), pb.ListModelsResponse, "/api/v1/analysis/models", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rest_grpc_and_grpc_web_agree(
    up: Running, stub: Any, method: str, request_: Message, answer: type[Message], path: str, parameters: dict[str, str]
) -> None:
    """Within an hour the same question has the same answer over all three, digit by digit."""

    def ask() -> tuple[Message, Message, Message]:
        by_grpc = getattr(stub, method)(request_, timeout=20)
        by_web = answer.FromString(_web(up, method, request_))
        by_rest = json_format.ParseDict(get(up, path, **parameters).json(), answer())
        return by_grpc, by_web, by_rest

    # An hour may end between two of the questions.
    eventually(ask, lambda three: three[0] == three[1] == three[2], seconds=10)


def test_the_risk_of_positions_is_there_for_their_account(up: Running) -> None:
    """An account with a position sees its risk, with the position's part, under its own path."""
    position = {"symbol": "BTC-USDT", "size": "0.1", "type": "short"}
    opened = requests.post(
        up.web + "/api/v1/portfolio/positions", json=position, headers={"X-API-Key": up.key}, timeout=20
    )
    assert opened.status_code == 201, opened.text
    (risk,) = get(up, "/api/v1/analysis/portfolio/risk").json()["risks"]
    (part,) = risk["positions"]
    assert part["position_id"] == opened.json()["position_id"]
    assert (part["var_contribution"], risk["currency"]) == (risk["var_95"], "USDT")
    assert risk["net_notional"].startswith("-")


def test_accuracy_is_there_for_every_horizon_and_model(up: Running) -> None:
    """Figures of each horizon and model are listed, and unknown ones are refused by name."""
    accuracies = get(up, "/api/v1/analysis/accuracy/BTC-USDT").json()["accuracies"]
    assert [(one["timeframe"], one["model"]) for one in accuracies] == [
        (timeframe, model) for timeframe in ("1h", "4h", "1d") for model in ("lstm", "ensemble")
    ]
    refused = get(up, "/api/v1/analysis/accuracy/BTC-USDT", timeframe="1w")
    assert (refused.status_code, refused.headers["x-error-code"]) == (400, "REQUEST_001")
    assert refused.json()["details"][1]["field_violations"][0]["field"] == "timeframe"


def test_a_second_start_has_the_models_at_once(up: Running, start: Start, data_dir: Path) -> None:
    """Trained once, models are there after a restart, and the same version answers."""
    version = get(up, PREDICTION).json()["model_version"]
    up.stop()
    again = start("up", data_dir=data_dir, training="off", hourly_history_days=190, symbols="BTC-USDT,ETH-USDT")
    answer = eventually(lambda: get(again, PREDICTION), lambda answer: answer.status_code == 200)
    assert answer.json()["model_version"] == version
