"""Which candidates of one trace are sightings of one call, where layers of instrumentation lie on one another.

1. By response id: the same one, not empty.
2. By match, as many libraries send no id and a proxy may send one of its own. Candidates are *layered* when they used
the same tokens (equal input, more than none, and equal output) and come from several instrumentation scopes. Of each
scope the innermost take part. Those whose times overlap are numbered by their start within each scope, and the first
of one scope is the first of the others, and so on: two calls of one scope are never taken for one. A match counts if
- the shortest lies within all the others, with 95 % of its duration at least;
- all name a common model, asked for or answered, whatever its gateway's prefix, its region or its date;
- at most one id among them is a provider's; and
- with what their ids bring along they still used the same tokens, and no scope has two that are not one below another.

Across traces there is no match: no tree and no common parent speaks for it, and equal counts alone prove nothing.
"""

import polars as pl

# Candidates with the same tokens.
BUCKET = ("trace", "input_tokens", "output_tokens")

# LiteLLM answers in place of Anthropic with an id of its own: a UUID with its dashes, which no provider sends.
_OF_A_PROXY = r"^chatcmpl-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"
_PREFIX = r"^(?:.*/)?(?:[a-z-]+\.)*"
_SNAPSHOT = r"(?:[-@:](?:20\d{2}-?\d{2}-?\d{2}|latest|default))?(?:-v\d+(?::\d+)?)?$"
_COVERED = 0.95


def layered() -> pl.Expr:
    """Which calls (see same_calls) may be one with a call of another scope, by their tokens alone (bool)."""
    return (pl.col("input_tokens") > 0) & (pl.col("scope").n_unique().over(BUCKET) > 1)


def same_calls(calls: pl.DataFrame) -> pl.Series:
    """call: for each of `calls` the row of the first sighting of its call (int64): equal for the sightings of one call.

    calls: those of one trace by start and span id, with row (int64), trace, response_id, scope (text, '' for none),
    request_model, response_model, start, end (UTC ns), input_tokens, output_tokens (0 where not known), and place,
    close: where the positions of its subtree in the forest begin and end.
    """
    by_id = pl.col("row").first().over("trace", "response_id")
    rows = calls.with_columns(call=pl.when(pl.col("response_id") == "").then("row").otherwise(by_id))
    layers = rows.filter(layered())
    if layers.is_empty():
        return rows["call"]
    rows = rows.join(_matched(layers, rows), on="call", how="left", maintain_order="left")
    return rows.select(pl.coalesce("joined", "call").alias("call")).to_series()


def _matched(layers: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """call, and the least call that it is one with (joined); a row for each call of `layers` that is matched.

    layers: those of `rows` that are layered.
    """
    layers = _in_bursts(_innermost(layers)).with_columns(nth=pl.int_range(pl.len()).over(*BUCKET, "burst", "scope"))
    group = (*BUCKET, "burst", "nth")
    groups = layers.filter(pl.len().over(group) > 1).with_columns(model=_models()).group_by(group)
    ids, names = pl.col("response_id"), pl.col("model").list.explode()
    common = pl.col("end").min() - pl.col("start").max()
    shortest = (pl.col("end") - pl.col("start")).min()
    matched = groups.agg(
        "call",
        joined=pl.col("call").min(),
        overlap=(common >= shortest * _COVERED) & (common >= 0),
        model=names.filter(names != "").unique_counts().max() == pl.len(),
        id=ids.filter((ids != "") & ~ids.str.contains(_OF_A_PROXY)).n_unique() <= 1,
    ).filter("overlap", "model", "id")
    matched = matched.select(pl.int_range(pl.len()).alias("match"), "call", "joined").explode("call")
    return _consistent(matched, rows).group_by("call").agg(pl.col("joined").min())


def _consistent(matched: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of `matched` (match, call, joined) whose calls, with all of `rows` that their ids make part of them, can be
    one."""
    members = matched.unique(["match", "call"]).join(rows, on="call").sort("match", "scope", "place")
    layer = ("match", "scope")
    fits = members.select(
        "match",
        tokens=(pl.struct("input_tokens", "output_tokens").n_unique() == 1).over("match"),
        id=(pl.col("response_id").n_unique() == 1).over(layer),
        nested=(pl.col("place") < pl.col("close").shift(1)).fill_null(True).all().over(layer),
    )
    good = fits.group_by("match").agg(pl.all_horizontal("tokens", "id", "nested").all().alias("good")).filter("good")
    return matched.join(good, on="match", how="semi")


def _innermost(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` without those that have one of their own scope and tokens below them, by start."""
    below = pl.col("place").shift(-1).over(*BUCKET, "scope") < pl.col("close")
    return rows.sort("place").filter(~below.fill_null(False)).sort("row")


def _in_bursts(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, which come by start, with burst: equal within a bucket for those whose times overlap, one to the next."""
    reached = pl.col("end").cum_max().shift(1).over(BUCKET)
    rows = rows.with_columns(opens=(pl.col("start") > reached).fill_null(True))
    return rows.with_columns(burst=pl.col("opens").cast(pl.Int64).cum_sum().over(BUCKET))


def _models() -> pl.Expr:
    """list of text: the names of the model, without what differs from layer to layer."""
    names = [
        pl.col(name).fill_null("").str.to_lowercase().str.replace(_PREFIX, "").str.replace(_SNAPSHOT, "")
        for name in ("request_model", "response_model")
    ]
    return pl.concat_list(names).list.unique()
