"""Arrays and key-value lists of OTLP attributes as JSON text.

The decoder leaves what is nested in a value as encoded messages. Each distinct one is decoded once, and the
texts are joined vectorised. Non-finite numbers become null, bytes base64.
"""

import base64
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from transforms.columns import pc


def array_texts(elements: pa.ListArray) -> pa.Array:
    """JSON arrays (large_string[n]) of n lists of encoded AnyValue messages (list<binary>, no NULL)."""
    texts = _by_distinct(elements.flatten(), lambda value: _dump(_plain(AnyValue.FromString(value))))
    return _joined(elements, texts, "[", "]")


def pair_texts(elements: pa.ListArray) -> pa.Array:
    """JSON objects (large_string[n]) of n lists of encoded KeyValue messages (list<binary>, no NULL)."""
    return _joined(elements, _by_distinct(elements.flatten(), _pair_text), "{", "}")


def entry_texts(entries: pa.ListArray) -> pa.Array:
    """JSON objects (large_string[n]) of n lists of decoded pairs (list<struct<key, value: encoded AnyValue>>)."""
    flat = entries.flatten()
    keys = _by_distinct(flat.field("key"), _dump)
    values = _by_distinct(
        pc.fill_null(flat.field("value"), b""), lambda value: _dump(_plain(AnyValue.FromString(value)))
    )
    return _joined(entries, pc.binary_join_element_wise(keys, values, ":"), "{", "}")


def text_jsons(texts: pa.Array) -> pa.Array:
    """JSON strings (large_string[n]) of n texts."""
    return _by_distinct(texts, _dump).cast(pa.large_string())


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _pair_text(data: bytes) -> str:
    pair = KeyValue.FromString(data)
    return f"{_dump(pair.key)}:{_dump(_plain(pair.value))}"


def _plain(value: AnyValue) -> Any:
    """`value` as what JSON has; the recursion ends with protobuf's own bound on nesting."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(element) for element in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind) if kind in ("string_value", "bool_value", "int_value", "double_value") else None


def _by_distinct(values: pa.Array, convert) -> pa.Array:
    encoded = values.dictionary_encode()
    texts = pa.array([convert(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _joined(lists: pa.ListArray, texts: pa.Array, opening: str, closing: str) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])
    inner = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts), ",")
    return pc.binary_join_element_wise(opening, inner, closing, "").cast(pa.large_string())
