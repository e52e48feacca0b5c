from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.tree import bar, guides, trace_tree


@pytest.mark.parametrize(
    ("offset", "duration", "ttft", "whole", "expected"),
    [
        (0, 100, -1, 100, "██████████"),
        (50, 50, -1, 100, "     █████"),
        (0, 100, 50, 100, "░░░░░█████"),
        (99, 1, -1, 100, "         █"),
        (0, 0, -1, 0, "█         "),
        (-5, 200, -1, 100, "██████████"),
    ],
)
def test_a_bar_shows_the_wait_light_and_the_stream_solid(offset, duration, ttft, whole, expected):
    assert bar(offset, duration, ttft, whole, width=10) == expected


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.integers(-1, 2**40), st.integers(0, 2**40))
def test_a_bar_is_always_as_wide_as_its_column(offset, duration, ttft, whole):
    assert len(bar(offset, duration, ttft, whole, width=24)) == 24


def test_guides_draw_the_branches_of_spans_in_depth_first_order():
    assert guides([0, 1, 2, 1, 2, 0]) == ["", "├─ ", "│  └─ ", "└─ ", "   └─ ", ""]


def test_a_trace_is_drawn_with_names_kinds_tokens_first_token_and_cost():
    trace = {
        "trace_id": "ab" * 16,
        "duration_ns": 2_000_000_000,
        "span_count": 2,
        "call_count": 1,
        "input_tokens": 1200,
        "output_tokens": 34,
        "cost_nano": 1_234_000,
        "cost_status": "priced",
        "state": "final",
        "orphan_count": 1,
        "cycle_count": 0,
        "unpriced_count": 0,
        "billed_elsewhere": ["c"],
        "span_ids": ["a", "b"],
        "depths": [0, 1],
        "names": ["agent", "chat gpt-4o"],
        "kinds": ["agent", "llm"],
        "statuses": ["ok", "ok"],
        "start_offsets_ns": [0, 10**9],
        "durations_ns": [2 * 10**9, 10**9],
        "span_ttfts_ns": [-1, 81_000_000],
        "span_billed": [False, True],
        "total_input_tokens": [1200, 1200],
        "total_output_tokens": [34, 34],
        "total_cost_nano": [1_234_000, 1_234_000],
    }
    out = StringIO()
    Console(file=out, width=160).print(trace_tree(trace))
    text = out.getvalue()
    assert "└─ chat gpt-4o" in text
    assert "81 ms" in text
    assert "$0.001234" in text
    assert "at the top because the parent has not come: 1" in text
    assert "calls that another trace bills, not in the totals: 1" in text
