"""The fold over metrics that finds incidents. KEY: a bucket of organisations.

| segment | holds | read and written |
|---|---|---|
| `head`, `in/<n>` | clock and inbox (transforms/folds/ticks.py) | each call |
| `index` | whose state there is, how far minutes were closed | each tick |
| `cells/<org>` | the cells of the last LIVE minutes | ticks with rows of the organisation |
| `rule/<org>/<rule>` | the series of one rule | the same; each minute |

A minute is closed SETTLE after its end, once and in order: that is one step of each series' life. Rules that need not
wait for the end of a minute fire in it. Rows older than LIVE minutes are left out: a backfill raises nothing. After a
restart or a pause, and while what comes is old, closing waits for the stream to catch up, though not longer than LIVE:
so a run that was killed and goes on finds the same incidents, under the same ids, as one that was not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
import pyarrow as pa

from schemas.arrow import BUDGET_BALANCES, METRICS
from transforms.alerts.cells import MINUTE_NS, budget_cells, metric_cells, needs_histograms, newest, sums_of
from transforms.alerts.index import INDEX, Index, read_index
from transforms.alerts.rules import HISTOGRAMS, Kind, Rule
from transforms.alerts.series import Group, Series, measures, pack, unpack
from transforms.alerts.tell import incident_rows
from transforms.alerts.watch import Change, close, end, peek, take
from transforms.folds.segments import Head, pack_tables, unpack_tables
from transforms.folds.step import Fold, State, Step
from transforms.folds.ticks import rested, ticking

LIVE = 10  # minutes
SETTLE_NS = 8 * 10**9
_PAUSED_NS, _CATCH_UP_NS, _LAG_NS = 90 * 10**9, 20 * 10**9, 10 * 10**9

Book = Mapping[str, tuple[Rule, ...]]  # by organisation
RulesAt = Callable[[int], Book]
Writes = dict[str, bytes | None]


@dataclass(frozen=True)
class AlertSettings:
    """tick_ns: how often rows are looked at. budgets: the rows are of BUDGET_BALANCES and the rules those on budgets,
    else rows of METRICS and all other rules. run: another one in each run of the process, from its start or a
    checkpoint to its end."""

    tick_ns: int = 10**9
    budgets: bool = False
    run: str = ""


def make_alerts(rules_at: RulesAt, settings: AlertSettings) -> Fold:
    """The fold; `rules_at` gives the rules in force at `now` (UTC ns). out: `incidents` (schema INCIDENTS)."""
    schema = BUDGET_BALANCES if settings.budgets else METRICS
    return ticking(partial(_tick, rules_at, settings), settings.tick_ns, schema)


def _tick(
    rules_at: Callable[[int], Book],
    settings: AlertSettings,
    state: State,
    head: Head,
    arrived: list[pa.Table],
    now: int,
) -> Step:
    book = {org: _of_kind(rules, settings.budgets) for org, rules in rules_at(now).items()}
    book = {org: rules for org, rules in book.items() if rules}
    cells = _read(arrived, settings, book)
    clock = _clock(read_index(state), cells, now, settings.run)
    last = _closable(clock, now)
    index = replace(clock, closed=_first_closed(clock, cells, now)) if clock.closed < 0 else clock
    came: dict[str, pl.DataFrame] = {} if cells is None else {str(org): one for (org,), one in cells.group_by("org")}
    writes: Writes = {}
    told: list[Change] = []
    kept: dict[str, tuple[str, ...]] = {}
    for org in sorted({*index.rules, *came}):
        if org in came or last > index.closed:
            names = _organisation(org, book.get(org, ()), state, index, came.get(org), last, now, writes, told)
        else:
            names = index.rules[org]
        if names:
            kept[org] = names
    closed = max(index.closed, last)
    if kept:
        writes[INDEX] = replace(index, rules=kept, closed=closed, tick=now).to_bytes()
        wake = max(index.held, now + 1) if closed < _settled(now) else (closed + 2) * MINUTE_NS + SETTLE_NS
    else:
        writes[INDEX] = wake = None
    out = (("incidents", incident_rows(told)),) if told else ()
    return Step(writes | rested(head, now, wake), out, wake_at=wake)


def _organisation(
    org: str,
    rules: tuple[Rule, ...],
    state: State,
    index: Index,
    came: pl.DataFrame | None,
    last: int,
    now: int,
    writes: Writes,
    told: list[Change],
) -> tuple[str, ...]:
    """Everything of one organisation in one tick; the names of its rules that have series after it."""
    found = {rule.name: (rule, _series(org, rule, state, last, told)) for rule in rules}
    for name in index.rules.get(org, ()):
        if name not in found:
            told += _dropped(org, name, state, last)
            writes[f"rule/{org}/{name}"] = None
    open_from = now // MINUTE_NS - LIVE + 1
    if came is not None:
        cells = _live(org, came, rules, state, open_from)
        writes[f"cells/{org}"] = pack_tables([cells], "lz4")
        minutes = came["minute"].unique().to_list()
        changed = cells.filter(pl.col("minute").is_in(minutes))
        for rule, series in found.values():
            groups = take(series, minutes, sums_of(changed, rule))
            told += peek(org, rule, series, groups, range(index.closed + 1, now // MINUTE_NS + 1))
    for minute in range(max(index.closed + 1, last - LIVE + 1), last + 1):
        for rule, series in found.values():
            told += close(org, rule, series, minute, open_from)
    for name, (rule, series) in found.items():
        if series or name in index.rules.get(org, ()):
            writes[f"rule/{org}/{name}"] = pack(rule, series) if series else None
    names = tuple(name for name, (_, series) in found.items() if series)
    if not names:
        writes[f"cells/{org}"] = None
    return names


def _of_kind(rules: tuple[Rule, ...], budgets: bool) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if (rule.kind is Kind.BUDGET) == budgets)


def _read(arrived: list[pa.Table], settings: AlertSettings, book: Book) -> pl.DataFrame | None:
    """What came, of organisations that have rules; None for nothing."""
    if not arrived or not book:
        return None
    cells = (budget_cells if settings.budgets else metric_cells)(arrived)
    cells = cells.filter(pl.col("org").is_in(list(book)))
    return cells if cells.height else None


def _clock(index: Index, cells: pl.DataFrame | None, now: int, run: str) -> Index:
    """`index` with closing held where ticks were missed or come from another run, or where all that came is old."""
    held = index.held
    if index.tick and (index.run != run or now - index.tick > _PAUSED_NS):
        held = now + _CATCH_UP_NS
    if cells is not None:
        newest_minute = cells["minute"].max()
        assert isinstance(newest_minute, int)
        if newest_minute < now // MINUTE_NS - 1:
            held = max(held, now + _LAG_NS)
    return replace(index, held=held, run=run)


def _settled(now: int) -> int:
    """The newest minute that is over, and SETTLE with it."""
    return (now - SETTLE_NS) // MINUTE_NS - 1


def _closable(index: Index, now: int) -> int:
    return _settled(now) if now >= index.held else min(_settled(now), now // MINUTE_NS - LIVE)


def _first_closed(index: Index, cells: pl.DataFrame | None, now: int) -> int:
    """A bucket that begins closes no minute before the first that it has rows of."""
    live = [] if cells is None else [minute for minute in cells["minute"] if minute > now // MINUTE_NS - LIVE]
    return min([_settled(now), *(minute - 1 for minute in live)])


def _live(org: str, came: pl.DataFrame, rules: tuple[Rule, ...], state: State, open_from: int) -> pl.DataFrame:
    """The cells of the last minutes, with those that came; histograms only where a rule looks at them."""
    if not needs_histograms(rules):
        came = came.drop(*(f"{name}_ns" for name in HISTOGRAMS), strict=False)
    data = state.get(f"cells/{org}")
    before = unpack_tables(data) if data else []
    # A rule that looks at histograms may be new: the cells before it have none.
    cells = pl.concat([*before, came], how="diagonal").select(came.columns)
    return newest(cells.filter(pl.col("minute") >= open_from))


def _series(org: str, rule: Rule, state: State, minute: int, told: list[Change]) -> dict[Group, Series]:
    """The series of `rule`; none when it measures another thing now, and what was open ends."""
    data = state.get(f"rule/{org}/{rule.name}")
    if data is None:
        return {}
    kept = unpack(data)
    if kept.measures == measures(rule):
        return kept.series
    told += end(org, kept.rule, kept.series, minute)
    return {}


def _dropped(org: str, name: str, state: State, minute: int) -> list[Change]:
    """The end of what was open of a rule that is no more."""
    kept = unpack(state[f"rule/{org}/{name}"])
    return list(end(org, kept.rule, kept.series, minute))
