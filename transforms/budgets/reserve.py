"""Reserve: a hold on every budget above the key, or on none."""

from schemas import budget_pb2 as pb
from transforms.budgets.amounts import Amounts, OutOfBounds
from transforms.budgets.fingerprint import fingerprint
from transforms.budgets.ledger import Ledger
from transforms.budgets.limits import Budget, Owner
from transforms.budgets.replies import refuse, repeat, send, status
from transforms.budgets.spends import Spend, Status
from transforms.budgets.windows import SECOND

DEFAULT_TTL_S = 600
MAX_TTL_S = 86_400
MAX_ID = 255  # characters


def reserve(ledger: Ledger, event_id: str, request: pb.Reserve) -> None:
    """Decides `request` and replies."""
    journal, segments = ledger.journal, ledger.segments
    estimate = amounts_of(request)
    fault = id_fault(request.request_id) or estimate.fault() or ttl_fault(request.ttl_s)
    if fault:
        refuse(journal, request.request_id, event_id, pb.OUTCOME_INVALID, fault)
        return
    name, content = f"r/{request.request_id}", (request.fingerprint or fingerprint(request)).hex()
    known = segments.spend(name)
    if known is not None:
        first = segments.answer(request.request_id, "reserve") if known.content == content else None
        if first is not None:
            repeat(journal, event_id, first)
        elif known.content:
            refuse(journal, request.request_id, event_id, *DIFFERENT)
        else:
            message = "the call of this request id was charged without a reservation: make another id"
            refuse(journal, request.request_id, event_id, pb.OUTCOME_ALREADY_CHARGED, message)
        return
    owner = owner_of(request.owner)
    above = ledger.book.above(owner, ledger.time)
    unknown = [budget for budget in above if budget.proto.hard and estimate.of(budget.unit) is None]
    if unknown:
        refuse(journal, request.request_id, event_id, pb.OUTCOME_AMOUNT_UNKNOWN, _unknown(unknown))
        return
    spend = Spend(0, Status.HELD, ledger.time, owner, estimate=estimate, content=content)
    try:
        reply = _decide(ledger, name, spend, above, request.ttl_s or DEFAULT_TTL_S)
    except OutOfBounds as error:
        refuse(journal, request.request_id, event_id, pb.OUTCOME_INVALID, str(error))
        return
    segments.put_answer(request.request_id, "reserve", send(journal, request.request_id, event_id, reply))


def _decide(ledger: Ledger, name: str, spend: Spend, above: list[Budget], ttl_s: int) -> pb.Reply:
    """Holds the estimate, or writes down that it was refused. Raises OutOfBounds."""
    refusals, warnings = [], []
    for budget in above:
        start = ledger.book.span(budget, ledger.time).start
        balance, requested = ledger.balance(budget, start), spend.estimate.of(budget.unit) or 0
        if requested > balance.available(budget):
            said = status(ledger, budget, balance, requested)
            (refusals if budget.proto.hard else warnings).append(said)
    expires = expiry(ledger.time, ttl_s)
    held = spend._replace(expires=expires, lines=ledger.lines(above, ledger.time, True), placed=True)
    if refusals:
        refused = spend._replace(status=Status.REFUSED, keep=ledger.keep(held))
        for said in refusals:
            ledger.tell_refusal(ledger.book.by_id[said.budget_id], name[2:])
        ledger.enter("pending", name, None, refused)
        return pb.Reply(outcome=pb.OUTCOME_REFUSED, refusals=refusals, warnings=warnings, message=_full(refusals))
    ledger.enter("pending", name, None, held)
    ledger.segments.expire_at(name, expires // SECOND)
    return pb.Reply(outcome=pb.OUTCOME_ACCEPTED, warnings=warnings, expires_at=expires)


DIFFERENT = (
    pb.OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT,
    "this request id came before with other content: make another id for another request",
)


def expiry(time: int, ttl_s: int) -> int:
    """UTC ns of the whole second in which a hold made at `time` expires."""
    return -(-time // SECOND) * SECOND + ttl_s * SECOND


def amounts_of(request: pb.Reserve | pb.Settle) -> Amounts:
    cost = request.cost_nano if request.HasField("cost_nano") else None
    return Amounts(cost, request.tokens if request.HasField("tokens") else None)


def owner_of(owner: pb.Owner) -> Owner:
    return Owner(owner.team, owner.key_id, owner.provider, owner.model)


def id_fault(request_id: str) -> str:
    """Why a request id can't be taken; '' when it can."""
    return "" if 1 <= len(request_id) <= MAX_ID else f"request_id has {len(request_id)} characters, not 1 to {MAX_ID}"


def ttl_fault(ttl_s: int) -> str:
    """Why a time to live can't be taken; '' when it can."""
    return "" if 0 <= ttl_s <= MAX_TTL_S else f"ttl_s is {ttl_s}, not from 0 (the default) to {MAX_TTL_S}"


def _unknown(budgets: list[Budget]) -> str:
    named = ", ".join(f"{budget.proto.name} ({budget.unit})" for budget in budgets)
    return f"give an amount for the hard budgets {named}"


def _full(refusals: list[pb.BudgetStatus]) -> str:
    return "no room in " + ", ".join(said.name for said in refusals)
