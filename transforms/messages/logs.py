"""GenAI log records: what was said in a call, joined to its span by trace and span id, else by response id.

Some libraries send prompts and completions as log events and keep them off the spans. Records of other kinds
give no row.
"""

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import SPAN_LOGS
from schemas.limits import Limits
from transforms.cuts import cut
from transforms.messages.extract import ROWS, extract
from transforms.messages.rows import Names, event_rows
from transforms.messages.sources import matches
from transforms.otlp.attributes import Attributes
from transforms.otlp.decode import DecodedLogs
from transforms.redact.texts import redact_text

RESPONSE_ID = "gen_ai.response.id"
_NO_BODY = ("", "null", '""', "{}")


def span_logs(decoded: DecodedLogs, limits: Limits) -> tuple[pa.Table, pa.Table]:
    """The GenAI events among `decoded.records` (schema SPAN_LOGS, in order) and their messages (MESSAGES).

    A record is one when its event name starts with `gen_ai.`. `id` is the hash of the record as it was sent, so
    that the same record twice is one row. What is no message stays in `attributes`, a body as `body`.
    """
    records = decoded.records.with_row_index("record").with_columns(genai=_is_genai())
    owners = records.select(
        "org",
        pl.col("redact").fill_null(value=True),
        pl.lit("").alias("dialect"),
    )
    told, names = event_rows(records.select(pl.col("record").alias("span"), name="event"), decoded.attributes, 0)
    bodies, body_names = _body_rows(records, len(names))
    found = extract(pl.concat([told.rows, bodies]), matches([*names, *body_names]), owners, limits)
    taken = told.spread(found.taken[: told.rows.height], decoded.attributes.owner.size)
    said = np.zeros(records.height, dtype=bool)
    said[bodies["owner"].to_numpy()[found.taken[told.rows.height :]]] = True
    table = records.with_columns(
        decoded.attributes.texts_at(decoded.attributes.first([RESPONSE_ID])).fill_null("").alias("response_id"),
        _ids(records, decoded.attributes),
        _day(limits),
        input_hashes=found.hashes["input"],
        output_hashes=found.hashes["output"],
        time=pl.col("time_ns").cast(pl.Datetime("ns", "UTC")),
    )
    columns = table.select(name for name in SPAN_LOGS.names if name != "attributes").to_arrow()
    attributes = _attribute_map(records, decoded.attributes, ~taken, ~said, limits)
    whole = columns.add_column(SPAN_LOGS.names.index("attributes"), "attributes", attributes).cast(SPAN_LOGS)
    return whole.filter(pa.array(records["genai"].to_numpy())), found.bodies


def _is_genai() -> pl.Expr:
    return pl.col("event").str.starts_with("gen_ai.").fill_null(value=False)


def _has_body() -> pl.Expr:
    return pl.col("genai") & ~pl.col("body_text").fill_null("").is_in(_NO_BODY)


def _body_rows(records: pl.DataFrame, base: int) -> tuple[pl.DataFrame, Names]:
    """Bodies of GenAI records as rows of content: the name of a body is `event name/`, numbered from `base`."""
    with_body = records.filter(_has_body())
    events = with_body["event"].unique(maintain_order=True)
    numbered = pl.DataFrame({"event": events}).with_row_index("code", offset=base)
    rows = with_body.join(numbered, on="event", maintain_order="left").select(
        owner="record", code="code", occurrence="record", text="body_text"
    )
    return rows.cast(ROWS), [(base + number, f"{event}/") for number, event in enumerate(events)]


def _ids(records: pl.DataFrame, attributes: Attributes) -> pl.Series:
    """BLAKE2b-128 of each record as it was sent, in hex."""
    held = pl.DataFrame(
        {"record": attributes.owner, "key": _keys(attributes), "text": attributes.texts},
        schema_overrides={"record": pl.UInt32},
    )
    held = held.group_by("record", maintain_order=True).agg(pl.struct("key", "text").alias("attributes"))
    identity = ["org", "trace_id", "span_id", "time_ns", "event", "body_text", "attributes"]
    text = records.join(held, on="record", how="left", maintain_order="left").select(
        pl.struct(identity).struct.json_encode()
    )
    hashes = [hashlib.blake2b(item.encode(), digest_size=16).hexdigest() for item in text.to_series()]
    return pl.Series("id", hashes, dtype=pl.String)


def _day(limits: Limits) -> pl.Expr:
    """The day of the record, 1970-01-01 when it is too far from the time of receipt."""
    age = pl.col("received_at") - pl.col("time_ns")
    known = pl.col("time_ns").is_between(0, 2**62) & age.is_between(-limits.future_ns, limits.past_ns)
    time = pl.when(known).then("time_ns").otherwise(0).cast(pl.Datetime("ns", "UTC"))
    return time.dt.date().alias("day")


def _keys(attributes: Attributes) -> pl.Series:
    return pl.Series("key", attributes.keys, dtype=pl.String).gather(attributes.code)


def _attribute_map(
    records: pl.DataFrame, attributes: Attributes, kept: np.ndarray, body_kept: np.ndarray, limits: Limits
) -> pa.MapArray:
    """What is left of each record beside its messages: redacted, cut to the limits."""
    positions = np.flatnonzero(kept)
    held = pl.DataFrame(
        {
            "record": pl.Series(attributes.owner[positions], dtype=pl.UInt32),
            "key": _keys(attributes).gather(positions),
            "text": attributes.texts.gather(positions),
        }
    )
    bodies = records.filter(_has_body() & pl.Series(body_kept)).select(
        "record", pl.lit("body").alias("key"), text="body_text"
    )
    rows = pl.concat([held, bodies]).join(records.select("record", "redact"), on="record")
    rows = rows.sort("record", maintain_order=True).unique(["record", "key"], keep="first", maintain_order=True)
    texts, _ = cut(redact_text(rows["text"], rows["redact"]), limits.value_bytes)
    keys, _ = cut(redact_text(rows["key"], rows["redact"]), limits.key_bytes)
    offsets = np.searchsorted(rows["record"].to_numpy(), np.arange(records.height + 1))
    return pa.MapArray.from_arrays(
        pa.array(offsets, pa.int32()), keys.to_arrow().cast(pa.string()), texts.to_arrow().cast(pa.string())
    )
