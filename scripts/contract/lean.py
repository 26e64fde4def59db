"""The contract as clients need it, for generators that take a descriptor set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

from scripts.contract.tools import PROTO, our_services, protoc


def lean_contract(target: Path, *more: str) -> list[str]:
    """Write a descriptor set of what clients need, and give the names of its files, imported ones included.

    Without the options that only the server reads: validation rules, REST paths, scopes. With them every client would
    carry the code of buf/validate and google/api, 250 KB in JavaScript. And without the comments of protos not ours.

    Args:
        more: protos beside those that our services need.
    """
    protoc([*our_services(), *more], f"--descriptor_set_out={target}", "--include_imports", "--include_source_info")
    contract = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    definitions = {name: file.name for file in contract.file for name in _defined(file)}
    files = {file.name: file for file in contract.file}
    contract.DiscardUnknownFields()
    for message in _messages_within(contract):
        if isinstance(message, OPTIONS):
            options: Any = message
            for field, _ in message.ListFields():
                if field.is_extension:
                    options.ClearExtension(field)
    for file in contract.file:
        file.dependency[:] = sorted({definitions[name] for name in _used(file)} - {file.name})
        if not (PROTO / file.name).is_file():
            file.ClearField("source_code_info")
    needed: dict[str, None] = {}
    waiting = [*our_services(), *more]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = None
            waiting.extend(files[name].dependency)
    kept = [file for file in contract.file if file.name in needed]
    target.write_bytes(descriptor_pb2.FileDescriptorSet(file=kept).SerializeToString(deterministic=True))
    return [file.name for file in kept if not file.name.startswith("google/protobuf/")]


OPTIONS = (
    descriptor_pb2.FileOptions,
    descriptor_pb2.MessageOptions,
    descriptor_pb2.FieldOptions,
    descriptor_pb2.EnumOptions,
    descriptor_pb2.EnumValueOptions,
    descriptor_pb2.OneofOptions,
    descriptor_pb2.ServiceOptions,
    descriptor_pb2.MethodOptions,
)


def _messages_within(message: Message) -> Iterator[Message]:
    """A message and all that it is made of."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE and not field.is_extension:
            for inner in value if field.is_repeated else [value]:
                yield from _messages_within(inner)


def _defined(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """Names of a file's messages and enumerations, as references to them are written: `.package.Name`."""

    def within(prefix: str, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
        name = f"{prefix}.{message.name}"
        yield name
        yield from (f"{name}.{enum.name}" for enum in message.enum_type)
        for inner in message.nested_type:
            yield from within(name, inner)

    package = f".{file.package}"
    yield from (f"{package}.{enum.name}" for enum in file.enum_type)
    for message in file.message_type:
        yield from within(package, message)


def _used(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """Names of the messages and enumerations that a file speaks of outside of options."""
    for message in _messages_within(file):
        if isinstance(message, descriptor_pb2.FieldDescriptorProto):
            yield from (name for name in (message.type_name, message.extendee) if name)
        elif isinstance(message, descriptor_pb2.MethodDescriptorProto):
            yield from (message.input_type, message.output_type)
