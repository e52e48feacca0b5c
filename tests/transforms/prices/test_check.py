"""The cost of a call against tokens times price, by a second way of adding it up."""

from functools import cache

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.price_book import PriceBook, compile_book
from transforms.prices.check import cost_differs
from transforms.prices.pricing import price

TOKENS = ("cache_read", "cache_write", "cache_write_1h", "audio_input", "reasoning", "audio_output")
START = 1_795_420_716_000_000_000


@cache
def book() -> PriceBook:
    return compile_book()


@st.composite
def calls(draw: st.DrawFn) -> pl.DataFrame:
    """Calls to models of the book whose parts fit into their wholes."""
    models = book().rows.filter(pl.col("context") == "").select("provider", "model").unique(maintain_order=True)
    chosen = draw(st.lists(st.integers(0, models.height - 1), min_size=1, max_size=20))
    rows = []
    for provider, model in models[chosen].iter_rows():
        count = {name: draw(st.none() | st.integers(0, 10**6)) for name in TOKENS}
        if count["cache_write"] is None:
            count["cache_write_1h"] = None
        elif count["cache_write_1h"] is not None:
            count["cache_write_1h"] = min(count["cache_write_1h"], count["cache_write"])
        sides = {
            "input": sum(count[name] or 0 for name in ("cache_read", "cache_write", "audio_input")),
            "output": sum(count[name] or 0 for name in ("reasoning", "audio_output")),
        }
        more = {side: known + draw(st.integers(0, 10**6)) for side, known in sides.items()}
        rows.append(
            {"provider": provider, "request_model": model, "start_ns": START}
            | {f"{name}_tokens": value for name, value in (count | more).items()}
        )
    texts = dict.fromkeys(("provider", "request_model", "response_model", "service_tier"), pl.String)
    counts = {f"{name}_tokens": pl.Int64 for name in (*TOKENS, "input", "output")}
    return pl.DataFrame(rows, schema={**texts, "start_ns": pl.Int64, "batch": pl.Boolean, **counts})


@settings(max_examples=100, deadline=None)
@given(calls())
def test_every_cost_is_tokens_times_price(asked):
    priced = asked.hstack(price(asked, book()).select("cost_nano", "cost_status", "price_id"))
    assert not cost_differs(priced, book()).any()
    told = priced.filter(pl.col("cost_status") == "priced")
    off = told.with_columns(pl.col("cost_nano") + 2)  # one off is half a nano-dollar off where a half was rounded
    assert cost_differs(off, book()).all()


def test_a_cost_whose_price_is_not_in_the_book_differs():
    asked = pl.DataFrame(
        {name: [None] for name in ("input_tokens", "output_tokens", *(f"{part}_tokens" for part in TOKENS))},
        schema_overrides=dict.fromkeys(("input_tokens", "output_tokens", *(f"{p}_tokens" for p in TOKENS)), pl.Int64),
    ).with_columns(cost_nano=pl.Series([7], dtype=pl.Int64), price_id=pl.lit("no/such@price"))
    assert cost_differs(asked, book()).to_list() == [True]
