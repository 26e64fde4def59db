"""What docs/websocket.md shows is what happens."""

from __future__ import annotations

import json
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from websockets.frames import Close

from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine.errors import EntasisError
from entasis_engine.settings import Settings
from entasis_engine.websocket import protocol
from entasis_engine.websocket.connection import close_frame_of
from entasis_engine.websocket.limits import Limits

PAGE = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
EXAMPLES: list[dict[str, Any]] = [json.loads(line) for line in LINES]
COMMANDS = [example for example in EXAMPLES if "action" in example and "type" not in example]


@pytest.mark.parametrize("example", COMMANDS, ids=[example["action"] for example in COMMANDS])
def test_every_command_shown_is_understood(example: dict[str, Any]) -> None:
    """Each client message on the page is accepted, but for the one that shows an error, whose answer is as shown."""
    try:
        protocol.parse(json.dumps(example), symbols_max=512)
    except protocol.Rejected as rejected:
        shown = next(answer for answer in EXAMPLES if answer.get("type") == "error" and answer["id"] == example["id"])
        answered = json.loads(protocol.rejection(rejected, "en"))
        assert answered == shown


def test_the_answers_to_auth_are_as_shown() -> None:
    """The acknowledgement and the error that the page shows for auth are what the code prints."""
    good, bad = [example for example in COMMANDS if example["action"] == "auth"]
    shown = {example["id"]: example for example in EXAMPLES if "type" in example and "id" in example}
    command = protocol.parse(json.dumps(good), symbols_max=512)
    assert isinstance(command, protocol.Auth)
    expires_at = datetime(2026, 11, 22, 16, 50, 54, tzinfo=UTC)
    assert json.loads(protocol.auth_ack(command, "acc_1", ["market:read"], expires_at)) == shown[good["id"]]
    refusal = protocol.Rejected(EntasisError("KEY_INVALID"), request_id=bad["id"])
    assert json.loads(protocol.rejection(refusal, "en")) == shown[bad["id"]]


def test_the_codes_of_a_socket_that_may_not_stay_are_listed() -> None:
    """Each error that ends a socket has its close code and its reason on the page, and fits into a frame."""
    for case in ("CREDENTIAL_MISSING", "KEY_ENDED", "TOKEN_EXPIRED", "TOKEN_INVALID", "ADDRESS_REFUSED"):
        error = EntasisError(case, address="2001:db8:1111:2222:3333:4444:5555:6666")
        code, reason = close_frame_of(error)
        assert re.search(rf"^\| {code} \|.* the reason begins with `{error.entry.reason}` \|$", PAGE, re.MULTILINE)
        assert len(Close(code, reason).serialize()) <= 125
        assert reason.startswith(f"{error.entry.reason} ")


def test_every_kind_of_message_is_shown() -> None:
    """The page has an example of each action, channel and type of message."""
    actions = {"subscribe", "unsubscribe", "list", "ping", "heartbeat", "auth"}
    assert {example["action"] for example in COMMANDS} == actions
    data = [example for example in EXAMPLES if "action" not in example and "type" not in example]
    assert {example["channel"] for example in data} == {"market", "orderbook", "candles", "positions"}
    types = {example["type"] for example in EXAMPLES if "type" in example}
    assert types == {"ack", "subscriptions", "pong", "heartbeat", "error"}


def test_positions_are_shown_as_they_are_printed() -> None:
    """Each message on the page has exactly the fields that the code prints, in that order."""
    shown = [example for example in EXAMPLES if "positions" in example]
    assert [example["event"] for example in shown] == ["snapshot", "price"]
    for example in shown:
        held = [json_format.ParseDict(one, portfolio_pb2.Position()) for one in example["positions"]]
        assert protocol.positions(held, example["event"], example["seq"]).decode() == json.dumps(
            example, separators=(",", ":")
        )


def test_the_checksum_is_computed_as_described() -> None:
    """The text that the page hashes is that of its book, and gives its checksum."""
    shown = next(example for example in EXAMPLES if "checksum" in example)
    pairs = zip(shown["bids"], shown["asks"], strict=True)
    text = ":".join(part for bid, ask in pairs for part in (*bid, *ask))
    assert f'b"{text}"' in PAGE
    assert zlib.crc32(text.encode()) == shown["checksum"]


def test_the_numbers_are_those_of_the_code() -> None:
    """Limits that the page names are the defaults."""
    settings, limits = Settings(_env_file=None), Limits()
    for number in (
        f"{settings.websocket_buffer_bytes_max // 1024} KiB",
        f"{settings.websocket_frame_bytes_max} bytes",
        f"| {settings.websocket_clients_max} clients are connected",
        f"{settings.websocket_subscriptions_max} subscriptions",
        f"within {settings.websocket_flush_seconds * 1000:.0f} ms",
        f"{limits.message_rate:.0f} messages a second after a burst of {limits.message_burst:.0f}",
        f"the last {limits.ring_frames_max} of each",
        f"{limits.controls_max}, or {limits.control_bytes_max >> 20} MiB",
        f"for {limits.stall_seconds:.0f} s",
        f"every {limits.ping_seconds:.0f} s",
        f"1 to {protocol.HEARTBEAT_SECONDS_MAX}",
        f"up to {protocol.TOKEN_CHARACTERS_MAX} characters, an API key up to {protocol.KEY_CHARACTERS_MAX}",
        f"an anonymous socket has {settings.websocket_auth_seconds:.0f} s",
        f"within {limits.sessions_seconds + limits.answer_seconds:.0f} s when its key is revoked",
        f"{settings.websocket_clients_per_address_max} clients of the same address",
        f"positions by more than {limits.positions_topics_max} credentials and addresses open at once, "
        f"or by more than {limits.positions_topics_per_account_max} of one account",
        f"more than\n  {limits.ended_positions_max} were closed",
    ):
        assert number in PAGE
