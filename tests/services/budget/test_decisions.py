"""The path of a call through the service: what is written to the log, and what is answered without a decision."""

import asyncio
import time

import polars as pl
import pytest

from schemas import budget_pb2 as pb
from schemas.price_book import compile_book
from services.budget.ticks import Ticks
from services.control.database import open_database
from services.control.keys import create_key, revoke_key
from services.control.migrate import migrate
from services.control.organisations import create_org
from services.shared.answers import Refusal, Refused
from tests.services.budget.desk import GRANT, desk
from transforms.prices.pricing import price


@pytest.fixture
def engine(tmp_path):
    made = open_database(f"sqlite:///{tmp_path / 'control.db'}")
    migrate(made, time.time_ns())
    create_org(made, "acme", "acme", False, 1)
    yield made
    made.dispose()


def reserve(name: str, cost: int = 10, **more) -> pb.ReserveRequest:
    return pb.ReserveRequest(request_id=name, cost_nano=cost, **more)


def test_while_one_record_is_on_its_way_further_events_gather_into_the_next(engine):
    async def play():
        decisions, log = desk(engine)
        log.gate.clear()
        calls = [asyncio.create_task(decisions.reserve(GRANT, reserve("r0")))]
        for _ in range(10):
            await asyncio.sleep(0)
        calls += [asyncio.create_task(decisions.reserve(GRANT, reserve(f"r{n}"))) for n in range(1, 20)]
        await asyncio.sleep(0.02)
        log.gate.set()
        replies = await asyncio.gather(*calls)
        assert [len(batch.events) for batch in log.batches] == [1, 19]
        assert {reply.outcome for reply in replies} == {pb.OUTCOME_ACCEPTED}
        assert [reply.request_id for reply in replies] == [f"r{n}" for n in range(20)]

    asyncio.run(play())


def test_what_its_caller_has_given_up_is_not_written_any_more(engine):
    async def play():
        decisions, log = desk(engine)
        log.gate.clear()
        first = asyncio.create_task(decisions.reserve(GRANT, reserve("first")))
        for _ in range(10):  # turns of the loop until the first record is on its way
            await asyncio.sleep(0)
        with pytest.raises(Refused):
            await decisions.reserve(GRANT, reserve("late"), timeout_s=0.01)
        log.gate.set()
        assert (await first).outcome == pb.OUTCOME_ACCEPTED
        assert [event.reserve.request_id for batch in log.batches for event in batch.events] == ["first"]
        assert not decisions.waiting

    asyncio.run(play())


@pytest.mark.parametrize("trouble", ["down", "silent"])
@pytest.mark.parametrize("default_open", [False, True])
def test_without_a_decision_the_policy_answers_and_says_which_it_was(engine, trouble, default_open):
    async def play():
        decisions, log = desk(engine, open_by_default=default_open)
        log.up, log.silent = trouble != "down", trouble == "silent"
        opened = await decisions.reserve(GRANT, reserve("a", policy=pb.POLICY_OPEN))
        assert (opened.outcome, opened.not_decided) == (pb.OUTCOME_ACCEPTED, True)
        assert "policy open" in opened.message
        with pytest.raises(Refused) as closed:
            await decisions.reserve(GRANT, reserve("b", policy=pb.POLICY_CLOSED))
        assert closed.value.refusal is Refusal.UNAVAILABLE and "policy closed" in closed.value.message
        assert closed.value.retry_after_s
        if default_open:
            assert (await decisions.reserve(GRANT, reserve("c"))).not_decided
        else:
            with pytest.raises(Refused):
                await decisions.reserve(GRANT, reserve("c"))
        with pytest.raises(Refused):  # a settlement has no policy: it must arrive
            await decisions.settle(GRANT, pb.SettleRequest(request_id="a", cost_nano=1))

    asyncio.run(play())


def test_a_call_that_was_not_decided_is_decided_once_when_it_comes_again(engine):
    async def play():
        decisions, log = desk(engine)
        await log.limit(15)
        log.silent = True
        with pytest.raises(Refused):
            await decisions.reserve(GRANT, reserve("a"))
        log.silent = False
        first = await decisions.reserve(GRANT, reserve("a"))
        assert (first.outcome, first.offset > first.first_offset) == (pb.OUTCOME_ACCEPTED, True)
        balance = await decisions.balance(GRANT, pb.BalanceRequest(all=True))
        assert (balance.balances[0].pending, balance.balances[0].available) == (10, 5)
        assert (await decisions.reserve(GRANT, reserve("b"))).outcome == pb.OUTCOME_REFUSED

    asyncio.run(play())


@pytest.mark.parametrize("wrong", [{"request_id": ""}, {"request_id": "x" * 256}, {"model": "m" * 256}])
def test_what_the_log_shall_not_carry_is_invalid_and_not_written(engine, wrong):
    async def play():
        decisions, log = desk(engine)
        asked = pb.ReserveRequest(**{"request_id": "r", "cost_nano": 1, **wrong})
        assert (await decisions.reserve(GRANT, asked)).outcome == pb.OUTCOME_INVALID
        assert not log.batches

    asyncio.run(play())


def test_too_many_calls_at_once_are_refused_for_a_moment(engine):
    async def play():
        decisions, log = desk(engine, most_waiting=1)
        log.gate.clear()
        first = asyncio.create_task(decisions.reserve(GRANT, reserve("a")))
        await asyncio.sleep(0.02)
        with pytest.raises(Refused) as refused:
            await decisions.reserve(GRANT, reserve("b", policy=pb.POLICY_OPEN))
        assert refused.value.refusal is Refusal.THROTTLED
        log.gate.set()
        assert (await first).outcome == pb.OUTCOME_ACCEPTED

    asyncio.run(play())


def test_tokens_are_priced_by_the_book_and_half_a_bound_is_none(engine):
    async def play():
        decisions, log = desk(engine)
        both = {"provider": "openai", "model": "gpt-4o", "max_input_tokens": 1000}
        await decisions.reserve(GRANT, pb.ReserveRequest(request_id="a", **both, max_output_tokens=500))
        await decisions.reserve(GRANT, pb.ReserveRequest(request_id="b", **both))
        await decisions.reserve(GRANT, pb.ReserveRequest(request_id="c", **both, max_output_tokens=5, cost_nano=7))
        written = [event.reserve for batch in log.batches for event in batch.events]
        row = {"provider": "openai", "request_model": "gpt-4o", "response_model": None, "start_ns": time.time_ns()}
        row |= {"service_tier": None, "batch": False, "input_tokens": 1000, "output_tokens": 500}
        told = price(pl.DataFrame([row], schema_overrides={"service_tier": pl.String, "response_model": pl.String}),
                     compile_book())  # fmt: skip
        assert (written[0].cost_nano, written[0].tokens) == (told["cost_nano"][0], 1500)
        assert not written[1].HasField("cost_nano") and not written[1].HasField("tokens")
        assert (written[2].cost_nano, written[2].tokens) == (7, 1005)
        assert (written[0].owner.team, written[0].owner.key_id) == ("blue", "key000000001")

    asyncio.run(play())


def test_a_reservation_for_another_key_carries_its_team_and_a_revoked_one_is_unknown(engine):
    other, _ = create_key(engine, "acme", "red", "other", 1)
    gone, _ = create_key(engine, "acme", "red", "gone", 1)
    revoke_key(engine, gone.key_id, 2)

    async def play():
        decisions, log = desk(engine)
        await decisions.reserve(GRANT, reserve("a", key_id=other.key_id))
        owner = log.batches[0].events[0].reserve.owner
        assert (owner.team, owner.key_id) == ("red", other.key_id)
        assert (await decisions.reserve(GRANT, reserve("b", key_id=gone.key_id))).outcome == pb.OUTCOME_UNKNOWN_KEY
        assert len(log.batches) == 1

    asyncio.run(play())


def test_a_hold_expires_although_nothing_else_happens(engine):
    async def play():
        now = 0
        decisions, log = desk(engine)
        await log.limit(10)
        ticks = Ticks(log, now=lambda: now)
        held = await decisions.reserve(GRANT, reserve("a", ttl_s=1))
        ticks.note(GRANT.org, held.expires_at)
        await ticks.tick()
        assert len(log.batches) == 2
        now = held.expires_at + 10**9
        await ticks.tick()
        assert [batch.events[0].WhichOneof("what") for batch in log.batches] == ["limits", "reserve", "tick"]
        now += 10**12
        await ticks.tick()
        assert len(log.batches) == 3
        assert (await decisions.reserve(GRANT, reserve("b"))).outcome == pb.OUTCOME_ACCEPTED

    asyncio.run(play())
