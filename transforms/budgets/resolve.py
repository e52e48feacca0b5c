"""What ends a hold or lets it live longer: Settle, Release, Extend, and its time."""

from schemas import budget_pb2 as pb
from transforms.budgets.amounts import NANO_DOLLARS, TOKENS, UNKNOWN, OutOfBounds
from transforms.budgets.charges import leave, name_spend, waiting_call
from transforms.budgets.fingerprint import fingerprint
from transforms.budgets.ledger import Ledger
from transforms.budgets.replies import refuse, repeat, send
from transforms.budgets.reserve import DEFAULT_TTL_S, DIFFERENT, amounts_of, expiry, id_fault, owner_of, ttl_fault
from transforms.budgets.spends import Spend, Status
from transforms.budgets.windows import SECOND

_NOT_HELD = {
    Status.SETTLED: (pb.OUTCOME_ALREADY_SETTLED, "it was settled"),
    Status.RELEASED: (pb.OUTCOME_ALREADY_RELEASED, "it was released"),
    Status.EXPIRED: (pb.OUTCOME_EXPIRED, "it has expired"),
    Status.CHARGED: (pb.OUTCOME_ALREADY_CHARGED, "the call was charged without a reservation"),
    Status.REFUSED: (pb.OUTCOME_NOT_FOUND, "the reservation was refused"),
}
_NOT_FOUND = (pb.OUTCOME_NOT_FOUND, "there is no reservation of this request id")


def settle(ledger: Ledger, event_id: str, request: pb.Settle) -> None:
    """Books what the call cost and replies."""
    journal, actual = ledger.journal, amounts_of(request)
    fault = id_fault(request.request_id) or actual.fault()
    if fault:
        refuse(journal, request.request_id, event_id, pb.OUTCOME_INVALID, fault)
        return
    name, content = f"r/{request.request_id}", (request.fingerprint or fingerprint(request)).hex()
    known = ledger.segments.spend(name)
    if known is not None and known.settlement:
        first = ledger.segments.answer(request.request_id, "settle") if known.settlement == content else None
        if first is not None:
            repeat(journal, event_id, first)
        else:
            refuse(journal, request.request_id, event_id, *DIFFERENT)
        return
    if known is not None and known.status is Status.RELEASED:
        refuse(journal, request.request_id, event_id, *_NOT_HELD[Status.RELEASED])
        return
    reserved = known is not None and known.status in (Status.HELD, Status.EXPIRED)
    if not reserved and not request.charge_without_reservation:
        refuse(journal, request.request_id, event_id, *_NOT_FOUND)
        return
    if not reserved and actual == UNKNOWN:
        message = "give the cost or the tokens of a call without a reservation"
        refuse(journal, request.request_id, event_id, pb.OUTCOME_AMOUNT_UNKNOWN, message)
        return
    spend = known if known is not None and reserved else _unreserved(ledger, known, request)
    settled = spend._replace(settled=actual.else_of(spend.estimate) if reserved else actual, settlement=content)
    if reserved:
        settled = settled._replace(status=Status.SETTLED, late=spend.status is Status.EXPIRED)
    waiting = waiting_call(ledger, request.response_id)
    if waiting is not None:
        settled = settled._replace(traced=settled.traced.changed(waiting[1].amounts(), 1))
    try:
        ledger.check(known, settled)
    except OutOfBounds as error:
        refuse(journal, request.request_id, event_id, pb.OUTCOME_INVALID, str(error))
        return
    if waiting is not None:
        call_id, call = waiting
        leave(ledger, call_id, call)
        ledger.segments.put(f"c/{call_id}", call._replace(spend=name))
    settled = ledger.enter("post" if reserved else "charge", name, known, settled)
    name_spend(ledger, request.response_id, name, settled.keep)
    body = send(journal, request.request_id, event_id, _settled(settled))
    ledger.segments.put_answer(request.request_id, "settle", body)


def _unreserved(ledger: Ledger, known: Spend | None, request: pb.Settle) -> Spend:
    """The charge for a call that nothing was held for; what its spans have charged already stays where it is."""
    spend = known or Spend(0, Status.CHARGED, ledger.time, owner_of(request.owner))
    if not spend.placed:
        budgets = ledger.book.above(spend.owner, ledger.time)
        spend = spend._replace(time=ledger.time, lines=ledger.lines(budgets, ledger.time, False), placed=True)
    return spend._replace(status=Status.CHARGED)


def _settled(spend: Spend) -> pb.Reply:
    cost, tokens = spend.effect(NANO_DOLLARS), spend.effect(TOKENS)
    return pb.Reply(
        outcome=pb.OUTCOME_ACCEPTED,
        settled_nano=cost.posted,
        settled_tokens=tokens.posted,
        overrun_nano=cost.over,
        overrun_tokens=tokens.over,
        settled_after_expiry=spend.late,
    )


def release(ledger: Ledger, event_id: str, request: pb.Release) -> None:
    """Gives back what is held, as far as no span has charged it, and replies."""
    spend = ledger.segments.spend(name := f"r/{request.request_id}")
    first = ledger.segments.answer(request.request_id, "release")
    if spend is not None and spend.status is Status.RELEASED and first is not None:
        repeat(ledger.journal, event_id, first)
    elif spend is None or spend.status is not Status.HELD:
        _not_held(ledger, event_id, request.request_id, spend)
    else:
        ledger.enter("void", name, spend, spend._replace(status=Status.RELEASED))
        body = send(ledger.journal, request.request_id, event_id, pb.Reply(outcome=pb.OUTCOME_ACCEPTED))
        ledger.segments.put_answer(request.request_id, "release", body)


def extend(ledger: Ledger, event_id: str, request: pb.Extend) -> None:
    """Lets a hold expire later, never earlier, and replies."""
    spend = ledger.segments.spend(name := f"r/{request.request_id}")
    if fault := ttl_fault(request.ttl_s):
        refuse(ledger.journal, request.request_id, event_id, pb.OUTCOME_INVALID, fault)
    elif spend is None or spend.status is not Status.HELD:
        _not_held(ledger, event_id, request.request_id, spend)
    else:
        expires = max(spend.expires, expiry(ledger.time, request.ttl_s or DEFAULT_TTL_S))
        if expires > spend.expires:
            ledger.segments.expire_at(name, expires // SECOND)
        ledger.enter("pending", name, spend, spend._replace(expires=expires))
        reply = pb.Reply(outcome=pb.OUTCOME_ACCEPTED, expires_at=expires)
        send(ledger.journal, request.request_id, event_id, reply)


def expire(ledger: Ledger) -> None:
    """Ends the holds whose time has come."""
    for second, name in ledger.segments.overdue():
        spend = ledger.segments.spend(name)
        if spend is not None and spend.status is Status.HELD and spend.expires == second * SECOND:
            ledger.enter("expire", name, spend, spend._replace(status=Status.EXPIRED))


def _not_held(ledger: Ledger, event_id: str, request_id: str, spend: Spend | None) -> None:
    outcome, message = _NOT_FOUND if spend is None else _NOT_HELD[spend.status]
    refuse(ledger.journal, request_id, event_id, outcome, message)
