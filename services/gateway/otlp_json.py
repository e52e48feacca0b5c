"""OTLP/JSON to OTLP protobuf.

The JSON mapping of proto3 with OTLP's own rules: trace and span ids are hex, enums are integers, names are
lowerCamelCase, unknown fields are ignored (opentelemetry-proto 1.11, docs/specification.md, "JSON Protobuf
Encoding"). An item that does not convert is refused alone; anything wrong outside the items refuses the
request.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.gateway.signals import Signal
from services.shared.answers import Refusal, Refused

_WHOLE = re.compile(r"-?[0-9]{1,20}")
_HEX_IDS = frozenset({"trace_id", "span_id", "parent_span_id"})


@dataclass
class _Walk:
    """One conversion. items: the name of the items' field; item errors end up in `refused`."""

    items: str
    most_items: int
    nesting: int
    taken: int = 0
    cut: int = 0
    refused: list[str] = field(default_factory=list)


# Descriptors are Any below: their stubs follow a newer protobuf.
_Convert = Callable[[Any, int, _Walk], Any]


@dataclass(frozen=True)
class FromJson:
    """What a JSON request holds."""

    message: Message  # with the items that convert
    cut: int  # items beyond the limit
    refused: tuple[str, ...]  # why each of the others does not convert


def read_json(body: bytes, signal: Signal, most_items: int, nesting: int) -> FromJson:
    """Convert an OTLP/JSON request.

    nesting: message levels allowed, counted as a protobuf decoder counts them: the request itself is level 1.
    Raises Refused (400) when the body is not JSON, or when it breaks the mapping outside its items.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(Refusal.UNDECODABLE, f"the body is not JSON: {error}") from error
    walk = _Walk(signal.items, most_items, nesting)
    try:
        message = signal.request(**_message(document, signal.request.DESCRIPTOR, 1, walk))
    except (ValueError, TypeError) as error:
        raise Refused(Refusal.UNDECODABLE, f"the body is not OTLP/JSON: {error}") from error
    return FromJson(message, walk.cut, tuple(walk.refused))


def _message(value: Any, descriptor: Any, level: int, walk: _Walk) -> dict[str, Any]:
    """The constructor arguments of a message. Raises ValueError."""
    if level > walk.nesting:
        raise ValueError(f"nested deeper than {walk.nesting} levels")
    if not isinstance(value, dict):
        raise ValueError(f"{descriptor.name} must be an object")
    fields = _fields(descriptor)
    arguments: dict[str, Any] = {}
    for name, part in value.items():
        known = fields.get(name)
        if known is not None and part is not None:
            own_name, convert = known
            arguments[own_name] = convert(part, level + 1, walk)
    return arguments


@cache
def _fields(descriptor: Any) -> dict[str, tuple[str, _Convert]]:
    """By JSON name: the field's own name and its converter."""
    return {one.json_name: (one.name, _field(one)) for one in descriptor.fields}


def _field(descriptor: Any) -> _Convert:
    single = _single(descriptor)
    if descriptor.label != FieldDescriptor.LABEL_REPEATED:
        return single

    def repeated(value: Any, level: int, walk: _Walk) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{descriptor.json_name} must be an array")
        if descriptor.name == walk.items:
            return _items(value, descriptor.message_type, level, walk)
        return [single(part, level, walk) for part in value]

    return repeated


def _items(values: list[Any], descriptor: Any, level: int, walk: _Walk) -> list[Message]:
    taken = values[: walk.most_items - walk.taken]
    walk.taken += len(taken)
    walk.cut += len(values) - len(taken)
    kind = GetMessageClass(descriptor)
    items: list[Message] = []
    for value in taken:
        try:
            items.append(kind(**_message(value, descriptor, level, walk)))
        except (ValueError, TypeError) as error:
            walk.refused.append(str(error))
    return items


def _single(descriptor: Any) -> _Convert:
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        inner = descriptor.message_type
        return lambda value, level, walk: _message(value, inner, level, walk)
    convert = _scalar(descriptor)

    def scalar(value: Any, _level: int, _walk: _Walk) -> Any:
        try:
            return convert(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{descriptor.json_name}: {error}") from error

    return scalar


def _scalar(descriptor: Any) -> Callable[[Any], Any]:
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        names = descriptor.enum_type.values_by_name
        return lambda value: names[value].number if value in names else _integer(value)
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return _hex if descriptor.name in _HEX_IDS else _base64
    return {
        FieldDescriptor.CPPTYPE_STRING: _text,
        FieldDescriptor.CPPTYPE_BOOL: _boolean,
        FieldDescriptor.CPPTYPE_DOUBLE: _double,
    }.get(descriptor.cpp_type, _integer)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _integer(value: Any) -> int:
    """A whole number as a number or as text; the message's constructor checks its range."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a whole number")
    if not (value.is_integer() if isinstance(value, float) else _WHOLE.fullmatch(str(value))):
        raise ValueError("must be a whole number")
    return int(value)


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    return float(value)


def _hex(value: Any) -> bytes:
    try:
        return binascii.unhexlify(_text(value))
    except binascii.Error as error:
        raise ValueError(f"not hex: {error}") from error


def _base64(value: Any) -> bytes:
    text = _text(value).replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
