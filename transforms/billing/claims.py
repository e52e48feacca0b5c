"""Claims: what a trace says of a call that other traces may have seen too.

A call is matched across traces by the response id that its provider gave it, so only a span that has one claims. A
span whose sightings name several ids claims each of these calls, and only that of its fullest sighting can stand: so
which claims there are follows from the set of spans alone.

A claim's version is the number of sightings of its span, plus that of its trace once something in the trace may
speak against it. It grows whenever what the claim says changes, and it is a function of the set of spans.
"""

import polars as pl
import pyarrow as pa

from schemas.arrow import CLAIMS
from transforms.billing.ledger import call_ids
from transforms.traces.blocks import Block, expand

# Some servers count their answers from 1 or draw from a thousand numbers ("chatcmpl-123"): such an id names no call
# of an organisation. The ids of providers have 20 characters and more.
IDENTIFYING = 16


def claims(block: Block, calls: pl.DataFrame) -> pa.Table:
    """CLAIMS rows for `calls`: winners out of `block`, expanded.

    Further columns of `calls`: call_id; gone, may (bool), the verdict of the trace; sightings, of the trace.
    """
    own = calls.with_columns(stands=~pl.col("gone"), seen=pl.lit(1, pl.UInt32))
    losers = block.spans.filter(~pl.col("won"))
    if losers.height:
        own, others = _several(block, own, losers)
        own = pl.concat([own, others], how="diagonal")
    named = own.filter(pl.col("response_id").str.len_bytes() >= IDENTIFYING).with_columns(
        start_time="start",
        duration_ns="duration",
        record="version",
        version=(pl.col("seen") + pl.when("may").then("sightings").otherwise(0)).cast(pl.UInt64),
    )
    return named.select(CLAIMS.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(CLAIMS)


def _several(block: Block, own: pl.DataFrame, losers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`own` claims with how often their span was seen, and the claims of the other response ids of these spans."""
    span = ["trace", "span"]
    counts = losers.group_by(span).len("more")
    own = own.join(counts, on=span, how="left", maintain_order="left").with_columns(
        seen=1 + pl.col("more").fill_null(0)
    )
    verdict = own.select(*span, "may", "sightings", "seen", winning=pl.col("response_id").fill_null(""))
    others = expand(block, losers.join(own, on=span, how="semi")).join(verdict, on=span)
    others = (
        others.filter(pl.col("response_id").fill_null("") != pl.col("winning"))
        .sort("version")
        .unique([*span, "response_id"], keep="last", maintain_order=True)
    )
    return own.drop("more"), others.drop("winning").with_columns(stands=pl.lit(False), call_id=call_ids(others))
