"""The events and the links of spans: rows of their own, bounded in number."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.columns import pc
from transforms.otlp.attribute_limits import flag_rows, limit_attributes
from transforms.otlp.attribute_values import build_attributes
from transforms.otlp.attributes import Attributes


@dataclass(frozen=True)
class Children:
    """n events or links: rows struct[n], span int32[n] (ascending), their attributes, flags (span, flag)."""

    rows: pa.StructArray
    span: np.ndarray
    attributes: Attributes
    flags: pl.DataFrame


def children(spans: pa.StructArray, name: str, limit: int, limits: Limits) -> Children:
    """The first `limit` entries of the list `name` of each span; further ones give the flag `{name}_dropped`."""
    lists = pc.struct_field(spans, name)
    rows = pc.list_flatten(lists)
    span = pc.list_parent_indices(lists).to_numpy().astype(np.int32)
    over = np.arange(span.size) - np.searchsorted(span, span) >= limit
    dropped = flag_rows({f"{name}_dropped": span[over]})
    if over.any():
        rows, span = rows.filter(pa.array(~over)), span[~over]
    found = limit_attributes(build_attributes(pc.struct_field(rows, "attributes")), limits)
    flags = found.flags.select(span=pl.Series(span).gather(found.flags["owner"]), flag="flag")
    return Children(rows, span, found.attributes, pl.concat([dropped, flags]))
