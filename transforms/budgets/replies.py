"""Replies, and what they say of budgets."""

from schemas import budget_pb2 as pb
from transforms.budgets.balances import Balance
from transforms.budgets.journal import Journal
from transforms.budgets.ledger import Ledger
from transforms.budgets.limits import Budget


def status(ledger: Ledger, budget: Budget, balance: Balance, requested: int = 0) -> pb.BudgetStatus:
    """`budget` in its window of this moment."""
    one, span = budget.proto, ledger.book.span(budget, ledger.time)
    return pb.BudgetStatus(
        budget_id=one.budget_id,
        name=one.name,
        unit=one.unit,
        hard=one.hard,
        limit=one.limit,
        spent=balance.posted,
        pending=balance.pending,
        available=balance.available(budget),
        requested=requested,
        window=one.window,
        time_zone=one.time_zone,
        window_start=span.start,
        resets_at=span.end,
        team=one.team,
        key_id=one.key_id,
        provider=one.provider,
        model=one.model,
    )


def send(journal: Journal, request_id: str, event_id: str, reply: pb.Reply) -> bytes:
    """Sends `reply`, decided now, to the event that asked; returns it as it is to be repeated."""
    at = journal.place
    reply.request_id, reply.event_id = request_id, event_id
    reply.partition, reply.offset, reply.first_offset, reply.time = at.partition, at.offset, at.offset, at.time
    body = reply.SerializeToString()
    journal.reply(request_id, body)
    return body


def repeat(journal: Journal, event_id: str, first: bytes) -> None:
    """Sends the first reply again, to another event that asked the same."""
    reply = pb.Reply.FromString(first)
    reply.event_id, reply.partition, reply.offset = event_id, journal.place.partition, journal.place.offset
    journal.reply(reply.request_id, reply.SerializeToString())


def refuse(journal: Journal, request_id: str, event_id: str, outcome: pb.Outcome, message: str) -> None:
    """Sends a reply that changes nothing and is not remembered."""
    send(journal, request_id, event_id, pb.Reply(outcome=outcome, message=message))
