"""One trace as a tree in the terminal: names, kinds, time bars, tokens, time to first token, cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.output import dollars, seconds

BAR = 24

_STYLES = {"llm": "magenta", "embedding": "blue", "tool": "yellow", "agent": "cyan", "retrieval": "green"}


def bar(offset: int, duration: int, ttft: int, whole: int, width: int = BAR) -> str:
    """A time bar of `width` cells for a span that begins `offset` ns into a trace of `whole` ns.

    Up to the first token the bar is light (the wait), after it solid (the stream); `ttft` is -1 when not recorded.
    """
    if whole <= 0:
        return "█".ljust(width)
    begin = min(width - 1, max(0, offset * width // whole))
    end = min(width, max(begin + 1, -(-(offset + duration) * width // whole)))
    first = begin if ttft < 0 else min(end, begin + max(1, ttft * width // whole))
    return " " * begin + "░" * (first - begin) + "█" * (end - first) + " " * (width - end)


def guides(depths: Sequence[int]) -> list[str]:
    """The branch drawing before each name, for spans in depth-first order: '', '├─ ', '│  └─ ' ..."""
    drawn: list[str] = [""] * len(depths)
    open_below: set[int] = set()
    for row in range(len(depths) - 1, -1, -1):
        depth = depths[row]
        open_below = {level for level in open_below if level <= depth}
        if depth:
            stems = "".join("│  " if level in open_below else "   " for level in range(1, depth))
            drawn[row] = stems + ("├─ " if depth in open_below else "└─ ")
            open_below.add(depth)
    return drawn


def trace_tree(trace: Mapping[str, Any], rows: int = 200) -> RenderableType:
    """`trace` is a row of the view `traces` by column name; at most `rows` spans are drawn."""
    whole = max(1, trace["duration_ns"])
    shown = min(rows, len(trace["span_ids"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("span", "kind", "time"):
        table.add_column(name, no_wrap=True)
    for name in ("duration", "ttft", "tokens in", "out", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    lead = guides(trace["depths"][:shown])
    for i in range(shown):
        kind, billed = trace["kinds"][i], trace["span_billed"][i]
        offset, duration, ttft = (trace[c][i] for c in ("start_offsets_ns", "durations_ns", "span_ttfts_ns"))
        style = "red" if trace["statuses"][i] == "error" else _STYLES.get(kind, "")
        table.add_row(
            Text(lead[i] + trace["names"][i], style=style),
            kind,
            Text(bar(offset, duration, ttft, whole), style=style),
            seconds(duration),
            seconds(ttft if ttft >= 0 else None),
            f"{trace['total_input_tokens'][i]:,}",
            f"{trace['total_output_tokens'][i]:,}",
            Text(dollars(trace["total_cost_nano"][i]), style="bold" if billed else "dim"),
        )
    parts: list[RenderableType] = [Text(_headline(trace), style="bold"), table]
    parts += [Text(note, style="dim") for note in _notes(trace, shown)]
    return Group(*parts)


def _headline(trace: Mapping[str, Any]) -> str:
    cost = dollars(trace["cost_nano"]) if trace["cost_status"] != "none" else "no call"
    return (
        f"trace {trace['trace_id']}  {seconds(trace['duration_ns'])}  {trace['span_count']} spans  "
        f"{trace['call_count']} calls  {trace['input_tokens']:,} in  {trace['output_tokens']:,} out  "
        f"{cost}  {trace['state']}"
    )


def _notes(trace: Mapping[str, Any], shown: int) -> list[str]:
    notes = []
    if shown < len(trace["span_ids"]):
        notes.append(f"not drawn: {len(trace['span_ids']) - shown:,} further spans")
    if trace["orphan_count"]:
        notes.append(f"at the top because the parent has not come: {trace['orphan_count']}")
    if trace["cycle_count"]:
        notes.append(f"in a loop of parents, cut at its first span: {trace['cycle_count']}")
    if trace["billed_elsewhere"]:
        notes.append(f"calls that another trace bills, not in the totals: {len(trace['billed_elsewhere'])}")
    if trace["unpriced_count"]:
        notes.append(f"calls without a price, not in the cost: {trace['unpriced_count']}")
    return notes
