"""What schemathesis has to know of the API that no OpenAPI document can say. Loaded by `schemathesis run` itself.

- The date-times that a market knows, and real symbols and small sizes in place of most made-up ones: else nearly all
  would be 404, or more than the account has.
- Streams never end: of newline-delimited JSON the first line is read, of server-sent events the first event; then the
  connection is closed. Calls alternate between the two forms.
- Valid data may be refused for what no schema can say, such as a balance: `WORLD` says which errors these are.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"
LISTED = ("BTC-USDT", "ETH-USDT")
SMALL = "0.01"
CHUNK_BYTES = 65_536
TALLY = "ENTASIS_SCHEMATHESIS_TALLY"
"""Names the file that a run leaves its counts in."""

WORLD: dict[str, set[str] | None] = {
    "PORT_001": None,  # the balance
    "PORT_002": None,  # positions that are open already
    "PORT_004": None,  # what has become of a position
    "AI_002": None,  # the length of the history
    # Tokens are a page's, sizes go by the instrument's lot, leverage by its limit, and start must not be after end.
    "REQUEST_001": {"page_token", "size", "leverage", "start"},
}
"""Errors that valid data may meet, by reason; of a malformed request the fields that no schema alone can judge."""

_tally: Counter[str] = Counter()

_ZONES = ("Z", "Z", "Z", "+01:00", "+09:00", "-05:00", "+05:45")
_MOMENTS = strategies.builds(
    lambda second, fraction, zone: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}{fraction}{zone}",
    strategies.integers(86_400, 2**33),
    strategies.sampled_from(("", ".5", ".123", ".123456789")),
    strategies.sampled_from(_ZONES),
)
schemathesis.openapi.format("date-time", _MOMENTS)


@schemathesis.hook
def map_case(context: HookContext, case: Case) -> Case:
    """Ask for what is listed, and for sizes that an account can pay, mostly, where the data are valid anyway."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict) and "symbol" in place and _spare(place["symbol"]):
            place["symbol"] = _listed(place["symbol"])
    if isinstance(case.body, dict) and isinstance(size := case.body.get("size"), str) and _spare(size):
        case.body["size"] = SMALL
    if isinstance(case.query, dict) and isinstance(asked := case.query.get("symbols"), list) and _spare(asked):
        case.query["symbols"] = [_listed(one) for one in asked]
    return case


def _spare(value: object) -> bool:
    """True for three values of four, the same each time."""
    return sum(repr(value).encode()) % 4 != 0


def _listed(value: object) -> str:
    return LISTED[sum(repr(value).encode()) // 4 % len(LISTED)]


# Streams --------------------------------------------------------------------------------------------------------------


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Have a stream's answer cut after its first line, and every other stream sent as events."""
    if case.operation.path.endswith(":stream"):
        kwargs["hooks"] = {"response": _first_line}
        if _spare(case.id):
            kwargs["auth"] = _as_events


def _as_events(request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Accept"] = EVENTS
    return request


def _first_line(response: requests.Response, **_: object) -> requests.Response:
    if response.headers.get("content-type") == LINES:
        content = b""
        while b"\n" not in content and (chunk := response.raw.read1(CHUNK_BYTES, decode_content=True)):
            content += chunk
        line, ended, _ = content.partition(b"\n")
        assert ended, f"a stream that ended in its first line: {line[:200]!r}"
        response._content = line
        response.close()
    return response


@schemathesis.deserializer(LINES)
def lines(context: Any, response: Response) -> Any:
    """The line that was read; the document describes each."""
    return json.loads(response.content)


# Judgements -----------------------------------------------------------------------------------------------------------


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Accept that valid data are refused for what no schema can say; and that a position which was closed by DELETE is
    still there to be read, as closed, since it is part of the account's history. Every other failure counts.
    """
    if isinstance(failure, UseAfterFree) and _is_closed(response):
        _tally["closed and still read"] += 1
        return False
    if isinstance(failure, RejectedPositiveData) and _is_of_the_world(response.json()):
        _tally["refused for what no schema can say"] += 1
        return False
    return True


def _is_closed(response: Response) -> bool:
    told = response.json()
    if response.status_code == 200 and "position" in told:
        return bool(told["position"]["status"] == "closed")
    return response.status_code == 400 and told["details"][0]["reason"] == "PORT_004"


def _is_of_the_world(status: dict[str, Any]) -> bool:
    info, *others = status["details"]
    if info["reason"] not in WORLD:
        return False
    allowed = WORLD[info["reason"]]
    fields = {one["field"] for other in others for one in other.get("field_violations", ())}
    return allowed is None or (bool(fields) and fields <= allowed)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    _tally["answers"] += 1
    _tally[f"status {response.status_code}"] += 1
    if case.operation.path.endswith(":stream") and response.status_code == 200:
        _tally[f"stream as {response.headers['content-type'][0]}"] += 1


@atexit.register
def _write() -> None:
    if path := os.environ.get(TALLY):
        Path(path).write_text(json.dumps(_tally), encoding="utf-8")
