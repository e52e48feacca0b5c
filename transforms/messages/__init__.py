"""Prompts and completions of spans: read from any dialect, put into one shape, content-addressed.

`messages` gives each span the hashes of what went in and what came out, message by message, so that a
conversation that resends its history is stored once.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import MESSAGES
from schemas.limits import Limits
from transforms.decode import Decoded
from transforms.messages.extract import Extracted, extract
from transforms.messages.rows import attribute_rows, event_rows
from transforms.messages.sources import matches


@dataclass(frozen=True)
class Messages:
    """What the spans of a batch said.

    input_hashes, output_hashes: list[str], one per span, in order; system instructions come first.
    bodies: schema MESSAGES, distinct by (org, hash).
    consumed: bool per row of the spans' attributes: its content is in a message, so it is not kept as an attribute.
    event_consumed: the same per row of the events' attributes.
    flags: span i32, flag str: message_cut, messages_dropped, message_not_json.
    """

    input_hashes: pl.Series
    output_hashes: pl.Series
    bodies: pa.Table
    consumed: np.ndarray
    event_consumed: np.ndarray
    flags: pl.DataFrame


def messages(decoded: Decoded, normalised: pl.DataFrame, limits: Limits) -> Messages:
    """Messages of all spans. `normalised`: a row per span with `dialect` (str), which orders what is tried first."""
    owners = decoded.spans.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("owner"),
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
        input_hashes=side_hashes(found, "input", owners.height),
        output_hashes=side_hashes(found, "output", owners.height),
        bodies=body_table(found.bodies),
        consumed=attributes.spread(found.taken[:split], decoded.attributes.owner.size),
        event_consumed=events.spread(found.taken[split:], decoded.event_attributes.owner.size),
        flags=found.flags.rename({"owner": "span"}),
    )


def side_hashes(found: Extracted, side: str, owners: int) -> pl.Series:
    """list[str] for each of `owners` owners, empty where nothing was said on that side."""
    every = pl.DataFrame({"owner": pl.int_range(owners, dtype=pl.Int32, eager=True)})
    lists = found.lists.filter(pl.col("side") == side)
    joined = every.join(lists, on="owner", how="left", maintain_order="left")
    return joined["hashes"].fill_null(pl.Series([[]], dtype=pl.List(pl.String))).rename(f"{side}_hashes")


def body_table(bodies: pl.DataFrame) -> pa.Table:
    """Bodies in schema MESSAGES."""
    return bodies.select(MESSAGES.names).to_arrow().cast(MESSAGES)
