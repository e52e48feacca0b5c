"""Blocks as they lie in state (transforms/folds/segments.py)."""

from dataclasses import replace
from typing import Literal

import polars as pl

from transforms.folds.segments import pack_tables, unpack_tables
from transforms.metrics.shown import shown
from transforms.traces.blocks import CALL, SIDES, Block


def pack(block: Block, compression: Literal["lz4", "zstd"]) -> bytes:
    """`block` as bytes; `fresh` is not kept."""
    sides = (block.sides[name] for name in SIDES)
    return pack_tables((block.traces, block.spans.drop("fresh"), *sides), compression)


def unpack(data: bytes) -> Block:
    """The block in `data`, nothing in it fresh. Raises UnknownSchemaVersion."""
    traces, spans, *sides = unpack_tables(data)
    block = Block(traces, spans.with_columns(fresh=pl.lit(False)), dict(zip(SIDES, sides, strict=True)))
    return block if "shown" in spans.columns else _from_version_1(block)


def _from_version_1(block: Block) -> Block:
    """What was told of its calls is what metrics show of them: their minutes are counted by the store."""
    call = block.sides["call"].with_columns(request_id=pl.lit("")).select(CALL)
    traces = block.traces.with_columns(pieced=pl.lit(False))
    after = block.spans.columns.index("told") + 1
    spans = block.spans.insert_column(after, pl.zeros(block.spans.height, dtype=pl.UInt8, eager=True).alias("shown"))
    block = Block(traces, spans, {**block.sides, "call": call})
    return replace(block, spans=spans.with_columns(shown=pl.Series(shown(block))))
