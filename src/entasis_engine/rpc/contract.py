"""What the contract says of a method, read from its descriptor: how to decode, what is valid, where REST finds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from urllib.parse import parse_qsl, unquote

import protovalidate
from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from entasis_engine.errors import field_error
from entasis_engine.rpc.violations import refusal

CACHED_REQUESTS_MAX = 4096
CACHED_REQUEST_BYTES_MAX = 256
QUERY_CHARACTERS_MAX = 8_192
QUERY_PARAMETERS_MAX = 256


def decoder(method: MethodDescriptor) -> Callable[[bytes], Message]:
    """A function from a request's bytes to the validated request; it raises REQUEST_001 or MARKET_001.

    Small requests repeat (a symbol is asked for again and again) and validity depends on the bytes alone, so the
    answers for the latest of them are remembered. A request handed out must therefore not be changed.
    """
    message_class = message_factory.GetMessageClass(method.input_type)

    def decode(encoded: bytes) -> Message:
        try:
            request: Message = message_class.FromString(encoded)
        except DecodeError:
            name = method.input_type.name
            raise field_error("body", f"is not a valid {name}", f"올바른 {name} 메시지가 아닙니다") from None
        violations = protovalidate.collect_violations(request)
        if violations:
            raise refusal(violations)
        return request

    remembered = lru_cache(CACHED_REQUESTS_MAX)(decode)
    return lambda encoded: remembered(encoded) if len(encoded) <= CACHED_REQUEST_BYTES_MAX else decode(encoded)


class QueryRules:
    """What a transcoder lets pass that would have the caller misunderstood: a query parameter that contradicts the
    path (it would win), a repeated parameter of a field that holds one value (the last would win), and a parameter of a
    call whose body is the whole request (either might win).
    """

    def __init__(self, method: MethodDescriptor) -> None:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        bindings = [(one.get or one.post or one.delete, one.body) for one in (rule, *rule.additional_bindings)]
        self._paths = [re.compile(_as_pattern(template)) for template, _ in bindings if template]
        self._whole_body = {
            pattern
            for pattern, (_, body) in zip(self._paths, filter(itemgetter(0), bindings), strict=True)
            if body == "*"
        }
        fields = method.input_type.fields
        # A transcoder takes a field by its name and by its JSON name.
        self._names = {name: field.name for field in fields for name in (field.name, field.json_name)}
        self._single = {field.name for field in fields if not field.is_repeated}

    def check(self, original_path: str) -> None:
        """Check a REST call's query by the path that the transcoder was given. Raises REQUEST_001."""
        path, _, query = original_path.partition("?")
        if not query:
            return
        # Reading a query costs time in which nobody else is served.
        if len(query) > QUERY_CHARACTERS_MAX or query.count("&") >= QUERY_PARAMETERS_MAX:
            limits = f"{QUERY_CHARACTERS_MAX} characters and {QUERY_PARAMETERS_MAX} parameters"
            korean = f"최대 {QUERY_CHARACTERS_MAX}자, 매개변수 {QUERY_PARAMETERS_MAX}개까지 허용됩니다"
            raise field_error("query", f"must have at most {limits}", korean)
        in_path = self._in_path(path)
        whole_body = any(pattern.fullmatch(path) for pattern in self._whole_body)
        seen: dict[str, str] = {}
        for given, value in parse_qsl(query, keep_blank_values=True):
            name = self._names.get(given.partition(".")[0], given)
            if whole_body:
                raise field_error(name, "must be in the body, not in the query", "쿼리가 아니라 본문에 있어야 합니다")
            if name in self._single and "." in given:
                raise field_error(name, f"must be given whole, not as '{given[:64]}'", "전체 값으로 지정해야 합니다")
            if name in in_path and value != in_path[name]:
                raise field_error(
                    name,
                    f"the query says '{value[:64]}', the path '{in_path[name][:64]}'",
                    f"쿼리는 '{value[:64]}', 경로는 '{in_path[name][:64]}'입니다",
                )
            if name in self._single and seen.setdefault(name, value) != value:
                raise field_error(name, "is given twice, with different values", "서로 다른 값이 두 번 지정되었습니다")

    def check_body(self, names: Sequence[str]) -> None:
        """Check the names in a REST call's body: what the transcoder does not know it leaves out without a word, and of
        two it takes the last. Raises REQUEST_001.
        """
        seen: set[str] = set()
        for given in names:
            name = self._names.get(given)
            if name is None:
                fields = ", ".join(sorted(set(self._names.values()))) or "-"
                raise field_error(
                    given if given.isidentifier() else "body",
                    f"is no field of this request, which has: {fields}",
                    f"이 요청에 없는 필드입니다. 사용할 수 있는 필드: {fields}",
                )
            if name in seen:
                raise field_error(name, "is given twice", "두 번 지정되었습니다")
            seen.add(name)

    def check_request(self, original_path: str, request: Message) -> None:
        """Check that what the transcoder made of a REST call is what the path says: a body may have changed it."""
        for name, value in self._in_path(original_path.partition("?")[0]).items():
            if getattr(request, name) != value:
                raise field_error(name, "is not what the path says", "경로와 다릅니다")

    def _in_path(self, path: str) -> dict[str, str]:
        for pattern in self._paths:
            if matched := pattern.fullmatch(path):
                return {name: unquote(value) for name, value in matched.groupdict().items()}
        # What the transcoder understands and we do not cannot be compared, so it is not let pass.
        raise field_error("path", "is not as the contract has it", "계약에 정의된 경로가 아닙니다")


def _as_pattern(template: str) -> str:
    parts = re.split(r"\{(\w+)(?:=([^}]*))?\}", template)  # text, then a name and its own template, text again, …
    pattern = re.escape(parts[0])
    for name, inner, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        value = re.escape(inner or "*").replace(r"\*", "[^/]+")
        pattern += f"(?P<{name}>{value}){re.escape(text)}"
    return pattern + "/?"


def snake_case(name: str) -> str:
    """`GetPrice` as `get_price`: how a servicer's methods are named."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
