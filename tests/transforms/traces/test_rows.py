from datetime import UTC, datetime
from typing import Any

from tests.transforms.folding import Run
from tests.transforms.skeletons import START, call, skeleton, span_id, trace_id
from transforms.traces.fold import AssembleSettings, make_assemble

SESSION: dict[str, Any] = {"session_id": "s1", "user_id": "u1"}


def trace(rows: list[dict[str, Any]]) -> dict[str, Any]:
    run = Run(make_assemble(AssembleSettings())).send(rows).drain()
    [row] = run.traces().values()
    return row


def test_a_trace_row_says_what_its_spans_say() -> None:
    row = trace(
        [
            skeleton(1, name="agent run", kind="agent", start_time=START, duration_ns=1000, service="shop"),
            skeleton(2, 1, start_time=START + 100, duration_ns=800, service="llm gateway", **SESSION),
            call(3, 2, start_time=START + 200, duration_ns=300, response_model="gpt-4o-2024", ttft_ns=50),
            call(4, 2, start_time=START + 400, duration_ns=400, status="error", ttft_ns=10, cache_read_tokens=4),
        ]
    )
    assert row["state"] == "final"
    assert (row["root_span_id"], row["root_name"], row["team"], row["key_id"]) == (
        span_id(1),
        "agent run",
        "blue",
        "k1",
    )
    assert row["start_time"].timestamp() == START // 10**9
    assert (row["duration_ns"], row["status"], row["error_count"], row["span_count"]) == (1000, "error", 1, 4)
    assert (row["orphan_count"], row["root_count"], row["cycle_count"], row["depth"]) == (0, 1, 0, 3)
    assert (row["call_count"], row["input_tokens"], row["output_tokens"]) == (2, 20, 10)
    assert (row["cache_read_tokens"], row["reasoning_tokens"], row["cost_nano"]) == (4, 0, 200)
    assert (row["cost_status"], row["unpriced_count"], row["ttft_ns"]) == ("priced", 0, 250)
    assert row["models"] == ["gpt-4o", "gpt-4o-2024"]
    assert (row["providers"], row["services"]) == (["openai"], ["llm gateway", "shop"])
    assert (row["session_id"], row["user_id"]) == ("s1", "u1")
    assert row["span_ids"] == [span_id(n) for n in (1, 2, 3, 4)]
    assert (row["parent_indexes"], row["depths"]) == ([-1, 0, 1, 1], [0, 1, 2, 2])
    assert (row["names"][0], row["kinds"]) == ("agent run", ["agent", "chain", "llm", "llm"])
    assert row["statuses"] == ["ok", "ok", "ok", "error"]
    assert (row["start_offsets_ns"], row["durations_ns"]) == ([0, 100, 200, 400], [1000, 800, 300, 400])
    assert row["span_models"] == ["", "", "gpt-4o-2024", "gpt-4o"]
    assert (row["span_ttfts_ns"], row["span_billed"]) == ([-1, -1, 50, 10], [False, False, True, True])
    assert (row["self_cost_nano"], row["total_cost_nano"]) == ([0, 0, 100, 100], [200, 200, 100, 100])
    assert (row["self_input_tokens"], row["total_input_tokens"]) == ([0, 0, 10, 10], [20, 20, 10, 10])
    assert (row["self_output_tokens"], row["total_output_tokens"]) == ([0, 0, 5, 5], [10, 10, 5, 5])
    assert row["self_time_ns"] == [200, 200, 300, 400]


def test_a_call_that_does_not_bill_counts_in_no_total() -> None:
    row = trace([call(1), call(2, 1)])
    assert (row["call_count"], row["cost_nano"], row["span_billed"]) == (1, 100, [False, True])
    assert (row["self_cost_nano"], row["total_cost_nano"]) == ([0, 100], [100, 100])


def test_the_cost_of_a_trace_says_how_much_of_it_is_known() -> None:
    unpriced = {"cost_nano": None, "cost_status": "unpriced"}
    assert trace([skeleton(1)])["cost_status"] == "none"
    assert trace([skeleton(1)])["ttft_ns"] is None
    assert trace([call(1, **unpriced)])["cost_status"] == "unpriced"
    row = trace([call(1), call(2, **unpriced)])
    assert (row["cost_status"], row["unpriced_count"], row["cost_nano"]) == ("partly", 1, 100)


def test_spans_without_a_way_to_the_root_are_shown_on_top_and_counted() -> None:
    row = trace(
        [skeleton(1), skeleton(2), skeleton(4, 3), skeleton(5, 4), skeleton(7, 8), skeleton(8, 7), skeleton(9, 9)]
    )
    assert (row["root_count"], row["orphan_count"], row["cycle_count"], row["span_count"]) == (2, 1, 3, 7)
    assert row["span_ids"] == [span_id(n) for n in (1, 2, 4, 5, 7, 8, 9)]
    assert row["parent_indexes"] == [-1, -1, -1, 2, -1, 4, -1]
    assert row["root_span_id"] == span_id(1)


def test_a_trace_whose_root_never_came_takes_its_owner_from_its_first_span() -> None:
    row = trace([skeleton(4, 3, team="red"), skeleton(5, 3, team="blue")])
    assert (row["root_span_id"], row["root_name"], row["team"]) == ("", "", "red")


def test_times_at_the_ends_of_the_range_do_not_overflow() -> None:
    latest = 2**63 - 1
    row = trace([skeleton(1, start_time=0, duration_ns=latest), skeleton(2, 1, start_time=latest, duration_ns=latest)])
    assert (row["duration_ns"], row["durations_ns"]) == (latest, [latest, 0])
    row = trace([skeleton(1, start_time=-5, duration_ns=-7)])
    assert (row["start_time"], row["duration_ns"]) == (datetime(1970, 1, 1, tzinfo=UTC), 0)


def test_traces_of_several_organisations_and_equal_ids_stay_apart() -> None:
    rows = [skeleton(1, org=org, trace_id=trace_id(n)) for org in ("acme", "globex") for n in (0, 1)]
    run = Run(make_assemble(AssembleSettings())).send(rows)
    assert sorted((row["org"], row["trace_id"], row["span_count"]) for row in run.rows("traces")) == [
        (org, trace_id(n), 1) for org in ("acme", "globex") for n in (0, 1)
    ]
