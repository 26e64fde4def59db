"""gen/descriptor: the contract as Envoy and everything that reads descriptors take it."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from scripts.contract.tools import our_protos, protoc

SCOPES = ("market:read", "portfolio:read", "portfolio:write", "analysis:read", "admin")


def generate(target: Path) -> None:
    """Write descriptor/entasis.binpb into a folder."""
    descriptor_set = target / "descriptor" / "entasis.binpb"
    descriptor_set.parent.mkdir(parents=True)
    # Envoy prints an error's details only if it knows their types: with one unknown, the whole body would be empty.
    protoc(
        [*our_protos(), "google/rpc/error_details.proto"],
        f"--descriptor_set_out={descriptor_set}",
        "--include_imports",
    )
    require_requirements(descriptor_set)


def require_requirements(descriptor_set: Path) -> None:
    """Fail where an RPC does not say who may call it: nothing is served by default."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    # The options as the set itself defines them, since the generated modules may be those of another state.
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
    requirement = pool.FindExtensionByName("entasis.access.v1.requirement")
    undeclared = [
        f"{file.package}.{service.name}.{method.name}"
        for file in files
        for service in file.service
        for method in service.method
        if not makes_sense(options_class.FromString(method.options.SerializeToString()).Extensions[requirement])
    ]
    if undeclared:
        raise SystemExit(
            f"These RPCs do not say who may call them: {', '.join(undeclared)}. "
            "Add to each: option (entasis.access.v1.requirement)."
        )


def makes_sense(requirement: Message) -> bool:
    """Whether exactly one thing is asked for. `access/needs.py` has the same rule and refuses to start without."""
    asked = [getattr(requirement, name) for name in ("scope", "api_key", "anyone", "internal")]
    scope = requirement.scope
    return sum(map(bool, asked)) == 1 and (not scope or scope in SCOPES) and (not requirement.public or bool(scope))
