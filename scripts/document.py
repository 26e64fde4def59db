"""Write the pages that are read off the code, docs/errors.md and docs/settings.md, or check that they are up to date.

python scripts/document.py           write them
python scripts/document.py --check   fail, naming the page, where one differs
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from google.rpc import code_pb2
from pydantic import SecretStr

from entasis.errors.v1 import error_reason_pb2
from entasis_engine.errors import CATALOGUE, EntasisError, field_error, status_as_json
from entasis_engine.settings import NOT_OURS, Settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


NO = "no, not unchanged"
WEB = "http://127.0.0.1:8080/api/v1"
AUTH = '-H "X-API-Key: $KEY"'


@dataclass(frozen=True)
class Advice:
    """What the contract does not say of a reason: what a caller does about it, and a request that gets it."""

    next: str
    again: str
    example: str = ""
    error: EntasisError | None = None
    """What the example is answered."""


def _order(size: str) -> str:
    return f'{{"symbol": "BTC-USDT", "size": "{size}", "type": "long"}}'


ADVICE: Mapping[str, Advice] = {
    "MARKET_001": Advice(
        "take a symbol of `GET /api/v1/market/instruments`.",
        NO,
        f"curl {AUTH} {WEB}/market/price/FOO-BAR",
        EntasisError("SYMBOL_UNKNOWN", symbol="FOO-BAR"),
    ),
    "MARKET_002": Advice(
        "wait; streams and WebSockets go on by themselves when the exchange is back. Meanwhile there is the "
        "history that is stored.",
        "yes, after the time given",
    ),
    "PORT_001": Advice(
        "take a smaller size or a higher leverage, or close something; `GET /api/v1/portfolio/balance` has what is "
        "free.",
        NO,
        f"curl -X POST {AUTH} -d '{_order('100')}' {WEB}/portfolio/positions",
        EntasisError("BALANCE_SHORT", required="5517757.00", available="100000.00", currency="USDT"),
    ),
    "PORT_002": Advice(
        "close something first; the limits are the operator's (`ENTASIS_POSITIONS_MAX`, `ENTASIS_NOTIONAL_MAX`).", NO
    ),
    "PORT_003": Advice(
        "take an id of `GET /api/v1/portfolio/positions?status=all`, with a credential of the account that opened it.",
        NO,
        f"curl {AUTH} {WEB}/portfolio/positions/pos_0",
        EntasisError("POSITION_UNKNOWN", position_id="pos_0"),
    ),
    "PORT_004": Advice("read the position again: what is open of it, and whether it is.", NO),
    "AI_001": Advice(
        "wait until the models are trained: a first start takes about a minute. Where training is off, it is the "
        "operator's `entasis train`.",
        "yes, after the time given",
    ),
    "AI_002": Advice(
        "where history is too short, take another instrument or come back when there is more of it; else tell the "
        "operator.",
        "later: answers are made once an hour",
    ),
    "REQUEST_001": Advice(
        "correct the fields that `field_violations` names.",
        NO,
        f"curl {AUTH} '{WEB}/market/history/BTC-USDT?interval=2h'",
        field_error("interval", "must be one of 1m, 5m, 1h, 1d, not '2h'", ""),
    ),
    "REQUEST_002": Advice(
        "compare path and method with [rest.md](rest.md); a 405 has the methods of the path in `Allow`.",
        NO,
        f"curl {AUTH} {WEB}/nowhere",
        EntasisError("NOTHING_HERE"),
    ),
    "REQUEST_003": Advice(
        "send less: 64 KiB are taken through Envoy, frames of 16 KiB on a WebSocket.",
        NO,
        f"head -c 100000 /dev/zero | curl -X POST {AUTH} --data-binary @- {WEB}/portfolio/positions",
        EntasisError("TOO_LARGE", limit="65536"),
    ),
    "REQUEST_004": Advice(
        "send fewer headers: 60 KiB are taken.",
        NO,
        f"""curl {AUTH} -H "X-Large: $(head -c 70000 /dev/zero | tr '\\0' x)" {WEB}/market/instruments""",
        EntasisError("HEADERS_TOO_LARGE"),
    ),
    "REQUEST_005": Advice(
        "take a new key for a new request; to repeat one, send it as it was.",
        NO,
        f"curl -o /dev/null -X POST {AUTH} -H 'Idempotency-Key: a' -d '{_order('0.1')}' {WEB}/portfolio/positions\n"
        f"curl -X POST {AUTH} -H 'Idempotency-Key: a' -d '{_order('0.2')}' {WEB}/portfolio/positions",
        EntasisError("IDEMPOTENCY_MISMATCH"),
    ),
    "AUTH_001": Advice(
        "send a key or token that is valid ([access.md](access.md)); for a token that has expired get a new one.",
        "no, with a new credential",
        f"curl {WEB}/market/price/BTC-USDT",
        EntasisError("CREDENTIAL_MISSING"),
    ),
    "AUTH_002": Advice(
        "use a credential that has the scope; a token never has more than was asked for.",
        "no, with another credential",
        f"""TOKEN=$(curl -X POST {AUTH} -d '{{"scopes": ["market:read"]}}' {WEB}/auth/token | jq -r .access_token)
curl -H "Authorization: Bearer $TOKEN" {WEB}/portfolio/balance""",
        EntasisError("SCOPE_MISSING", scope="portfolio:read"),
    ),
    "AUTH_003": Advice(
        "call from an address that the key and the engine allow, or have the list changed ([access.md](access.md)).",
        "no, from another address",
    ),
    "LIMIT_001": Advice(
        "slow down: each answer's `X-RateLimit-Remaining` tells what is left. A stream counts once.",
        "yes, after the time given",
    ),
    "LIMIT_002": Advice(
        "end what is not needed any more, or ask for less at once.", "yes, once fewer are open or asked for"
    ),
    "SERVER_001": Advice(
        "tell the operator the `request_id`, by which the log has the cause.",
        "a few times: it may be a defect, which stays",
    ),
    "SERVER_002": Advice(
        "repeat the call; open a stream or WebSocket again and resume it.", "yes, after the time given"
    ),
    "SERVER_003": Advice("give the call a longer deadline, or ask for less.", "yes, with growing pauses"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    stale = []
    for name, text in (("errors.md", errors()), ("settings.md", settings())):
        page = DOCS / name
        if arguments.check and (not page.is_file() or page.read_text() != text):
            stale.append(name)
        elif not arguments.check:
            page.write_text(text)
    for name in stale:
        print(f"docs/{name} is not what the code says: run `make docs` and commit the result.")
    return 1 if stale else 0


def errors() -> str:
    reasons = _reasons()
    rows = [
        "# Errors",
        "",
        "Every error has the same body on every transport: `google.rpc.Status`, with an `ErrorInfo` whose `reason` is",
        "one of these and whose `metadata` has what it is about, and a `BadRequest` that names each field at fault.",
        "Branch on the reason; the words may change. `Accept-Language: ko` turns them to Korean.",
        "",
        "| transport | the status | the reason | when to try again |",
        "|---|---|---|---|",
        "| REST | the body | header `x-error-code` | header `Retry-After`, in seconds |",
        "| gRPC | `grpc-status-details-bin` in the trailing metadata | `x-error-code` there | `retry-after` there |",
        '| WebSocket | a message with `"type": "error"` | `reason` in it | `retry_delay` in it |',
        "",
        "The status carries a `google.rpc.RetryInfo` with the same time, where one is known. Wait at least that long;",
        "where none is given, wait a second, and twice as long after each failure. A read may be repeated at will, a",
        "write only with the `Idempotency-Key` of the first attempt ([portfolio.md](portfolio.md#writing-once)). What",
        "Envoy answers by itself has the same form; [envoy.md](envoy.md#errors-of-envoys-own) names the few that have "
        "not.",
        "",
        "| reason | HTTP | gRPC status | meaning | try again |",
        "|---|---|---|---|---|",
    ]
    for reason in reasons:
        entries = [entry for entry in CATALOGUE.values() if entry.reason == reason.name]
        http = ", ".join(dict.fromkeys(str(entry.http) for entry in entries))
        codes = ", ".join(dict.fromkeys(code_pb2.Code.Name(entry.code) for entry in entries))
        again = ADVICE[reason.name].again.partition(":")[0].partition(",")[0]
        rows.append(f"| [`{reason.name}`](#{reason.name.lower()}) | {http} | {codes} | {reason.title} | {again} |")
    for reason in reasons:
        rows += ["", *_section(reason)]
    return "\n".join([*rows, ""])


@dataclass(frozen=True)
class _Reason:
    """A reason as the contract describes it."""

    name: str
    title: str
    when: str
    metadata: str
    example: str


def _reasons() -> list[_Reason]:
    """Read off the comments of the contract: what it means, `Metadata:` and `Example:`."""
    found = []
    comment: list[str] = []
    for line in (
        line.strip() for line in (ROOT / "proto/entasis/errors/v1/error_reason.proto").read_text().split("\n")
    ):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
        elif value := re.fullmatch(r"([A-Z]+_\d{3}) = \d+;", line):
            text, _, example = " ".join(comment).partition(" Example: ")
            when, _, metadata = text.partition(" Metadata: ")
            title = re.split(r"[:(.]", when)[0].strip()
            found.append(_Reason(value[1], title, when, metadata, example))
            comment = []
        else:
            comment = []
    told = {reason.name for reason in found}
    named = {value.name for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values if value.number}
    if not named == told == ADVICE.keys() == {entry.reason for entry in CATALOGUE.values()}:
        raise SystemExit("Contract, catalogue and scripts/document.py do not have the same reasons.")
    return found


def _section(reason: _Reason) -> list[str]:
    advice = ADVICE[reason.name]
    rows = [f"## {reason.name}", "", reason.when, "", f"- What to do: {advice.next}", f"- Try again: {advice.again}."]
    if reason.metadata:
        rows.append(f"- Metadata: {reason.metadata}")
    rows += [
        f"- Example: {reason.example}",
        "",
        "| HTTP | gRPC status | words | Korean | wait |",
        "|---|---|---|---|---|",
    ]
    for entry in CATALOGUE.values():
        if entry.reason == reason.name:
            code = code_pb2.Code.Name(entry.code)
            wait = f"{entry.retry_after_seconds} s" if entry.retry_after_seconds else "–"
            rows.append(f"| {entry.http} | {code} | {entry.messages['en']} | {entry.messages['ko']} | {wait} |")
    if advice.error:
        body = status_as_json(advice.error.status())
        for detail in body["details"]:
            if "metadata" in detail:  # a map, whose order protobuf leaves to chance
                detail["metadata"] = dict(sorted(detail["metadata"].items()))
        rows += ["", "```sh", advice.example, "```", "```json", json.dumps(body, ensure_ascii=False), "```"]
    return rows


def settings() -> str:
    rows = [
        "# Settings",
        "",
        "Each is an environment variable, or a line of a file `.env` in the working directory. `entasis up --help`",
        "shows those that are options too; an option wins over the environment, the environment over the file.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
        what = f"{field.description} One of {', '.join(choices)}." if choices else field.description
        rows.append(f"| `ENTASIS_{name.upper()}` | {_shown(field.default)} | {what} |")
    others = ", ".join(f"`{name}`" for name in sorted(NOT_OURS))
    rows += ["", f"Not settings of the engine, but read by its commands, clients and tests: {others}."]
    return "\n".join([*rows, ""])


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None or default in {"", ()}:
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default}`"


if __name__ == "__main__":
    sys.exit(main())
