"""From a status as it comes to an exception, for all that the engine can say."""

from __future__ import annotations

import string
from typing import Any

import grpc
import pytest

from entasis_client.errors import EntasisError, InvalidRequestError, UnavailableError, from_rpc
from entasis_engine import errors
from entasis_engine.errors import CATALOGUE, FieldFault


@pytest.mark.parametrize("case", CATALOGUE)
def test_every_error_of_the_engine_comes_whole(case: str) -> None:
    """Reason, words, metadata, time to retry, request id and code are those of the catalogue."""
    entry = CATALOGUE[case]
    names = {name for _, name, _, _ in string.Formatter().parse(entry.messages["en"]) if name}
    metadata: dict[str, Any] = {name: f"some {name}" for name in names}
    status = errors.EntasisError(case, **metadata).status()
    code = next(one for one in grpc.StatusCode if one.value[0] == entry.code)
    error = from_rpc(
        code,
        "as gRPC has it",
        [("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", "r-1")],
    )
    assert (error.reason, error.code, error.message) == (entry.reason, code, status.message)
    assert error.metadata == metadata
    assert error.retry_after_seconds == entry.retry_after_seconds
    assert error.request_id == "r-1"
    assert str(error) == f"{entry.reason} {status.message}"
    generic = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED}
    assert (type(error) is EntasisError) == (code in generic)


def test_fields_at_fault_are_named() -> None:
    """Each violation has its field and what would be right."""
    fault = FieldFault("size", {"en": "must be positive", "ko": "양수여야 합니다"})
    status = errors.EntasisError("REQUEST_MALFORMED", faults=[fault], problem="size").status()
    error = from_rpc(grpc.StatusCode.INVALID_ARGUMENT, "", [("grpc-status-details-bin", status.SerializeToString())])
    assert isinstance(error, InvalidRequestError)
    assert error.violations == (("size", "must be positive"),)


@pytest.mark.parametrize("details", [None, b"\xff\xff", b"", "text"])
def test_what_is_no_status_of_ours_is_an_error_all_the_same(details: bytes | str | None) -> None:
    """Without details, or with some that cannot be read, the code and the words of gRPC are there."""
    metadata = [] if details is None else [("grpc-status-details-bin", details)]
    error = from_rpc(grpc.StatusCode.UNAVAILABLE, "no healthy upstream", metadata)
    assert isinstance(error, UnavailableError)
    assert (error.reason, str(error)) == ("", "UNAVAILABLE no healthy upstream")


def test_a_detail_that_cannot_be_read_costs_no_other() -> None:
    """What is malformed within a status that can be read is left out, and the rest is there."""
    status = errors.EntasisError("MARKET_DOWN", symbol="BTC-USDT", exchange="simulated").status()
    info = next(one for one in status.details if one.type_url.endswith("ErrorInfo"))
    info.value = b"\x0a\x02\xff\xfe"  # text that is none
    error = from_rpc(grpc.StatusCode.UNAVAILABLE, "", [("grpc-status-details-bin", status.SerializeToString())])
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.message, error.retry_after_seconds) == ("", status.message, 5)
