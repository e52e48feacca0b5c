"""The path of a call, the same for HTTP and gRPC: into the log, and back with what the job decided.

A call that gets no decision in time may yet be decided: its caller sends it again under the same request id, and gets
the first decision. A reservation goes by its policy meanwhile, and its answer says so.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import Message

from schemas import budget_pb2 as pb
from services.budget.commit import GroupCommit
from services.budget.metrics import Metrics
from services.budget.owners import Owners, UnknownKey
from services.budget.prices import Prices
from services.control.keys import Grant
from services.shared.answers import Refusal, Refused, unavailable
from transforms.budgets.fingerprint import fingerprint

MOST_TEXT = 255  # characters of an id or a name
_RETRY_AFTER_S = 1
_TEXTS = ("request_id", "key_id", "team", "provider", "model", "response_id")


class Undecided(Refused):
    """The policy `closed` instead of a decision: the same call is welcome again."""

    def __init__(self, reason: str) -> None:
        message = f"not decided, policy closed: {reason}"
        super().__init__(Refusal.UNAVAILABLE, message, _RETRY_AFTER_S)


class Log(Protocol):
    def check(self) -> None: ...


class Decisions:
    """Asks the log. timeout_s: how long at most a call waits. open_by_default: the policy where a caller names none.
    held: is told the organisation of each hold and when it ends (UTC ns).

    For one event loop.
    """

    def __init__(
        self,
        log: Log,
        commit: GroupCommit,
        owners: Owners,
        prices: Prices,
        timeout_s: float,
        open_by_default: bool,
        most_waiting: int,
        held: Callable[[str, int], None] = lambda org, expires_at: None,
    ) -> None:
        self.waiting: dict[str, asyncio.Future[pb.Reply]] = {}
        self.metrics = Metrics(lambda: len(self.waiting), lambda: float(getattr(log, "up", True)))
        self._mark = secrets.token_hex(6)
        self._mark_bytes = self._mark.encode()
        self._count = 0
        self._log = log
        self._commit = commit
        self._owners = owners
        self._prices = prices
        self._timeout_s = timeout_s
        self._open_by_default = open_by_default
        self._most_waiting = most_waiting
        self._held = held

    async def reserve(self, grant: Grant, request: pb.ReserveRequest, timeout_s: float | None = None) -> pb.Reply:
        """timeout_s: of the caller, for this and the other methods, which raise Refused. Raises Undecided."""
        if (fault := _fault(request)) is not None:
            return fault
        try:
            team, key_id = await self._owners.of(grant, request.key_id)
        except UnknownKey as error:
            return _reply(request, pb.OUTCOME_UNKNOWN_KEY, str(error))
        event = pb.Event(org=grant.org)
        what = event.reserve
        what.request_id = request.request_id
        what.owner.CopyFrom(pb.Owner(team=team, key_id=key_id, provider=request.provider, model=request.model))
        what.ttl_s = request.ttl_s
        what.fingerprint = fingerprint(request)
        tokens = _both(request, "max_input_tokens", "max_output_tokens")
        await self._amounts(what, grant.org, request, tokens)
        try:
            return await self._ask("Reserve", event, timeout_s)
        except Refused as refused:
            if refused.refusal is not Refusal.UNAVAILABLE:
                raise
            if not self._is_open(request.policy):
                self.metrics.undecided.labels("Reserve", "closed").inc()
                raise Undecided(refused.message) from refused
            self.metrics.undecided.labels("Reserve", "open").inc()
            self.metrics.open_nano.labels(grant.org).inc(max(0, what.cost_nano))
            answer = _reply(request, pb.OUTCOME_ACCEPTED, f"not decided, policy open: {refused.message}")
            answer.not_decided = True
            return answer

    async def settle(self, grant: Grant, request: pb.SettleRequest, timeout_s: float | None = None) -> pb.Reply:
        if (fault := _fault(request)) is not None:
            return fault
        try:
            team, key_id = await self._owners.of(grant, request.key_id)
        except UnknownKey as error:
            return _reply(request, pb.OUTCOME_UNKNOWN_KEY, str(error))
        event = pb.Event(org=grant.org)
        what = event.settle
        what.request_id = request.request_id
        what.response_id = request.response_id
        what.charge_without_reservation = request.charge_without_reservation
        what.owner.CopyFrom(pb.Owner(team=team, key_id=key_id, provider=request.provider, model=request.model))
        what.fingerprint = fingerprint(request)
        await self._amounts(what, grant.org, request, _both(request, "input_tokens", "output_tokens"))
        return await self._closed("Settle", event, timeout_s)

    async def release(self, grant: Grant, request: pb.ReleaseRequest, timeout_s: float | None = None) -> pb.Reply:
        if (fault := _fault(request)) is not None:
            return fault
        event = pb.Event(org=grant.org, release=pb.Release(request_id=request.request_id))
        return await self._closed("Release", event, timeout_s)

    async def extend(self, grant: Grant, request: pb.ExtendRequest, timeout_s: float | None = None) -> pb.Reply:
        if (fault := _fault(request)) is not None:
            return fault
        event = pb.Event(org=grant.org, extend=pb.Extend(request_id=request.request_id, ttl_s=request.ttl_s))
        return await self._closed("Extend", event, timeout_s)

    async def balance(self, grant: Grant, request: pb.BalanceRequest, timeout_s: float | None = None) -> pb.Reply:
        if (fault := _fault(request, id_needed=False)) is not None:
            return fault
        what = pb.Balance(all=request.all, team=request.team)
        if not (request.all or request.team):
            try:
                what.team, what.key_id = await self._owners.of(grant, request.key_id)
            except UnknownKey as error:
                return _reply(request, pb.OUTCOME_UNKNOWN_KEY, str(error))
        return await self._closed("Balance", pb.Event(org=grant.org, balance=what), timeout_s)

    def wanted(self, value: bytes) -> bool:
        """Whether a record of the replies may be for a call of this process: its event id is in it."""
        return self._mark_bytes in value

    def decided(self, values: list[bytes]) -> None:
        """Gives replies to those who wait for them."""
        for value in values:
            reply = pb.Reply.FromString(value)
            answer = self.waiting.get(reply.event_id)
            if answer is not None and not answer.done():
                answer.set_result(reply)

    async def _closed(self, method: str, event: pb.Event, timeout_s: float | None) -> pb.Reply:
        """A call without a policy of its own."""
        try:
            return await self._ask(method, event, timeout_s)
        except Refused as refused:
            if refused.refusal is Refusal.UNAVAILABLE:
                self.metrics.undecided.labels(method, "closed").inc()
                raise unavailable(f"not decided: {refused.message}", _RETRY_AFTER_S) from refused
            raise

    async def _ask(self, method: str, event: pb.Event, timeout_s: float | None) -> pb.Reply:
        """The job's reply to `event`. Raises Refused: 503 when none came in time, 429 when too many wait."""
        if len(self.waiting) >= self._most_waiting:
            raise Refused(Refusal.THROTTLED, "too many calls wait for a decision", _RETRY_AFTER_S)
        self._log.check()
        began = time.perf_counter()
        self._count += 1
        event.event_id = f"{self._mark}-{self._count}"
        if event.WhichOneof("what") == "balance":
            event.balance.request_id = event.event_id
        answer = self.waiting[event.event_id] = asyncio.get_running_loop().create_future()
        self._commit.append(event, answer)
        patience = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(patience):
                reply = await answer
        except TimeoutError:
            raise unavailable(f"no decision came within {patience:.3g} s", _RETRY_AFTER_S) from None
        finally:
            del self.waiting[event.event_id]
        if reply.expires_at:
            self._held(event.org, reply.expires_at)
        self.metrics.seconds.labels(method).observe(time.perf_counter() - began)
        self.metrics.decisions.labels(method, pb.Outcome.Name(reply.outcome).removeprefix("OUTCOME_").lower()).inc()
        return reply

    def _is_open(self, policy: pb.Policy) -> bool:
        return policy == pb.POLICY_OPEN or (policy == pb.POLICY_DEFAULT and self._open_by_default)

    async def _amounts(
        self,
        what: pb.Reserve | pb.Settle,
        org: str,
        request: pb.ReserveRequest | pb.SettleRequest,
        tokens: tuple[int, int] | None,
    ) -> None:
        """Sets what is known of the amounts: what the request says, else its tokens by the price book."""
        if request.HasField("cost_nano"):
            what.cost_nano = request.cost_nano
        if tokens is None:
            return
        what.tokens = max(-(2**63), min(sum(tokens), 2**63 - 1))
        if not request.HasField("cost_nano") and request.model and min(tokens) >= 0:
            cost = await self._prices.cost((org, request.provider, request.model, *tokens))
            if cost is not None:
                what.cost_nano = cost


def _both(request: Message, first: str, second: str) -> tuple[int, int] | None:
    """Two counts, None unless both are given: half of them is no bound."""
    if request.HasField(first) and request.HasField(second):
        return getattr(request, first), getattr(request, second)
    return None


def _fault(request: Message, id_needed: bool = True) -> pb.Reply | None:
    """The answer to a request that the log shall not carry."""
    if id_needed and not getattr(request, "request_id", ""):
        return _reply(request, pb.OUTCOME_INVALID, "a request_id is needed: made and kept by the caller")
    for name in _TEXTS:
        if len(getattr(request, name, "")) > MOST_TEXT:
            return _reply(None, pb.OUTCOME_INVALID, f"{name} has more than {MOST_TEXT} characters")
    return None


def _reply(request: Message | None, outcome: pb.Outcome, message: str) -> pb.Reply:
    return pb.Reply(request_id=getattr(request, "request_id", ""), outcome=outcome, message=message)
