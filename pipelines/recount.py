"""Counts minutes of metrics anew in the store, from `usage` and `spans`: one INSERT SELECT.

The rules are those of transforms/metrics: calls, tokens and cost are sums over the ledger, latencies those of the
billed calls, errors the failed calls that have no call directly below them. A series that was there and is no more
becomes a row of zeros. Versions are above those of the fold over metrics, and grow.
"""

from collections.abc import Iterable
from datetime import date

from schemas.arrow import MEASURES, METRICS, SERIES
from schemas.limits import LIMITS
from transforms.billing.duplicates import TAKEN_BACK
from transforms.billing.ledger import STANDS
from transforms.metrics.cells import OTHER
from transforms.metrics.histogram import SCALE
from transforms.traces.blocks import TOKENS

_NAMES = ", ".join(name for name, _ in SERIES)
_BOUNDED = tuple(name for name, _ in SERIES if name not in ("org", "team", "key_id"))
_AMOUNTS = ("calls", "errors", "attempts", "unpriced_calls", *TOKENS, "cost_nano")

_MINUTE = "if(day = toDate(0), toDateTime(0, 'UTC'), toStartOfMinute({time}))"
_OF_USAGE, _OF_SPAN = _MINUTE.format(time="time"), _MINUTE.format(time="start_time")
_ERROR = "status = 'error' AND cost_status != 'none'"
_TRACES = (
    f"(SELECT org, trace_id FROM usage_data WHERE (org, {_OF_USAGE}) IN asked)"
    f" UNION DISTINCT (SELECT org, trace_id FROM spans_data WHERE {_ERROR} AND (org, {_OF_SPAN}) IN asked)"
)


def _listed(parts: Iterable[str]) -> str:
    return ",\n    ".join(parts)


def _latency(name: str) -> Iterable[str]:
    value = f"span.{name}_ns"
    bucket = f"toInt16(ceil(log2(greatest({value}, 1)) * {2**SCALE}) - 1)"
    yield f"sumMapIf(map(assumeNotNull({bucket}), weight), ifNull({value}, 0) > 0) AS {name}_ns"
    yield f"sumIf(weight, {value} <= 0) AS {name}_zeros"


_CALLS = f"""
SELECT
    {_NAMES}, minute,
    sum(weight) AS calls,
    toInt64(0) AS errors,
    sum(weight) AS attempts,
    sumIf(weight, cost_status = 'unpriced') AS unpriced_calls,
    {_listed(f"ifNull(sum({name}), 0) AS {name}" for name in (*TOKENS, "cost_nano"))},
    {_listed(part for name in MEASURES for part in _latency(name))}
FROM
(
    SELECT
        *,
        {_OF_USAGE} AS minute,
        toInt64(multiIf(
            entry = 'charge', 1,
            entry = 'reversal' AND reason NOT IN ('{STANDS}', '{TAKEN_BACK}'), -1,
            0)) AS weight
    FROM usage_data FINAL
    WHERE (org, trace_id) IN traces
) AS entry
LEFT JOIN
(
    SELECT org, trace_id, span_id, toNullable(duration_ns) AS duration_ns, ttft_ns, tpot_ns
    FROM spans_data FINAL
    WHERE (org, trace_id) IN traces
) AS span USING (org, trace_id, span_id)
WHERE (org, minute) IN asked
GROUP BY {_NAMES}, minute"""

_ERRORS = f"""
SELECT
    {_NAMES}, minute,
    toInt64(0) AS calls,
    toInt64(count()) AS errors,
    toInt64(countIf((org, trace_id, span_id) NOT IN
        (SELECT org, trace_id, span_id FROM usage_data WHERE entry = 'charge' AND (org, trace_id) IN traces)))
        AS attempts,
    {_listed(f"toInt64(0) AS {name}" for name in ("unpriced_calls", *TOKENS, "cost_nano"))},
    {_listed(f"CAST(map(), 'Map(Int16, Int64)') AS {name}_ns, toInt64(0) AS {name}_zeros" for name in MEASURES)}
FROM
(
    SELECT *, {_OF_SPAN} AS minute, if(response_model != '', response_model, request_model) AS model
    FROM spans_data FINAL
    WHERE (org, trace_id) IN traces
) AS span
WHERE {_ERROR}
    AND (org, minute) IN asked
    AND (org, trace_id, span_id) NOT IN
        (SELECT org, trace_id, parent_span_id FROM spans_data FINAL
         WHERE cost_status != 'none' AND (org, trace_id) IN traces)
GROUP BY {_NAMES}, minute"""

_THERE = f"""
SELECT
    {_NAMES}, minute,
    {_listed(f"toInt64(0) AS {name}" for name in _AMOUNTS)},
    {_listed(f"CAST(map(), 'Map(Int16, Int64)') AS {name}_ns, toInt64(0) AS {name}_zeros" for name in MEASURES)}
FROM metrics_1m_data
WHERE (org, minute) IN asked"""

_SUMS = _listed(
    (
        *(f"sum({name}) AS {name}" for name in _AMOUNTS),
        *(f"sumMap({name}_ns) AS {name}_ns, sum({name}_zeros) AS {name}_zeros" for name in MEASURES),
    )
)
_LISTED = _listed((*_AMOUNTS, *(f"{name}_ns, {name}_zeros" for name in MEASURES)))
_SHOWN = _listed(
    f"CAST(mapFilter((bucket, n) -> n > 0, sums.{name}_ns), 'Map(Int16, UInt64)'), toUInt64(greatest(0, {name}_zeros))"
    for name in MEASURES
)

_STATEMENT = f"""
INSERT INTO metrics_1m_data ({", ".join(METRICS.names)})
WITH
    asked AS (SELECT org, minute FROM {{asked}}),
    traces AS ({_TRACES})
SELECT
    {_NAMES}, minute,
    {", ".join(_AMOUNTS)},
    {_SHOWN},
    greatest(bitShiftLeft(toUInt64(1), 63), last.version + 1)
FROM
(
    SELECT {_NAMES}, minute, {_SUMS}
    FROM
    (
        SELECT
            org, team, key_id,
            {_listed(f"if(beyond, '{OTHER}', ranked.{name}) AS {name}" for name in _BOUNDED)},
            minute, {_LISTED}
        FROM
        (
            SELECT
                *,
                row_number() OVER (PARTITION BY org, minute ORDER BY attempts DESC, {_NAMES})
                    > {LIMITS.series_per_minute} AS beyond
            FROM (SELECT {_NAMES}, minute, {_SUMS} FROM ({_CALLS} UNION ALL {_ERRORS}) GROUP BY {_NAMES}, minute)
        ) AS ranked
        UNION ALL {_THERE}
    )
    GROUP BY {_NAMES}, minute
) AS sums
LEFT JOIN
(
    SELECT org, minute, max(version) AS version FROM metrics_1m_data WHERE (org, minute) IN asked GROUP BY org, minute
) AS last USING (org, minute)
"""


def recount_statement(cells: Iterable[tuple[str, int]]) -> str:
    """The statement for `cells`: organisation, and the start of the minute in UTC s."""
    texts = (f"({_quoted(org)}, {minute})" for org, minute in cells)
    pairs = f"SELECT arrayJoin([{', '.join(texts)}]) AS cell"
    return _STATEMENT.format(asked=f"(SELECT cell.1 AS org, toDateTime(cell.2, 'UTC') AS minute FROM ({pairs}))")


def day_statement(day: date) -> str:
    """The statement for the minutes of a day (UTC; 1970-01-01: times out of range) that began an hour ago or earlier.

    The job holds those of the last hour: what is counted here stands above what it writes.
    """
    of_day = f"WHERE day = toDate({_quoted(day.isoformat())})"
    found = (
        f"SELECT org, {_OF_USAGE} AS minute FROM usage_data {of_day}"
        f" UNION ALL SELECT org, {_OF_SPAN} AS minute FROM spans_data {of_day} AND {_ERROR}"
    )
    return _STATEMENT.format(
        asked=f"(SELECT DISTINCT org, minute FROM ({found}) WHERE minute <= now() - INTERVAL 1 HOUR)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
