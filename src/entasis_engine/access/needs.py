"""What an RPC asks of its caller, as its contract says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from entasis.access.v1 import requirement_pb2
from entasis_engine.access.directory import SCOPES


class UndeclaredError(Exception):
    """An RPC whose contract does not say who may call it. It is not served."""


@dataclass(frozen=True)
class Need:
    """The requirement of an RPC; exactly one of `scope`, `api_key`, `anyone` and `internal` is set."""

    scope: str = ""
    public: bool = False
    """With `scope`: served to those without it, too, as long as market streams are public."""
    api_key: bool = False
    anyone: bool = False
    internal: bool = False


ANYONE = Need(anyone=True)


def need_of(method: MethodDescriptor) -> Need:
    """The requirement of a method. Raises `UndeclaredError` where there is none, or one that makes no sense."""
    options: Any = method.GetOptions()
    declared: requirement_pb2.Requirement = options.Extensions[requirement_pb2.requirement]
    need = Need(declared.scope, declared.public, declared.api_key, declared.anyone, declared.internal)
    chosen = sum(map(bool, (need.scope, need.api_key, need.anyone, need.internal)))
    if chosen != 1 or (need.scope and need.scope not in SCOPES) or (need.public and not need.scope):
        raise UndeclaredError(
            f"{method.full_name} does not say who may call it. Add to the RPC in the contract: "
            f'option (entasis.access.v1.requirement).scope = "{SCOPES[0]}" (or {", ".join(SCOPES[1:])}).'
        )
    return need
