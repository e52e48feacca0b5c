"""Charges: entries of the usage ledger, of traced spans.

The entries of one call make one cost. It belongs to the spend that its request id names, else to the one that was
settled with its response id, else to a spend of its own in the windows of its arrival. It stays in the windows of
its spend, whenever a reversal or a new price changes it.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from schemas.arrow import CHARGES, from_ipc
from transforms.billing.claims import IDENTIFYING
from transforms.budgets.amounts import Amounts, OutOfBounds
from transforms.budgets.ledger import Ledger
from transforms.budgets.limits import Owner
from transforms.budgets.reserve import MAX_ID
from transforms.budgets.spends import Call, Entry, Response, Spend, Status


class InvalidCharge(ValueError):
    """A charge that can't be booked."""


def read_charges(rows: bytes) -> list[dict[str, Any]]:
    """The rows of an event. Raises InvalidCharge when they are not of schema CHARGES."""
    try:
        table = from_ipc(rows)
        return table.select(CHARGES.names).cast(CHARGES).to_pylist()
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise InvalidCharge(f"the rows are not of schema CHARGES: {error}") from error


def charge(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Books one entry; one that is known with this version or a greater one changes nothing. Raises InvalidCharge."""
    entry = _entry(row)
    call_id, segments = row["call_id"], ledger.segments
    call = segments.call(call_id) or Call(0, "", {})
    known = call.entries.get(row["entry_id"])
    if known is not None and known.version >= entry.version:
        return
    changed = call._replace(spend=_spend_of(ledger, call, row), entries={**call.entries, row["entry_id"]: entry})
    before = segments.spend(changed.spend)
    spend = _opened(ledger, before, row)
    stays = call.spend == changed.spend
    traced = spend.traced.changed(call.amounts(), -1) if stays else spend.traced
    after = spend._replace(traced=traced.changed(changed.amounts(), 1))
    try:
        ledger.check(before, after)
    except OutOfBounds as error:
        raise InvalidCharge(str(error)) from error
    if not stays:
        leave(ledger, call_id, call)
    keep = ledger.enter("charge", changed.spend, before, after, call_id).keep
    segments.put(f"c/{call_id}", changed._replace(keep=max(call.keep, keep)))
    _name_call(ledger, row["response_id"] or "", call_id, keep)


def leave(ledger: Ledger, call_id: str, call: Call) -> None:
    """Takes what `call` costs from the spend that it belonged to."""
    spend = ledger.segments.spend(call.spend)
    if spend is not None:
        less = spend._replace(traced=spend.traced.changed(call.amounts(), -1))
        ledger.enter("charge", call.spend, spend, less, call_id)


def waiting_call(ledger: Ledger, response_id: str) -> tuple[str, Call] | None:
    """The call with this response id that has a spend of its own, and its id."""
    response = ledger.segments.response(response_id)
    if response is None or response.spend or not response.call_id:
        return None
    call = ledger.segments.call(response.call_id)
    return (response.call_id, call) if call is not None and call.spend[0] == "u" else None


def name_spend(ledger: Ledger, response_id: str, name: str, keep: int) -> None:
    """Writes down that the spend `name` was settled with this response id; the first one stays."""
    if len(response_id) < IDENTIFYING:
        return
    known = ledger.segments.response(response_id)
    if known is None or not known.spend:
        call_id = known.call_id if known else ""
        ledger.segments.put(f"p/{response_id}", Response(max(keep, known.keep if known else 0), name, call_id))


def _name_call(ledger: Ledger, response_id: str, call_id: str, keep: int) -> None:
    if len(response_id) < IDENTIFYING:
        return
    known = ledger.segments.response(response_id)
    if known is None or not known.call_id:
        spend = known.spend if known else ""
        ledger.segments.put(f"p/{response_id}", Response(max(keep, known.keep if known else 0), spend, call_id))


def _spend_of(ledger: Ledger, call: Call, row: Mapping[str, Any]) -> str:
    """The name of the spend that the call belongs to; one of a request it does not leave."""
    if call.spend[:1] == "r":
        return call.spend
    if 1 <= len(row["request_id"] or "") <= MAX_ID:
        return f"r/{row['request_id']}"
    response = ledger.segments.response(row["response_id"] or "")
    if response is not None and response.spend and response.call_id in ("", row["call_id"]):
        return response.spend
    return call.spend or f"u/{row['call_id']}"


def _opened(ledger: Ledger, spend: Spend | None, row: Mapping[str, Any]) -> Spend:
    """The spend with its lines chosen: what its reservation left open is as its call was."""
    team, key_id, provider, model = (row[name] or "" for name in ("team", "key_id", "provider", "model"))
    spend = spend or Spend(0, Status.CHARGED, ledger.time, Owner(team, key_id, provider, model))
    if not spend.placed:
        budgets = ledger.book.above(spend.owner, ledger.time)
        return spend._replace(time=ledger.time, lines=ledger.lines(budgets, ledger.time, False), placed=True)
    known = spend.owner
    owner = known._replace(provider=known.provider or provider, model=known.model or model)
    if owner == known:
        return spend
    lying = {line.budget_id for line in spend.lines}
    more = [budget for budget in ledger.book.above(owner, spend.time) if budget.id not in lying and budget.narrow]
    return spend._replace(owner=owner, lines=(*spend.lines, *ledger.lines(more, spend.time, False)))


def _entry(row: Mapping[str, Any]) -> Entry:
    """The numbers of `row`. Raises InvalidCharge."""
    if not row["entry_id"] or not row["call_id"] or row["version"] is None:
        raise InvalidCharge("entry_id, call_id or version is missing")
    counts = [row[name] for name in ("input_tokens", "output_tokens") if row[name] is not None]
    amounts = Amounts(row["cost_nano"], sum(counts) if counts else None)
    if fault := amounts.fault(signed=True):
        raise InvalidCharge(fault)
    return Entry(row["version"], amounts.cost, amounts.tokens)
