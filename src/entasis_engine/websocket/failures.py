"""What the engine says when a call fails."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

_STATUS_DETAILS = "grpc-status-details-bin"


def status_in(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The status that the engine sent; None where it sent none, as when it cannot be reached."""
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
