"""Schemas and examples of messages: what the generator says of them, completed by what it does not know.

What it does not know: which fields an answer always has, what texts hold, and what the contract's rules demand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from scripts.contract.openapi_contract import ContractError, held, is_map, is_required, plain_text, rules
from scripts.contract.openapi_fields import HOLDS, MAY_BE_ABSENT, NOT_SHOWN, Holds, Schema

INT32_MAX, UINT32_MAX = 2**31 - 1, 2**32 - 1
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$",
}
UINT64: Schema = {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}
"""As protobuf's JSON has it, since a number of JavaScript would round it."""
SEVERAL = re.compile(r"^\^(?P<one>.*)\(,(?P=one)\)\*\$$")
"""A pattern of one or more, joined by commas."""
LEFT_OUT = re.compile(r"Left out(?: or 0)?, `?([\w.:-]+?)`?[.;]")


class Schemas:
    """The components of the document, made as they are referred to."""

    def __init__(self, generated: Mapping[str, Schema]) -> None:
        self._generated = generated
        self._used: set[str] = set()
        self.components: dict[str, Schema] = {}

    # Answers ----------------------------------------------------------------------------------------------------------

    def answer(self, message: Descriptor) -> Schema:
        """A reference to the schema of a message as Envoy prints it."""
        name = message.name
        if name not in self.components:
            schema: Schema = {}
            self.components[name] = schema
            generated = self._generated[message.full_name]
            properties = {field.name: self._printed(field, self._said(generated, field)) for field in message.fields}
            absent = {name for name in properties if self._may_be_absent(message, name)}
            schema |= {
                "type": "object",
                "description": about(generated["description"], name),
                "required": [name for name in properties if name not in absent],
                "properties": properties,
            }
            if not schema["required"]:
                del schema["required"]
        return {"$ref": f"#/components/schemas/{name}"}

    def _said(self, generated: Schema, field: FieldDescriptor) -> str:
        """The comment of a field, as the generator has read it."""
        try:
            return plain_text(generated["properties"][field.json_name]["description"])
        except KeyError:
            raise ContractError(f"{field.full_name} has no comment") from None

    def _may_be_absent(self, message: Descriptor, name: str) -> bool:
        field = message.fields_by_name[name]
        if field.message_type is not None and not field.is_repeated:
            key = f"{message.name}.{name}"
            self._used.add(key)
            return key in MAY_BE_ABSENT
        return bool(field.has_presence)

    def _printed(self, field: FieldDescriptor, description: str) -> Schema:
        if is_map(field):
            value = self._one(held(field).fields_by_name["value"], {})
            return {"type": "object", "description": description, "additionalProperties": value}
        one = self._one(field, self._holds(field).schema if self._is_plain(field) else {})
        if field.is_repeated:
            return {"type": "array", "description": description, "items": one}
        return one | {"description": description} if "$ref" not in one else {"description": description, **one}

    @staticmethod
    def _is_plain(field: FieldDescriptor) -> bool:
        """Whether the field holds a value, not a message with a schema of its own."""
        return field.message_type is None or field.message_type.full_name.startswith("google.protobuf.")

    def _holds(self, field: FieldDescriptor) -> Holds:
        for key in keys(field):
            if key in HOLDS:
                self._used.add(key)
                return HOLDS[key]
        raise ContractError(f"{field.full_name}: say in openapi_fields.py what it holds, with an example")

    def _one(self, field: FieldDescriptor, holds: Schema) -> Schema:  # noqa: PLR0911 - one line for each type
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                among = [value for value in getattr(rules(field).string, "in") if value]
                return {"type": "string", **({"enum": among} if among else {}), **holds}
            case FieldDescriptor.TYPE_BOOL:
                return {"type": "boolean"}
            case FieldDescriptor.TYPE_DOUBLE:
                return {"type": "number", "format": "double", **holds}
            case FieldDescriptor.TYPE_INT32:
                return {"type": "integer", "format": "int32", **holds}
            case FieldDescriptor.TYPE_UINT32:
                return {"type": "integer", "format": "int64", "minimum": 0, "maximum": UINT32_MAX, **holds}
            case FieldDescriptor.TYPE_UINT64:
                return {**UINT64, **holds}
            case FieldDescriptor.TYPE_ENUM:
                values = field.enum_type.values if field.enum_type is not None else []
                names = [value.name for value in values if value.number]
                return {"type": "string", "enum": names, **holds}
            case FieldDescriptor.TYPE_MESSAGE if held(field).full_name == "google.protobuf.Timestamp":
                return {**TIME, **holds}
            case FieldDescriptor.TYPE_MESSAGE if held(field).full_name == "google.protobuf.ListValue":
                return holds
            case FieldDescriptor.TYPE_MESSAGE:
                return self.answer(held(field))
        raise ContractError(f"{field.full_name} is of a type that nothing here describes")

    # Examples ---------------------------------------------------------------------------------------------------------

    def example(self, message: Descriptor) -> dict[str, Any]:
        """A message with the example of each of its fields."""
        shown = [field for field in message.fields if f"{message.name}.{field.name}" not in NOT_SHOWN]
        return {field.name: self.example_of(field) for field in shown}

    def example_of(self, field: FieldDescriptor) -> Any:
        """The example of a field: its own, or that of the message it holds."""
        if self._is_plain(field) or is_map(field) or any(key in HOLDS for key in keys(field)):
            value = self._holds(field).example
            return [value] if field.is_repeated and not is_map(field) and not isinstance(value, list) else value
        inner = self.example(held(field))
        return [inner] if field.is_repeated else inner

    # Requests ---------------------------------------------------------------------------------------------------------

    def body(self, message: Descriptor, generated: Schema, in_path: list[str]) -> Schema:
        """The schema of a request's body, which has no further fields: they are refused."""
        fields = [field for field in message.fields if field.name not in in_path]
        properties = {field.name: self._given(field, self._said(generated, field)) for field in fields}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [field.name for field in fields if is_required(field)]:
            schema["required"] = required
        return schema

    def _given(self, field: FieldDescriptor, description: str) -> Schema:
        schema = self.asked(field, description)
        if not is_required(field):
            # As protobuf's JSON has it: null is the same as leaving a field out.
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        return {**schema, "description": description}

    def asked(self, field: FieldDescriptor, description: str) -> Schema:
        """What a field of a request may be, by the contract's rules."""
        demanded = rules(field)
        if field.is_repeated:
            several = demanded.repeated
            schema: Schema = {"type": "array", "items": self._value(field, several.items)}
            schema |= {"minItems": several.min_items} if several.min_items else {}
            schema |= {"maxItems": several.max_items} if several.max_items else {}
            return schema
        schema = self._value(field, demanded)
        if left_out := LEFT_OUT.search(description):
            schema |= _default(schema, left_out[1])
        return schema

    @staticmethod
    def _value(field: FieldDescriptor, demanded: Any) -> Schema:
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                return _text(demanded.string)
            case FieldDescriptor.TYPE_INT32:
                least = demanded.int32.gte if demanded.int32.HasField("gte") else -INT32_MAX - 1
                most = demanded.int32.lte if demanded.int32.HasField("lte") else INT32_MAX
                return {"type": "integer", "format": "int32", "minimum": least, "maximum": most}
            case FieldDescriptor.TYPE_MESSAGE if held(field).full_name == "google.protobuf.Timestamp":
                return {"type": "string", "format": "date-time"}
        raise ContractError(f"{field.full_name} is of a type that nothing here describes")

    # What is left -----------------------------------------------------------------------------------------------------

    def unused(self) -> list[str]:
        """What openapi_fields.py has and no field of the contract is."""
        return sorted(({*HOLDS, *MAY_BE_ABSENT, *NOT_SHOWN}) - self._used)


def _text(demanded: Any) -> Schema:
    schema: Schema = {"type": "string"}
    if among := [value for value in getattr(demanded, "in") if value]:
        schema["enum"] = among
    if demanded.HasField("pattern"):
        several = SEVERAL.match(demanded.pattern)
        schema["pattern"] = f"^{several['one']}$" if several else demanded.pattern
        if several:
            return schema  # the length is that of all of them
    if demanded.HasField("max_len"):
        schema["maxLength"] = demanded.max_len
    return schema


def _default(schema: Schema, said: str) -> Schema:
    """What is taken where nothing is given, if the comment names a value that the field may have."""
    if schema["type"] == "integer" and said.isdecimal():
        return {"default": int(said)}
    if schema["type"] == "string" and "format" not in schema and said in schema.get("enum", ["1"]):
        return {"default": said}
    return {}


def keys(field: FieldDescriptor) -> tuple[str, str]:
    """What openapi_fields.py may know a field by, the narrower first."""
    message = field.containing_type
    return (f"{message.name}.{field.name}" if message is not None else field.name, field.name)


def about(comment: str, name: str) -> str:
    """What something is. The contract's sentence begins with its name, which means nothing here."""
    rest = re.sub(rf"^{name} (?:is |holds |names |asks )?", "", plain_text(comment))
    return rest[:1].upper() + rest[1:]
