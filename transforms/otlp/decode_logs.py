"""Raw OTLP log requests to columns: records, their attributes, and what was refused."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.columns import pc, replace_rows
from transforms.dead_letters import dead_letters
from transforms.otlp.attribute_limits import limit_attributes
from transforms.otlp.attribute_values import Values, any_values, build_attributes
from transforms.otlp.attributes import Attributes, ValueKind
from transforms.otlp.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, hex_ids
from transforms.otlp.json_values import text_jsons
from transforms.otlp.requests import Items, count_rows, open_requests, request_rows, without_refused
from transforms.otlp.signals import LOGS
from transforms.otlp.span_columns import cut_names, origin_columns, owner_columns

_NAMES = ["event", "service", "scope", "scope_version"]
_MAX_NS = 2**63 - 1


@dataclass(frozen=True)
class DecodedLogs:
    """The log records of a batch of requests; n records, in the order in which they came.

    records: request (int32, row of the raw table), position (int64, of the record in its request), org, team, key_id
        (str), redact (bool), received_at (int64 UTC ns), trace_id, span_id (hex, '' when there is none), time_ns
        (int64 UTC ns; the time of observation when the record has no own), event (str: the event's name, else the
        attribute event.name, else ''), body_text (str: the body as JSON, NULL when there is none), service, scope,
        scope_version (str), resource (int32, owner in `resources`).
    attributes: of the records. resources: attributes of the resources.
    flags: record (int32), flag (str), distinct.
    bad: schema DEAD_LETTERS. requests: schema REQUESTS.
    """

    records: pl.DataFrame
    attributes: Attributes
    resources: Attributes
    flags: pl.DataFrame
    bad: pa.Table
    requests: pa.Table


def decode_logs(raw: pa.Table, limits: Limits) -> DecodedLogs:
    """Decode the records of `raw` (schema RAW) whose signal is `logs`.

    What cannot be decoded, has an id of a wrong length or a time beyond int64 ns becomes a dead letter, as in
    `decode`. A record needs no ids; ids of zeros count as none (opentelemetry-proto, logs.proto).
    """
    opened = open_requests(raw, LOGS)
    items = without_refused(raw, opened, _errors(opened.items))
    resources = limit_attributes(build_attributes(pc.struct_field(items.resources, "attributes")), limits)
    attributes = limit_attributes(build_attributes(pc.struct_field(items.items, "attributes")), limits)
    own = _columns(items, attributes.attributes)
    owners = [own, owner_columns(raw, items.request), origin_columns(items, resources.attributes)]
    records, name_flags = cut_names(pl.concat(owners, how="horizontal"), _NAMES, limits)
    flags = pl.concat([name_flags.rename({"span": "record"}), attributes.flags.rename({"owner": "record"})])
    return DecodedLogs(
        records=records,
        attributes=attributes.attributes,
        resources=resources.attributes,
        flags=flags.unique(maintain_order=True),
        bad=dead_letters(raw, items.refused, "decode", ""),
        requests=request_rows(raw, items.received, count_rows(items.refused, raw.num_rows), ["logs"]),
    )


def _errors(records: pa.StructArray) -> dict[str, np.ndarray]:
    found = {}
    for name, size, error in (
        ("trace_id", TRACE_ID_BYTES, "InvalidTraceId"),
        ("span_id", SPAN_ID_BYTES, "InvalidSpanId"),
    ):
        length = pc.binary_length(pc.struct_field(records, name)).to_numpy()
        found[error] = ~np.isin(length, (0, size))
    found["TimeOutOfRange"] = _times(records) > _MAX_NS
    return {error: where for error, where in found.items() if where.any()}


def _times(records: pa.StructArray) -> np.ndarray:
    own = pc.struct_field(records, "time_unix_nano").to_numpy()
    return np.where(own > 0, own, pc.struct_field(records, "observed_time_unix_nano").to_numpy())


def _columns(items: Items, attributes: Attributes) -> pl.DataFrame:
    named = pl.Series(pc.struct_field(items.items, "event_name"), dtype=pl.String)
    told = attributes.texts_at(attributes.first(["event.name"])).fill_null("")
    return pl.DataFrame(
        {
            "request": items.request,
            "position": items.position,
            "trace_id": _known_ids(pc.struct_field(items.items, "trace_id"), TRACE_ID_BYTES),
            "span_id": _known_ids(pc.struct_field(items.items, "span_id"), SPAN_ID_BYTES),
            "time_ns": _times(items.items).astype(np.int64),
            "event": pl.select(pl.when(named == "").then(told).otherwise(named)).to_series(),
            "body_text": _body_texts(any_values(pc.struct_field(items.items, "body"))),
        }
    )


def _known_ids(ids: pa.Array, size: int) -> pl.Series:
    return hex_ids(ids).replace("0" * 2 * size, "")


def _body_texts(values: Values) -> pl.Series:
    """Values as JSON texts: numbers, arrays and objects are JSON as they are; NULL for an empty value."""
    texts = pl.Series(values.text, dtype=pl.String)
    strings = np.isin(values.kind, (ValueKind.STRING, ValueKind.BYTES))
    quoted = pl.Series(text_jsons(values.text.filter(pa.array(strings))), dtype=pl.String)
    texts = replace_rows(texts, pl.Series(np.flatnonzero(strings)), quoted)
    missing = (values.kind == ValueKind.EMPTY) | ((values.kind == ValueKind.DOUBLE) & ~_known(values.number))
    return texts.set(pl.Series(missing), None)


def _known(numbers: pa.Array) -> np.ndarray:
    return numbers.is_valid().to_numpy(zero_copy_only=False)
