"""What one event of the log does to the ledger."""

import pyarrow as pa

from schemas import budget_pb2 as pb
from schemas.arrow import CHARGES, to_ipc
from transforms.budgets.charges import InvalidCharge, charge, read_charges
from transforms.budgets.ledger import Ledger
from transforms.budgets.limits import InvalidLimits, Owner, revised
from transforms.budgets.replies import send, status
from transforms.budgets.reserve import reserve
from transforms.budgets.resolve import extend, release, settle


def apply_event(ledger: Ledger, position: int, event: pb.Event) -> None:
    """Does what `event`, at `position` of its record, says; what can't be done is a dead letter or a reply."""
    if event.org != ledger.place.org:
        _refuse(ledger, position, event, "WrongOrganisation", f"an event of {event.org} under another key")
        return
    match event.WhichOneof("what"):
        case "reserve":
            reserve(ledger, event.event_id, event.reserve)
        case "settle":
            settle(ledger, event.event_id, event.settle)
        case "release":
            release(ledger, event.event_id, event.release)
        case "extend":
            extend(ledger, event.event_id, event.extend)
        case "balance":
            tell(ledger, event.event_id, event.balance)
        case "charges":
            _charge(ledger, position, event)
        case "limits":
            _limit(ledger, position, event)
        case "tick":
            pass  # its time has done what there was to do
        case None:
            _refuse(ledger, position, event, "UnknownEvent", "the event says nothing that this code knows")


def tell(ledger: Ledger, event_id: str, request: pb.Balance) -> None:
    """Replies with the budgets above a key or a team, or all, in their windows of this moment."""
    owner = Owner(request.team, request.key_id)
    found = [
        budget
        for budget in ledger.book.active
        if budget.in_force(ledger.time) and (request.all or budget.concerns(owner))
    ]
    balances = [status(ledger, b, ledger.balance(b, ledger.book.span(b, ledger.time).start)) for b in found]
    send(ledger.journal, request.request_id, event_id, pb.Reply(outcome=pb.OUTCOME_ACCEPTED, balances=balances))


def _charge(ledger: Ledger, position: int, event: pb.Event) -> None:
    try:
        rows = read_charges(event.charges.rows)
    except InvalidCharge as error:
        _refuse(ledger, position, event, "InvalidCharge", str(error))
        return
    for row in rows:
        try:
            charge(ledger, row)
        except InvalidCharge as error:
            alone = pb.Charges(rows=to_ipc(pa.Table.from_pylist([row], CHARGES)))
            _refuse(ledger, position, pb.Event(org=event.org, charges=alone), "InvalidCharge", str(error))


def _limit(ledger: Ledger, position: int, event: pb.Event) -> None:
    limits, old = event.limits, ledger.book
    if limits.revision <= old.revision:
        return
    try:
        ledger.book = revised(old, limits)
    except InvalidLimits as error:
        _refuse(ledger, position, event, "InvalidLimits", str(error))
        return
    known = {budget.id: budget.proto for budget in old.active}
    for budget in ledger.book.active:
        if known.get(budget.id) != budget.proto and budget.in_force(ledger.time):
            ledger.look_again(budget)


def _refuse(ledger: Ledger, position: int, event: pb.Event, error: str, message: str) -> None:
    raw = pb.EventBatch(events=[event]).SerializeToString()
    ledger.journal.letter(position, raw, error, message)
