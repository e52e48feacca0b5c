"""Attributes as map columns, redacted and cut: what is left of them beside the message bodies."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.cuts import cut
from transforms.otlp.attribute_values import keep_attributes
from transforms.otlp.attributes import Attributes, ValueKind
from transforms.redact.texts import redact_text

_TEXTS = (ValueKind.STRING, ValueKind.ARRAY, ValueKind.KVLIST)


@dataclass(frozen=True)
class Mapped:
    """maps: map<string, string>, one per owner; cut: int32, owners of values that were cut (with repetitions)."""

    maps: pa.MapArray
    cut: np.ndarray


def attribute_maps(attributes: Attributes, kept: np.ndarray | None, redact: np.ndarray, limits: Limits) -> Mapped:
    """The attributes where `kept` (bool[n], None for all) as a map per owner; `redact` is a bool per owner.

    Redaction comes before the cut: half a key would no longer be known as one.
    """
    if kept is not None:
        attributes = keep_attributes(attributes, kept)
    private = redact[attributes.owner]
    texts = redact_text(attributes.texts, pl.Series(private & np.isin(attributes.kind, _TEXTS)))
    texts, long = cut(texts, limits.value_bytes)
    offsets = np.searchsorted(attributes.owner, np.arange(attributes.owners + 1)).astype(np.int32)
    items = texts.to_arrow().cast(pa.string())
    return Mapped(pa.MapArray.from_arrays(pa.array(offsets), _keys(attributes, private), items), attributes.owner[long])


def _keys(attributes: Attributes, private: np.ndarray) -> pa.Array:
    plain = pl.Series(attributes.keys, dtype=pl.String)
    code = attributes.code.astype(np.int64)
    if private.any():
        cleaned = redact_text(plain, pl.Series([True]).new_from_index(0, len(plain)))
        plain = pl.concat([plain, cleaned])
        code = code + private * len(attributes.keys)
    return plain.to_arrow().cast(pa.string()).take(pa.array(code))


def lists_of(owner: np.ndarray, owners: int, columns: dict[str, pa.Array]) -> pa.ListArray:
    """list<struct> per owner out of rows whose `owner` ascends."""
    offsets = np.searchsorted(owner, np.arange(owners + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays(list(columns.values()), list(columns))
    )
