"""Tokens of successful calls for which the library sent none: counted from what was said.

Only a side that is missing is counted, and only from content that is there: a call without any stays without usage, and
a call that failed bills what its provider reported. What the numbers are worth is said by `token_source`, the weaker of
both sides: `counted` with the model's own encoding, else `estimated`. Token flags: input_tokens_counted,
output_tokens_counted; tokens_incomplete where the count is too low, since a side has no content, content is no text or
was cut, or the model bills thoughts that it does not show. Messages are counted as they are stored, so redacted ones as
what redaction left of them.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.encodings import encoding, encodings
from transforms.columns import pc
from transforms.messages import Messages
from transforms.normalise.count_text import TokenCache, count_tokens, text_tokens
from transforms.normalise.errors import ERROR
from transforms.otlp.attributes import Attributes
from transforms.otlp.decode import Decoded

_LOST = ["message_cut", "messages_dropped"]  # flags of spans of which not all messages are there
_KEY = ["span", "side"]


def fill_missing(normalised: pl.DataFrame, said: Messages, decoded: Decoded, cache: TokenCache) -> pl.DataFrame:
    """`normalised` with the tokens, tpot_ns, token_source and token_flags of the calls that can be counted.

    Rows are the spans of `decoded`. An input is counted by the rule of OpenAI's chat format, whatever the model, with
    the JSON text of its tools; the input of an embedding or a text completion is its text alone. An embedding has no
    output. `cache` changes the speed only.
    """
    sides = _missing_sides(normalised, said, decoded)
    if sides.is_empty():
        return normalised
    counts = pl.concat(_counts(of_one, said.bodies, cache) for of_one in sides.partition_by("encoding"))
    sides = sides.join(counts, on=_KEY).join(_tools(sides, decoded.attributes), on=_KEY, how="left")
    chat = pl.when("framed").then(pl.col("framing") + encodings().framing.reply).otherwise(0)
    tools = pl.col("tools").fill_null(0)
    counted = sides.select(
        *_KEY,
        tokens=((pl.col("content") + chat + tools) * pl.col("per_mille") + 500) // 1_000,
        exact=pl.col("exact") & pl.col("own") & (tools == 0),
        incomplete=~pl.col("whole") | pl.col("lost") | pl.col("hidden"),
    )
    return _filled(normalised, counted, decoded.spans)


def _missing_sides(normalised: pl.DataFrame, said: Messages, decoded: Decoded) -> pl.DataFrame:
    """A row per side that has content and no tokens.

    span i32, side, hashes, framed, lost; of the tokeniser: encoding, per_mille, own, hidden (for an output).
    """
    llm = pl.col("kind") == "llm"
    spans = normalised.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("span"),
        "response_model",
        "request_model",
        chat=llm & pl.col("operation").ne_missing("text_completion"),
        input=pl.col("input_tokens").is_null(),
        output=pl.col("output_tokens").is_null() & llm,
        input_hashes=said.input_hashes,
        output_hashes=said.output_hashes,
    )
    calls = spans.filter(normalised["is_call"] & (decoded.spans["status_code"] != ERROR))
    lost = said.flags.filter(pl.col("flag").is_in(_LOST))["span"].unique()
    sides = [
        calls.filter(pl.col(side) & (pl.col(f"{side}_hashes").list.len() > 0)).select(
            "span",
            "response_model",
            "request_model",
            side=pl.lit(side),
            hashes=f"{side}_hashes",
            framed=pl.col("chat") & (side == "input"),
            lost=pl.col("span").is_in(lost.implode()),
        )
        for side in ("input", "output")
    ]
    return _with_tokenisers(pl.concat(sides))


def _with_tokenisers(sides: pl.DataFrame) -> pl.DataFrame:
    models = ["response_model", "request_model"]
    distinct = sides.select(models).unique(maintain_order=True)
    found = [encodings().of(answered, asked) for answered, asked in distinct.iter_rows()]
    distinct = distinct.with_columns(
        encoding=pl.Series([one.encoding for one in found], dtype=pl.String),
        per_mille=pl.Series([one.per_mille for one in found], dtype=pl.Int64),
        own=pl.Series([one.exact for one in found], dtype=pl.Boolean),
        thinks=pl.Series([one.hidden_reasoning for one in found], dtype=pl.Boolean),
    )
    sides = sides.join(distinct, on=models, nulls_equal=True, maintain_order="left").drop(models)
    return sides.with_columns(hidden=pl.col("thinks") & (pl.col("side") == "output")).drop("thinks")


def _counts(sides: pl.DataFrame, bodies: pa.Table, cache: TokenCache) -> pl.DataFrame:
    """content, framing, exact, whole of each of `sides`, all of one encoding: its messages together."""
    listed = sides.select(*_KEY, hash="hashes").explode("hash")
    wanted = bodies.filter(pc.is_in(bodies["hash"], listed["hash"].unique().to_arrow()))
    distinct = pl.DataFrame(wanted.select(["hash", "body"]).to_pydict(), schema={"hash": pl.String, "body": pl.String})
    counted = count_tokens(distinct, sides["encoding"][0], cache)
    return (
        listed.join(counted, on="hash")
        .group_by(_KEY)
        .agg(pl.col("content", "framing").sum(), pl.col("exact", "whole").all())
    )


def _tools(sides: pl.DataFrame, attributes: Attributes) -> pl.DataFrame:
    """tools: tokens of the tool definitions of each framed side that has any."""
    inputs = sides.filter("framed").select(*_KEY, "encoding")
    offered = [pl.DataFrame(schema=inputs.schema | {"text": pl.String})]
    for pattern in encodings().tools:
        keys = [key for key in attributes.keys if pattern.fullmatch(key)]
        said = [inputs.join(_texts(attributes, key), on="span") for key in keys]
        inputs = inputs.join(pl.concat([offered[0], *said]), on=_KEY, how="anti")
        offered += said
    texts = pl.concat(offered)
    distinct = texts.select("encoding", "text").unique()
    tokens = [text_tokens(text, encoding(name))[0] for name, text in distinct.iter_rows()]
    counted = texts.join(distinct.with_columns(tools=pl.Series(tokens, dtype=pl.Int64)), on=["encoding", "text"])
    return counted.group_by(_KEY).agg(pl.col("tools").sum())


def _texts(attributes: Attributes, key: str) -> pl.DataFrame:
    at = attributes.positions(key)
    return pl.DataFrame({"span": attributes.owner[at], "text": attributes.texts.gather(at)})


def _filled(normalised: pl.DataFrame, counted: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """`normalised` with the rows of `counted` (span, side, tokens, exact, incomplete)."""
    calls = counted.group_by("span", maintain_order=True).agg(
        *(pl.col("tokens").filter(pl.col("side") == side).first().alias(side) for side in ("input", "output")),
        pl.col("exact").all(),
        pl.col("incomplete").any(),
    )
    rows = calls["span"]
    old = normalised[rows].with_columns(
        took=spans.select(pl.col("end_ns") - pl.col("start_ns")).to_series().gather(rows),
        counted_input=calls["input"].is_not_null(),
        counted_output=calls["output"].is_not_null(),
        input_tokens=pl.coalesce(pl.col("input_tokens"), calls["input"]),
        output_tokens=pl.coalesce(pl.col("output_tokens"), calls["output"]),
    )
    one_sided = pl.col("input_tokens").is_null() | (pl.col("output_tokens").is_null() & (pl.col("kind") == "llm"))
    new = old.with_columns(incomplete=calls["incomplete"] | one_sided, exact=calls["exact"])
    new = new.with_columns(token_source=_source(), token_flags=_flags(), tpot_ns=_tpot()).select(normalised.columns)
    order = np.arange(normalised.height)
    order[rows.to_numpy()] = np.arange(normalised.height, normalised.height + new.height)
    return pl.concat([normalised, new])[order]


def _source() -> pl.Expr:
    """The weaker of what was reported, if anything was, and what was counted."""
    counted = pl.when(pl.col("exact") & ~pl.col("incomplete")).then(pl.lit("counted")).otherwise(pl.lit("estimated"))
    return pl.when(pl.col("token_source").eq_missing("estimated")).then(pl.lit("estimated")).otherwise(counted)


def _flags() -> pl.Expr:
    added = {
        "input_tokens_counted": pl.col("counted_input"),
        "output_tokens_counted": pl.col("counted_output"),
        "tokens_incomplete": pl.col("incomplete"),
    }
    names = (pl.when(applies).then(pl.lit(flag)) for flag, applies in added.items())
    return pl.concat_list("token_flags", *names).list.drop_nulls().list.sort()


def _tpot() -> pl.Expr:
    """As `normalise` computes it, where a counted output makes it known."""
    gaps = pl.col("output_tokens") - 1
    known = pl.col("counted_output") & (gaps > 0)
    return pl.when(known).then((pl.col("took") - pl.col("ttft_ns")) // gaps).otherwise("tpot_ns")
