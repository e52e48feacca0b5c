"""Prompts and completions of spans: read from any dialect, put into one shape, content-addressed.

`messages` gives each span the hashes of what went in and what came out, message by message, so that a
conversation that resends its history is stored once.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.limits import Limits
from transforms.messages.extract import extract
from transforms.messages.rows import attribute_rows, event_rows
from transforms.messages.sources import matches
from transforms.otlp.decode import Decoded


@dataclass(frozen=True)
class Messages:
    """What the spans of a batch said.

    input_hashes, output_hashes: list[str], one per span, in order; system instructions come first.
    tool_definitions_hash: str, one per span: the tools that it offers, '' where it offers none.
    bodies: schema MESSAGES, distinct by (org, hash).
    consumed: bool per row of the spans' attributes: its content is in a message, so it is not kept as an attribute.
    event_consumed: the same per row of the events' attributes.
    flags: span i32, flag str: message_cut, messages_dropped, message_not_json.
    """

    input_hashes: pl.Series
    output_hashes: pl.Series
    tool_definitions_hash: pl.Series
    bodies: pa.Table
    consumed: np.ndarray
    event_consumed: np.ndarray
    flags: pl.DataFrame


def messages(decoded: Decoded, normalised: pl.DataFrame, limits: Limits) -> Messages:
    """Messages of all spans. `normalised`: a row per span with `dialect` (str), which orders what is tried first."""
    owners = decoded.spans.select(
        "org",
        pl.col("redact").fill_null(value=True),
        normalised["dialect"].fill_null("").alias("dialect"),
    )
    attributes, names = attribute_rows(decoded.attributes)
    events, event_names = event_rows(decoded.events, decoded.event_attributes, len(decoded.attributes.keys))
    rows = pl.concat([attributes.rows, events.rows])
    found = extract(rows, matches([*names, *event_names]), owners, limits)
    split = attributes.rows.height
    return Messages(
        input_hashes=found.hashes["input"].alias("input_hashes"),
        output_hashes=found.hashes["output"].alias("output_hashes"),
        tool_definitions_hash=found.hashes["tools"].list.first().fill_null(""),
        bodies=found.bodies,
        consumed=attributes.spread(found.taken[:split], decoded.attributes.owner.size),
        event_consumed=events.spread(found.taken[split:], decoded.event_attributes.owner.size),
        flags=found.flags,
    )
