"""Every RPC of the contract with every kind of caller: who is let in is what the contract declares."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from tests.support.access import Unguarded, make_key
from tests.support.market import SetMonotonic

from entasis.access.v1 import access_pb2, requirement_pb2
from entasis.analysis.v1 import analysis_pb2
from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis.web.v1 import web_pb2
from entasis_engine import assets
from entasis_engine.access.directory import SCOPES
from entasis_engine.access.needs import UndeclaredError, need_of
from entasis_engine.access.operation import open_access
from entasis_engine.access.store import AccessStore
from entasis_engine.calls import Principal
from entasis_engine.rpc.contract import snake_case
from entasis_engine.rpc.guard import AccessGuard
from entasis_engine.rpc.pipeline import Pipeline
from entasis_engine.rpc.server import open_server
from entasis_engine.rpc.stages import default_stages
from entasis_engine.settings import Settings
from entasis_engine.times import system_clock

MODULES = (access_pb2, analysis_pb2, market_pb2, portfolio_pb2, web_pb2)
SERVICES: list[ServiceDescriptor] = [
    service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def declared() -> dict[str, Any]:
    """Each RPC's requirement, read from the descriptor set that is shipped and not from the modules that are run."""
    files = descriptor_pb2.FileDescriptorSet.FromString(assets.path("gen/descriptor/entasis.binpb").read_bytes()).file
    return {
        f"/{file.package}.{service.name}/{method.name}": method.options.Extensions[requirement_pb2.requirement]
        for file in files
        for service in file.service
        for method in service.method
    }


DECLARED = declared()


def expected(method: str, caller: str, *, public: bool) -> str | None:
    """The reason of the refusal that the declaration means for a caller; None where the call passes."""
    need = DECLARED[method]
    if caller in {"revoked", "revoked, by token", "revoked, by session", "expired", "damaged", "damaged session"}:
        return "AUTH_001"
    if caller in {"elsewhere", "elsewhere, by session"}:
        return "AUTH_003"
    if need.internal:
        return None if caller == "part of the engine" else "AUTH_002"
    if need.anyone or (need.public and (public or caller == "part of the engine")):
        return None
    if caller in {"anonymous", "part of the engine"}:
        return "AUTH_001"
    if need.api_key:
        return "AUTH_001" if caller.endswith(("by token", "by session")) else None
    if caller.endswith("by session") and not need.scope.endswith(":read"):
        return "AUTH_002"
    return "AUTH_002" if caller.startswith("missing scope") else None


class Anything:
    """A servicer that answers every RPC of a service."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self.DESCRIPTOR = service
        for method in service.methods:
            answer = message_factory.GetMessageClass(method.output_type)()
            unary = self._unary(answer)
            setattr(self, snake_case(method.name), self._stream if method.server_streaming else unary)

    @staticmethod
    def _unary(answer: Any) -> Any:
        return lambda _request, _call: answer

    @contextmanager
    def _stream(self, _request: Any, _call: Any) -> Iterator[Any]:
        class Ends:
            async def take(self) -> bytes:
                raise EOFError  # an error of ours, after the caller was let in

        yield Ends()


@dataclass
class Engine:
    """Every service of the contract behind the guard, and credentials of every kind of caller."""

    channel: grpc.aio.Channel
    callers: dict[str, list[tuple[str, str | bytes]]]

    async def call(self, method: MethodDescriptor, caller: str) -> tuple[str | None, dict[str, Any]]:
        """The reason of the refusal, None where the caller was let in, and the headers of the answer."""
        name = f"/{method.containing_service.full_name}/{method.name}"
        metadata = list(self.callers[caller])
        try:
            if method.server_streaming:
                call = self.channel.unary_stream(name)(b"", metadata=metadata, timeout=20)
                async for _ in call:
                    pass
            else:
                call = self.channel.unary_unary(name)(b"", metadata=metadata, timeout=20)
                await call
        except grpc.aio.AioRpcError as error:
            told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
            # A request that breaks the contract's rules, or a stream that ends: the guard has let it pass.
            return (str(told["x-error-code"]) if error.code() in REFUSALS else None), told
        return None, dict(await call.initial_metadata() or ()) | dict(await call.trailing_metadata() or ())


@asynccontextmanager
async def engine(data_dir: Path, **options: Any) -> AsyncIterator[Engine]:
    settings = Settings(data_dir=data_dir, _env_file=None, **options)
    owner, other = make_key(data_dir), make_key(data_dir, account="other")
    revoked, damaged = make_key(data_dir), make_key(data_dir)
    expired = make_key(data_dir, lives=timedelta(seconds=1), now=system_clock() - timedelta(minutes=1))
    elsewhere = make_key(data_dir, addresses=["198.51.100.0/24"])
    lacking = {scope: make_key(data_dir, scopes=[one for one in SCOPES if one != scope]) for scope in SCOPES}
    clock = system_clock
    with tempfile.TemporaryDirectory() as short:
        async with open_access(settings, clock=clock, monotonic=SetMonotonic()) as access:
            pipeline = Pipeline(
                [Anything(service) for service in SERVICES if service.name != "AccessService"] + [access.service],
                default_stages(SetMonotonic(), access.audit, log_everything=False),
                AccessGuard(access.gate),
                deadline_seconds=10,
            )
            served = open_server(pipeline, host="127.0.0.1", port=None, unix_path=f"{short}/s", drain_seconds=1)
            async with served, grpc.aio.insecure_channel(f"unix:{short}/s") as channel:
                issue = channel.unary_unary("/entasis.access.v1.AccessService/IssueToken")

                async def token(key: str) -> str:
                    answer = await issue(b"", metadata=[("x-api-key", key), ("x-client-ip", "192.0.2.1")])
                    return access_pb2.IssueTokenResponse.FromString(answer).access_token

                address = ("x-client-ip", "192.0.2.1")
                sessions = access.gate.sessions
                store = AccessStore(settings.access_path)
                listed = store.load()
                store.close()

                def session(key: str) -> tuple[str, bytes]:
                    known = listed.key(key.split("_")[1])
                    assert known is not None
                    return "x-session-bin", sessions.named(
                        Principal(known.account_id, known.scopes, (known.id,))
                    ).encode()

                by_token = {"owner": await token(owner), "revoked": await token(revoked)}
                store = AccessStore(settings.access_path)
                store.revoke_key(revoked.split("_")[1], system_clock())
                access.gate.replace(store.load(), access.gate._tokens)  # what the watcher does within a second
                store.close()
                flipped = damaged[:20] + ("a" if damaged[20] != "a" else "b") + damaged[21:]
                yield Engine(
                    channel,
                    {
                        "owner": [address, ("x-api-key", owner)],
                        "owner, by token": [address, ("authorization", f"Bearer {by_token['owner']}")],
                        "owner, by token and key": [
                            address,
                            ("authorization", f"Bearer {by_token['owner']}"),
                            ("x-api-key", owner),
                        ],
                        "other account": [address, ("x-api-key", other)],
                        "revoked": [address, ("x-api-key", revoked)],
                        "revoked, by token": [address, ("authorization", f"Bearer {by_token['revoked']}")],
                        "expired": [address, ("x-api-key", expired)],
                        "damaged": [address, ("x-api-key", flipped)],
                        "elsewhere": [address, ("x-api-key", elsewhere)],
                        "owner, by session": [address, session(owner)],
                        "revoked, by session": [address, session(revoked)],
                        "elsewhere, by session": [address, session(elsewhere)],
                        "damaged session": [address, (session(owner)[0], session(owner)[1][:-1])],
                        **{f"missing {scope}, by session": [address, session(key)] for scope, key in lacking.items()},
                        "anonymous": [address],
                        "part of the engine": [],
                        **{f"missing {scope}": [address, ("x-api-key", key)] for scope, key in lacking.items()},
                    },
                )


CALLERS = (
    "owner",
    "owner, by token",
    "owner, by token and key",
    "other account",
    "owner, by session",
    "missing scope",
    "missing scope, by session",
    "revoked",
    "revoked, by token",
    "revoked, by session",
    "expired",
    "damaged",
    "damaged session",
    "elsewhere",
    "elsewhere, by session",
    "anonymous",
    "part of the engine",
)


@pytest.mark.parametrize("public", [True, False], ids=["public", "closed"])
async def test_each_rpc_lets_in_whom_it_declares_and_nobody_else(tmp_path: Path, public: bool) -> None:
    """Owner, other account, missing scope, revoked, anonymous and more: each RPC answers as its declaration says."""
    wrong = []
    async with engine(tmp_path, market_streams_public=public) as served:
        for method in METHODS:
            name = f"/{method.containing_service.full_name}/{method.name}"
            for caller in CALLERS:
                sent = caller.replace("missing scope", f"missing {DECLARED[name].scope or 'admin'}")
                found, told = await served.call(method, sent)
                if found != expected(name, caller, public=public):
                    wrong.append((name, caller, found))
                counted = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= told.keys()
                if counted == (caller == "part of the engine"):
                    wrong.append((name, caller, told))
    assert not wrong
    print(f"\n{len(METHODS)} RPCs, {len(CALLERS)} callers each, as declared")


def test_the_descriptor_set_has_no_rpc_that_is_not_tried() -> None:
    """The matrix is generated: a service that is added to the contract cannot be left out of it."""
    tried = {f"/{method.containing_service.full_name}/{method.name}" for method in METHODS}
    assert tried == DECLARED.keys()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scope": "market:reed"},
        {"public": True},
        {"scope": "admin", "anyone": True},
        {"internal": True, "api_key": True},
        {"anyone": True, "public": True},
    ],
)
def test_a_requirement_that_makes_no_sense_is_none(fields: dict[str, Any]) -> None:
    """None at all, an unknown scope, or two that contradict each other: the method is refused by name."""
    options = descriptor_pb2.MethodOptions()
    options.Extensions[requirement_pb2.requirement].CopyFrom(requirement_pb2.Requirement(**fields))
    method: Any = SimpleNamespace(full_name="odd.Odd.Do", GetOptions=lambda: options)
    with pytest.raises(UndeclaredError, match=r"odd\.Odd\.Do does not say who may call it"):
        need_of(method)


def test_a_service_that_does_not_say_who_may_call_it_is_not_served() -> None:
    """An engine with such an RPC does not start."""
    undeclared = Anything(health_pb2.DESCRIPTOR.services_by_name["Health"])
    with pytest.raises(UndeclaredError, match="does not say who may call it"):
        Pipeline([undeclared], (), Unguarded(), deadline_seconds=1)
