"""The contract as the OpenAPI document needs it: RPCs with their paths, requirements and declared errors."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions, FileDescriptorSet, MethodOptions

from buf.validate import validate_pb2
from entasis.access.v1 import requirement_pb2
from scripts.contract.tools import our_services, protoc

NOT_DESCRIBED = ("entasis.web.v1.WebService",)
"""Pages and what they load are for browsers; they are no part of the API."""
DECLARED = re.compile(r"([A-Z]+_[0-9]{3})(?:\s*\(([^)]*)\))?")


class ContractError(Exception):
    """Something that the document must say is nowhere said."""


@dataclass(frozen=True)
class Binding:
    """One way to call an RPC over REST."""

    verb: str
    path: str
    has_body: bool


@dataclass(frozen=True)
class Rpc:
    """An RPC that REST has."""

    descriptor: MethodDescriptor
    bindings: Sequence[Binding]
    """Those under /api/v1, the main one first."""
    aliases: Mapping[Binding, str]
    """Of each of them, the path under /v1."""
    requirement: requirement_pb2.Requirement

    @property
    def name(self) -> str:
        return str(self.descriptor.name)

    @property
    def streams(self) -> bool:
        return bool(self.descriptor.server_streaming)


def read() -> list[Rpc]:
    """Compile our protos and give every RPC that has a path, in the order of files and services."""
    with tempfile.TemporaryDirectory() as temporary:
        compiled = Path(temporary) / "contract.binpb"
        protoc(our_services(), f"--descriptor_set_out={compiled}", "--include_imports")
        files = FileDescriptorSet.FromString(compiled.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return [rpc for file in files for service in file.service for rpc in _rpcs(pool, f"{file.package}.{service.name}")]


def _rpcs(pool: descriptor_pool.DescriptorPool, service: str) -> Iterator[Rpc]:
    if service in NOT_DESCRIBED:
        return
    for method in pool.FindServiceByName(service).methods:
        # The options as the generated modules define them: a pool of its own has classes of its own.
        known = MethodOptions.FromString(method.GetOptions().SerializeToString())
        rule = known.Extensions[annotations_pb2.http]
        if not rule.WhichOneof("pattern"):
            continue
        all_bindings = [_binding(one) for one in (rule, *rule.additional_bindings)]
        main = [one for one in all_bindings if one.path.startswith("/api/v1/")]
        aliases = {
            one: other.path
            for one in main
            for other in all_bindings
            if (other.verb, "/api" + other.path, other.has_body) == (one.verb, one.path, one.has_body)
        }
        if len(main) + len(aliases) != len(all_bindings):
            raise ContractError(f"{method.full_name}: each path under /api/v1 has one under /v1, and there is no other")
        yield Rpc(method, main, aliases, known.Extensions[requirement_pb2.requirement])


def _binding(rule: HttpRule) -> Binding:
    verb = rule.WhichOneof("pattern")
    if verb not in {"get", "post", "delete"} or rule.body not in {"", "*"}:
        raise ContractError(f"a binding that the generator does not know: {rule}")
    return Binding(verb, getattr(rule, verb), rule.body == "*")


def rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """What the contract demands of a field."""
    options = FieldOptions.FromString(field.GetOptions().SerializeToString())
    return options.Extensions[validate_pb2.field]


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request must have the field."""
    options = FieldOptions.FromString(field.GetOptions().SerializeToString())
    return field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


def held(field: FieldDescriptor) -> Descriptor:
    """The message that a field holds. Raises where it holds none."""
    if field.message_type is None:
        raise ContractError(f"{field.full_name} holds no message")
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def path_variables(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def plain_text(comment: str) -> str:
    """A comment as paragraphs, each one line."""
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)


def declared_errors(comment: str) -> dict[str, str]:
    """The reasons of an `Errors:` line, each with what stands in parentheses after it."""
    found = re.search(r"(?:^|\n)Errors: (.*)", plain_text(comment))
    return {reason: words or "" for reason, words in DECLARED.findall(found[1])} if found else {}


def without_errors(comment: str) -> str:
    return re.sub(r"(?:^|\n\n?)Errors: .*", "", plain_text(comment)).strip()
