"""Events of budgets as CloudEvents in binary mode: headers for who routes them, JSON for who reads them.

Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2. The JSON is that of BudgetEvent (schemas/budget.proto).
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from google.protobuf import json_format

from schemas import budget_pb2 as pb

_UNITS = {"nano_dollars": pb.UNIT_NANO_DOLLARS, "tokens": pb.UNIT_TOKENS}
_WINDOWS = {"day": pb.WINDOW_DAY, "week": pb.WINDOW_WEEK, "month": pb.WINDOW_MONTH, "total": pb.WINDOW_TOTAL}
_SAME = ("budget_id", "hard", "limit", "spent", "pending", "time_zone", "team", "key_id", "provider", "model")


def cloud_events(rows: pa.Table) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """(headers, body) of each row of BUDGET_EVENTS."""
    for name in ("time", "window_start", "window_end"):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, rows[name].cast(pa.int64()))
    for row in rows.to_pylist():
        body = json_format.MessageToDict(_event(row), preserving_proto_field_name=True)
        yield _headers(row), json.dumps(body, sort_keys=True).encode()


def _event(row: dict[str, Any]) -> pb.BudgetEvent:
    budget = pb.BudgetStatus(
        **{name: row[name] for name in _SAME},
        name=row["budget"],
        unit=_UNITS[row["unit"]],
        window=_WINDOWS[row["window"]],
        available=row["limit"] - row["spent"] - row["pending"],
        window_start=row["window_start"],
        resets_at=row["window_end"] or 0,
    )
    told = ("event_id", "org", "kind", "time", "threshold", "request_id")
    return pb.BudgetEvent(**{name: row[name] for name in told}, budget=budget)


def _headers(row: dict[str, Any]) -> dict[str, bytes]:
    seconds, ns = divmod(row["time"], 10**9)
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    headers = {
        "ce_specversion": "1.0",
        "ce_id": row["event_id"],
        "ce_source": f"/spanmill/budgets/{row['org']}",
        "ce_type": f"spanmill.budget.{row['kind']}",
        "ce_subject": row["budget_id"],
        "ce_time": f"{at}.{ns:09}Z",
        "content-type": "application/json",
    }
    return {name: value.encode() for name, value in headers.items()}
