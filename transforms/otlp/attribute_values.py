"""Build `Attributes` from decoded Arrow, and apply the limits on attributes; vectorised by kind of value."""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.columns import pc
from transforms.otlp.attributes import Attributes, ValueKind
from transforms.otlp.json_values import array_texts, entry_texts, pair_texts

_FIELDS = {
    ValueKind.STRING: "string_value",
    ValueKind.BOOL: "bool_value",
    ValueKind.INT: "int_value",
    ValueKind.DOUBLE: "double_value",
    ValueKind.ARRAY: "array_value",
    ValueKind.KVLIST: "kvlist_value",
    ValueKind.BYTES: "bytes_value",
}
_NUMBER_BYTES = 40  # longer texts are no numbers that anybody counts with
_NUMBER_START = np.isin(np.arange(256), np.frombuffer(b"0123456789+-.", np.uint8))
_INT64_LIMIT = float(2**63)


@dataclass(frozen=True)
class Values:
    """n AnyValues: kind uint8[n]; text, number and integer as in `Attributes`."""

    kind: np.ndarray
    text: pa.LargeStringArray
    number: pa.DoubleArray
    integer: pa.Int64Array


@dataclass(frozen=True)
class Limited:
    """Attributes within the limits, and the owners (int32, distinct) that lost something, by flag."""

    attributes: Attributes
    flags: dict[str, np.ndarray]


def build_attributes(lists: pa.ListArray) -> Attributes:
    """The attributes of n owners from their decoded lists (list<struct<key, value>>[n]), as they came."""
    entries = lists.flatten()
    owner = pc.list_parent_indices(lists).to_numpy().astype(np.int32)
    keys = pc.struct_field(entries, "key").dictionary_encode()
    values = any_values(pc.struct_field(entries, "value"))
    return Attributes(
        owners=len(lists),
        owner=owner,
        code=keys.indices.to_numpy(),
        keys=keys.dictionary.to_pylist(),
        kind=values.kind,
        text=values.text,
        number=values.number,
        integer=values.integer,
    )


def any_values(values: pa.StructArray) -> Values:
    """Texts and numbers of n decoded AnyValues (struct<string_value, ...>); a missing one is EMPTY."""
    variants = {kind: pc.struct_field(values, name) for kind, name in _FIELDS.items()}
    kind = np.zeros(len(values), np.uint8)
    for variant, column in variants.items():
        if column.null_count < len(column):
            kind[column.is_valid().to_numpy(zero_copy_only=False)] = variant
    text = _texts(kind, variants)
    number = np.full(len(kind), np.nan)
    integer = np.zeros(len(kind), np.int64)
    whole = kind == ValueKind.INT
    integer[whole] = variants[ValueKind.INT].filter(pa.array(whole)).to_numpy()
    number[whole] = integer[whole]
    double = kind == ValueKind.DOUBLE
    number[double] = variants[ValueKind.DOUBLE].filter(pa.array(double)).to_numpy()
    parsed, exact = _parse_numbers(kind, text, number, integer)
    number[~np.isfinite(number)] = np.nan
    rounded = ~whole & ~exact & (np.abs(number) < _INT64_LIMIT)
    rounded[rounded] = number[rounded] == np.trunc(number[rounded])
    integer[rounded] = number[rounded].astype(np.int64)
    return Values(
        kind,
        text,
        pa.array(number, mask=np.isnan(number)),
        pa.array(integer, mask=~(whole | exact | rounded)),
    )


def _texts(kind: np.ndarray, variants: dict[ValueKind, pa.Array]) -> pa.LargeStringArray:
    """The values as text: strings are copied at most once, all else is converted by kind."""
    strings = variants[ValueKind.STRING].cast(pa.large_string())
    other = kind != ValueKind.STRING
    if not other.any():
        return strings
    converted = [pa.array([""], pa.large_string())]
    place = np.zeros(len(kind), np.int64)
    size = 1
    for variant in (variant for variant in _FIELDS if variant != ValueKind.STRING):
        own = kind == variant
        count = int(own.sum())
        if count:
            converted.append(_convert(variant, variants[variant].filter(pa.array(own))))
            place[own] = np.arange(size, size + count)
            size += count
    texts = pa.concat_arrays(converted).take(pa.array(place[other]))
    return pc.replace_with_mask(strings, pa.array(other), texts)


def _convert(kind: ValueKind, values: pa.Array) -> pa.Array:
    if kind == ValueKind.ARRAY:
        return array_texts(pc.struct_field(values, "values"))
    if kind == ValueKind.KVLIST:
        lists = pc.struct_field(values, "values")
        return entry_texts(lists) if pa.types.is_struct(lists.type.value_type) else pair_texts(lists)
    if kind == ValueKind.BYTES:
        return pl.Series(values, dtype=pl.Binary).bin.encode("base64").to_arrow().cast(pa.large_string())
    texts = values.cast(pa.large_string())
    return _plain_decimals(texts) if kind == ValueKind.DOUBLE else texts


def _plain_decimals(texts: pa.Array) -> pa.Array:
    scientific = pc.match_substring(texts, "e").to_numpy(zero_copy_only=False)
    if not scientific.any():
        return texts
    encoded = texts.filter(pa.array(scientific)).dictionary_encode()
    plain = [format(Decimal(text), "f") for text in encoded.dictionary.to_pylist()]
    rewritten = pa.array(plain, pa.large_string()).take(encoded.indices)
    return pc.replace_with_mask(texts, pa.array(scientific), rewritten)


def _parse_numbers(
    kind: np.ndarray, text: pa.LargeStringArray, number: np.ndarray, integer: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write the values of numeric strings into `number` and `integer`; where each was found (bool[n] twice)."""
    offsets = np.frombuffer(text.buffers()[1], np.int64, len(text) + 1)
    data = np.frombuffer(text.buffers()[2] or b"\0", np.uint8)
    lengths = np.diff(offsets)
    likely = (kind == ValueKind.STRING) & (lengths > 0) & (lengths <= _NUMBER_BYTES)
    likely[likely] = _NUMBER_START[data[offsets[:-1][likely]]]
    parsed, exact = likely.copy(), likely.copy()
    if likely.any():
        texts = pl.Series(text.filter(pa.array(likely)), dtype=pl.String)
        numbers = texts.cast(pl.Float64, strict=False)
        integers = texts.cast(pl.Int64, strict=False)
        number[likely] = numbers.fill_null(np.nan).to_numpy()
        integer[likely] = integers.fill_null(0).to_numpy()
        parsed[likely] = numbers.is_finite().fill_null(False).to_numpy()
        exact[likely] = integers.is_not_null().to_numpy()
    return parsed, exact


def keep_attributes(attributes: Attributes, keep: np.ndarray) -> Attributes:
    """The attributes where `keep` (bool[n]) holds, of the same owners."""
    if keep.all():
        return attributes
    mask = pa.array(keep)
    return replace(
        attributes,
        owner=attributes.owner[keep],
        code=attributes.code[keep],
        kind=attributes.kind[keep],
        text=attributes.text.filter(mask),
        number=attributes.number.filter(mask),
        integer=attributes.integer.filter(mask),
    )
