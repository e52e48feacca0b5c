"""The limits on attributes: how many, how long, and each key once."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.cuts import cut
from transforms.otlp.attribute_values import keep_attributes
from transforms.otlp.attributes import Attributes

# Values are kept whole up to this many message bodies: which of them are bodies is not known yet.
BODIES = 8


@dataclass(frozen=True)
class Limited:
    """Attributes within the limits, and (owner int32, flag) for every owner that lost something."""

    attributes: Attributes
    flags: pl.DataFrame


def limit_attributes(attributes: Attributes, limits: Limits) -> Limited:
    """Keep the first `attributes_per_span` of each owner, and of equal keys the last; cut long keys and values.

    OTLP requires unique keys (opentelemetry-proto, common.proto); maps elsewhere let the last one win.
    Flags: attributes_dropped, duplicate_attribute, attribute_cut.
    """
    owner = attributes.owner
    first = np.searchsorted(owner, np.arange(attributes.owners))
    over = np.arange(owner.size) - first[owner] >= limits.attributes_per_span
    flagged = {"attributes_dropped": owner[over]}
    attributes = keep_attributes(attributes, ~over)
    attributes, long_key = _cut_keys(attributes, limits.key_bytes)
    text, long_value = _cut_values(attributes, limits.message_bytes * BODIES)
    flagged["attribute_cut"] = attributes.owner[long_key | long_value]
    repeated = _repeated(attributes)
    flagged["duplicate_attribute"] = attributes.owner[repeated]
    kept = keep_attributes(replace(attributes, text=text), ~repeated)
    return Limited(kept, flag_rows(flagged).rename({"span": "owner"}))


def flag_rows(flagged: dict[str, np.ndarray]) -> pl.DataFrame:
    """(span int32, flag str) for every flag and distinct span."""
    parts = [
        pl.DataFrame({"span": pl.Series(np.unique(spans), dtype=pl.Int32), "flag": [flag] * np.unique(spans).size})
        for flag, spans in flagged.items()
        if spans.size
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema={"span": pl.Int32, "flag": pl.String})


def _cut_keys(attributes: Attributes, limit: int) -> tuple[Attributes, np.ndarray]:
    keys, cut_keys = cut(pl.Series(attributes.keys, dtype=pl.String), limit)
    if not cut_keys.any():
        return attributes, np.zeros(attributes.code.size, bool)
    distinct, code = np.unique(keys.to_numpy(), return_inverse=True)  # keys that were cut can fall together
    recoded = replace(attributes, keys=[str(key) for key in distinct], code=code[attributes.code].astype(np.int32))
    return recoded, cut_keys[attributes.code]


def _cut_values(attributes: Attributes, limit: int) -> tuple[pa.LargeStringArray, np.ndarray]:
    if attributes.lengths.max(initial=0) <= limit:
        return attributes.text, np.zeros(attributes.code.size, bool)
    texts, cut_values = cut(attributes.texts, limit)
    return texts.to_arrow().cast(pa.large_string()), cut_values


def _repeated(attributes: Attributes) -> np.ndarray:
    """Which attributes are followed by one of the same owner and key (bool[n])."""
    pair = attributes.owner.astype(np.int64) * len(attributes.keys) + attributes.code
    repeated = np.zeros(pair.size, bool)
    ordered = np.sort(pair)
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(pair, kind="stable")
        repeated[order[:-1]] = pair[order[1:]] == pair[order[:-1]]
    return repeated
