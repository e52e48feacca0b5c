"""The plain columns of decoded spans: owner, ids, name, times, status, origin."""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.columns import pc
from transforms.cuts import cut
from transforms.otlp.attribute_limits import flag_rows
from transforms.otlp.attributes import Attributes
from transforms.otlp.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, hex_ids, invalid_ids
from transforms.otlp.requests import Items

_MAX_NS = 2**63 - 1
_COUNTS = ("attributes", "events", "links")


def span_errors(spans: pa.StructArray) -> dict[str, np.ndarray]:
    """The spans that must be refused (bool[n]) by error, for every error that occurs."""
    parents = pc.struct_field(spans, "parent_span_id")
    times = [pc.struct_field(spans, name).to_numpy() for name in ("start_time_unix_nano", "end_time_unix_nano")]
    found = {
        "InvalidTraceId": invalid_ids(pc.struct_field(spans, "trace_id"), TRACE_ID_BYTES),
        "InvalidSpanId": invalid_ids(pc.struct_field(spans, "span_id"), SPAN_ID_BYTES),
        "InvalidParentSpanId": ~np.isin(pc.binary_length(parents).to_numpy(), (0, SPAN_ID_BYTES)),
        "TimeOutOfRange": (times[0] > _MAX_NS) | (times[1] > _MAX_NS),
    }
    return {error: where for error, where in found.items() if where.any()}


def owner_columns(raw: pa.Table, request: np.ndarray) -> pl.DataFrame:
    """org, team, key_id, redact, received_at of the raw rows `request`; redact is true where it is not known."""
    owners = pl.DataFrame(raw.select(["org", "team", "key_id", "redact", "received_at"])).with_columns(
        pl.col("org", "team", "key_id").fill_null(""),
        pl.col("redact").fill_null(value=True),
        pl.col("received_at").fill_null(0),
    )
    return owners[request]


def origin_columns(items: Items, resources: Attributes) -> pl.DataFrame:
    """service, scope, scope_version (str, '' when not told) and resource (int32) of every item."""
    service = resources.texts_at(resources.first(["service.name"])).fill_null("")
    scopes = {
        name: pl.Series(pc.struct_field(items.scopes, field), dtype=pl.String).fill_null("").gather(items.scope)
        for name, field in (("scope", "name"), ("scope_version", "version"))
    }
    return pl.DataFrame({"service": service.gather(items.resource), **scopes, "resource": items.resource})


def span_columns(raw: pa.Table, items: Items, resources: Attributes) -> pl.DataFrame:
    """`Decoded.spans`, names and texts not yet cut."""
    field = {field.name: pc.struct_field(items.items, field.name) for field in items.items.type}
    status = field["status"]
    own = pl.DataFrame(
        {
            "request": items.request,
            "position": items.position,
            "trace_id": hex_ids(field["trace_id"]),
            "span_id": hex_ids(field["span_id"]),
            "parent_span_id": parent_ids(field["parent_span_id"]),
            "name": pl.Series(field["name"], dtype=pl.String),
            "otel_kind": pl.Series(field["kind"], dtype=pl.Int32),
            "start_ns": field["start_time_unix_nano"].to_numpy().astype(np.int64),
            "end_ns": field["end_time_unix_nano"].to_numpy().astype(np.int64),
            "status_code": pl.Series(pc.struct_field(status, "code"), dtype=pl.Int32).fill_null(0),
            "status_message": pl.Series(pc.struct_field(status, "message"), dtype=pl.String).fill_null(""),
            **{
                f"dropped_{name}": pl.Series(field[f"dropped_{name}_count"], dtype=pl.UInt32).cast(pl.Int64)
                for name in _COUNTS
            },
        }
    )
    return pl.concat([own, owner_columns(raw, items.request), origin_columns(items, resources)], how="horizontal")


def parent_ids(ids: pa.Array) -> pl.Series:
    """Hex ids; eight zero bytes mean that there is no parent, as no bytes do."""
    return hex_ids(ids).replace("0" * 2 * SPAN_ID_BYTES, "")


def cut_names(rows: pl.DataFrame, names: list[str], limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`rows` with the columns `names` within Limits.name_bytes, and the flag `name_cut` of the rows that lost text."""
    shortened = {name: cut(rows[name], limits.name_bytes) for name in names}
    lost = np.flatnonzero(np.logical_or.reduce([where for _, where in shortened.values()]))
    return rows.with_columns(**{name: values for name, (values, _) in shortened.items()}), flag_rows({"name_cut": lost})


def time_flags(spans: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """(span, flag) of no_end_time, end_before_start and time_out_of_range."""
    start, end, received = (spans[name].to_numpy() for name in ("start_ns", "end_ns", "received_at"))
    far = (start == 0) | (start < received - limits.past_ns) | (start > received + limits.future_ns)
    return flag_rows(
        {
            "no_end_time": np.flatnonzero(end == 0),
            "end_before_start": np.flatnonzero((end > 0) & (end < start)),
            "time_out_of_range": np.flatnonzero(far),
        }
    )
