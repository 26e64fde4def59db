"""Values as Protobuf has them. Apart from `times`, since importing Protobuf takes longer than most commands."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from entasis_engine.times import to_milliseconds


def timestamp(moment: datetime) -> Timestamp:
    """The time as Protobuf has it."""
    seconds, milliseconds = divmod(to_milliseconds(moment), 1000)
    return Timestamp(seconds=seconds, nanos=milliseconds * 1_000_000)
