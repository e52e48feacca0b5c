"""Raw OTLP trace requests to columns: spans, attributes, resources, events, links, and what was refused."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.columns import pc
from transforms.cuts import cut
from transforms.dead_letters import dead_letters
from transforms.otlp.attribute_limits import Limited, flag_rows, limit_attributes
from transforms.otlp.attribute_values import build_attributes
from transforms.otlp.attributes import Attributes
from transforms.otlp.children import Children, children
from transforms.otlp.decode_logs import DecodedLogs, decode_logs
from transforms.otlp.ids import hex_ids
from transforms.otlp.requests import count_rows, open_requests, request_rows, without_refused
from transforms.otlp.signals import TRACES
from transforms.otlp.span_columns import cut_names, span_columns, span_errors, time_flags

__all__ = ["Decoded", "DecodedLogs", "decode", "decode_logs"]

_NAMES = ["name", "status_message", "service", "scope", "scope_version"]
_MAX_NS = 2**63 - 1


@dataclass(frozen=True)
class Decoded:
    """The spans of a batch of requests; n spans, in the order in which they came.

    spans: one row per span: request (int32, row of the raw table), position (int64, of the span in its record),
        org, team, key_id (str), redact (bool), received_at (int64 UTC ns), trace_id, span_id, parent_span_id (hex,
        '' for a root), name (str), otel_kind (int32), start_ns, end_ns (int64 UTC ns, 0 when not set), status_code
        (int32), status_message, service, scope, scope_version (str), resource (int32, owner in `resources`),
        dropped_attributes, dropped_events, dropped_links (int64, by the sender).
    attributes: of the spans. resources: attributes of the resources.
    events: span (int32), time_ns (int64), name (str); event_attributes: owners are its rows.
    links: span (int32), trace_id, span_id (hex); link_attributes: owners are its rows.
    flags: span (int32), flag (str), distinct.
    bad: schema DEAD_LETTERS. requests: schema REQUESTS.
    """

    spans: pl.DataFrame
    attributes: Attributes
    resources: Attributes
    events: pl.DataFrame
    event_attributes: Attributes
    links: pl.DataFrame
    link_attributes: Attributes
    flags: pl.DataFrame
    bad: pa.Table
    requests: pa.Table


def decode(raw: pa.Table, limits: Limits) -> Decoded:
    """Decode the records of `raw` (schema RAW) whose signal is `traces`; duplicates are kept.

    A request that cannot be decoded as a whole is taken apart: its bad spans become dead letters, as do spans
    with an id of a wrong length or of zeros and with times beyond int64 ns. Everything else is kept; what a limit
    cut, or what does not add up, is flagged. `code_version` of the dead letters is ''.
    """
    opened = open_requests(raw, TRACES)
    items = without_refused(raw, opened, span_errors(opened.items))
    resources = limit_attributes(build_attributes(pc.struct_field(items.resources, "attributes")), limits)
    attributes = limit_attributes(build_attributes(pc.struct_field(items.items, "attributes")), limits)
    events = children(items.items, "events", limits.events_per_span, limits)
    links = children(items.items, "links", limits.links_per_span, limits)
    spans, name_flags = cut_names(span_columns(raw, items, resources.attributes), _NAMES, limits)
    event_names, cut_events = cut(pl.Series(pc.struct_field(events.rows, "name"), dtype=pl.String), limits.name_bytes)
    flags = [
        time_flags(spans, limits),
        name_flags,
        flag_rows({"name_cut": events.span[cut_events]}),
        attributes.flags.rename({"owner": "span"}),
        _resource_flags(spans, resources),
        events.flags,
        links.flags,
    ]
    return Decoded(
        spans=spans,
        attributes=attributes.attributes,
        resources=resources.attributes,
        events=_events(events, event_names),
        event_attributes=events.attributes,
        links=_links(links),
        link_attributes=links.attributes,
        flags=pl.concat(flags).unique(maintain_order=True),
        bad=dead_letters(raw, items.refused, "decode", ""),
        requests=request_rows(raw, items.received, count_rows(items.refused, raw.num_rows), ["traces"]),
    )


def _resource_flags(spans: pl.DataFrame, resources: Limited) -> pl.DataFrame:
    """What happened to the attributes of a resource, told of each of its spans."""
    owners = spans.select(span=pl.int_range(pl.len(), dtype=pl.Int32), owner="resource")
    return owners.join(resources.flags, on="owner").select("span", "flag")


def _events(events: Children, names: pl.Series) -> pl.DataFrame:
    times = np.minimum(pc.struct_field(events.rows, "time_unix_nano").to_numpy(), _MAX_NS).astype(np.int64)
    return pl.DataFrame({"span": events.span, "time_ns": times, "name": names})


def _links(links: Children) -> pl.DataFrame:
    ids = {name: hex_ids(pc.struct_field(links.rows, name)) for name in ("trace_id", "span_id")}
    return pl.DataFrame({"span": links.span, **ids})
