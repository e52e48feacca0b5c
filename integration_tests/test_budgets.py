"""Budgets on real processes: many callers, several services, one log, and what happens when any of them dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import httpx2
import pytest
from confluent_kafka import Producer

from integration_tests.budget_ground import Caller, History, Services, new_org, set_limit, wait_limits
from integration_tests.ground import wait_for
from integration_tests.product import WITH_BUDGETS, Product
from schemas import budget_pb2 as pb
from schemas.budget_pb2_grpc import BudgetsStub
from schemas.topics import BUDGET_LOG, MAX_RECORD_BYTES
from tests.services.budget.linearizability import explain


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    made = Product(tmp_path_factory.mktemp("budgets") / "data", *WITH_BUDGETS)
    made.up()
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def services(product, tmp_path_factory) -> Iterator[Services]:
    """Three services over one log."""
    made = Services(product, 2, tmp_path_factory.mktemp("services"))
    yield made
    made.stop()


def ready(product: Product, services: Services, org: str, limit: int) -> str:
    """A new organisation with one budget that the job knows; its key."""
    key = new_org(product, org)
    set_limit(product, org, limit)
    wait_limits(Caller(services.addresses, key), services.addresses, key, limit)
    return key


def test_of_64_callers_at_three_services_exactly_ten_find_room_for_ten(product, services):
    for number in range(3):
        key = ready(product, services, f"race-{number}", 100)
        answers: list[object] = []
        start = threading.Barrier(64)

        def ask(name: str, key: str = key, answers: list[object] = answers, start: threading.Barrier = start) -> None:
            caller = Caller(services.addresses, key)
            start.wait()
            answers.append(caller.call("reserve", name, 10, lambda: time.monotonic() + 180)[0])

        threads = [threading.Thread(target=ask, args=(f"r{n}",)) for n in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, answers)) == ["accepted"] * 10 + ["refused"] * 54
        assert Caller(services.addresses, key).balance() == (0, 100)


def test_a_history_with_kills_of_job_services_and_broker_is_linearisable_and_money_adds_up(product, services):
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    limit = 30
    key = ready(product, services, "history", limit)
    history = History(services.addresses, key, callers=6, seed=seed, pause_s=1.0)
    history.wait_answers(10)
    for name in ("budget-service", "broker", "budget"):
        print(f"kill {name}")
        product.kill(name)
        _wait_restarted(product, name)
        history.wait_answers(10)
    services.children[0].kill()  # one that nobody starts again
    history.wait_answers(10)
    alive = [services.addresses[0], services.addresses[2]]
    calls = history.stop(patience_s=120)
    unanswered = [call for call in calls if call.answer is None]
    print(f"{len(calls)} calls, {len(unanswered)} without an answer")
    assert not unanswered
    assert (left := explain(calls, limit)) is None, f"seed {seed}: no order explains {left}"
    spent, pending = Caller(alive, key).balance()
    settled = {call.request_id: call.amount for call in calls if call.kind == "settle" and call.answer == "accepted"}
    assert spent == sum(settled.values()) and spent + pending <= limit
    _store_has(product, "history", spent, pending)


def _wait_restarted(product: Product, name: str, timeout: float = 300) -> None:
    """Returns when the supervisor has started the part again."""
    before, deadline = product.running.pids[name], time.monotonic() + timeout
    while product.running.pids[name] == before:
        assert time.monotonic() < deadline, f"{name} was not started again"
        time.sleep(0.1)


def _store_has(product: Product, org: str, spent: int, pending: int) -> None:
    """Balances and the sums over the journal come to what the ledger says, each row once."""
    wanted = [{"spent": spent, "pending": pending}]
    balances = "SELECT spent, pending FROM budget_balances WHERE org = {org:String}"
    entries = "SELECT sum(spent) AS spent, sum(pending) AS pending FROM budget_entries WHERE org = {org:String}"
    deadline = time.monotonic() + 180
    while True:
        found = [product.rows(balances, org=org), product.rows(entries, org=org)]
        if found == [wanted, wanted]:
            return
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        time.sleep(0.3)


def test_while_the_log_is_away_the_policy_of_the_caller_answers_and_says_so(product, services):
    key = ready(product, services, "away", 100)
    metadata = (("x-api-key", key),)
    stub = BudgetsStub(grpc.insecure_channel(product.running.budget_grpc))
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        subprocess.run(["kill", f"-{signum.value}", str(product.running.pids["broker"])], check=True)
        if signum is signal.SIGCONT:
            break
        opened = stub.Reserve(
            pb.ReserveRequest(request_id="open", cost_nano=10, policy=pb.POLICY_OPEN), timeout=20, metadata=metadata
        )
        assert (opened.outcome, opened.not_decided) == (pb.OUTCOME_ACCEPTED, True)
        assert "policy open" in opened.message
        with pytest.raises(grpc.RpcError) as closed:
            stub.Reserve(pb.ReserveRequest(request_id="closed", cost_nano=10), timeout=20, metadata=metadata)
        assert closed.value.code() is grpc.StatusCode.UNAVAILABLE  # pyright: ignore[reportAttributeAccessIssue]
        assert "policy closed" in str(closed.value.details())  # pyright: ignore[reportAttributeAccessIssue]
        problem = httpx2.post(
            f"{product.running.budget}/v1/budgets/settle",
            json={"request_id": "x", "cost_nano": "1"},
            headers={"x-api-key": key},
            timeout=20,
        )
        assert (problem.status_code, problem.headers["retry-after"]) == (503, "1")
    caller = Caller([product.running.budget_grpc], key)
    # The same request ids again: what was not decided is decided now, once.
    assert caller.call("reserve", "closed", 10, lambda: time.monotonic() + 180)[0] == "accepted"
    assert caller.call("reserve", "closed", 10, lambda: time.monotonic() + 180)[0] == "accepted"
    spent, pending = caller.balance()
    assert spent == 0 and pending in (10, 20)  # the opened one may have reached the log after its answer


def test_decisions_go_on_while_the_store_is_away_and_it_has_them_all_afterwards(product, services):
    caller = Caller(services.addresses, ready(product, services, "outage", 100))
    store = product.running.pids["store"]
    os.kill(store, signal.SIGSTOP)
    try:
        for number in range(20):
            reserved = caller.call("reserve", f"r{number}", 10, lambda: time.monotonic() + 60)[0]
            assert reserved == ("accepted" if number < 10 else "refused")
    finally:
        os.kill(store, signal.SIGCONT)
    assert caller.balance() == (0, 100)
    _store_has(product, "outage", 0, 100)


def test_a_record_of_some_mebibytes_is_folded_and_what_it_says_is_kept(product, services):
    """Kafka's producers refuse more than one unless they are told."""
    caller = Caller(services.addresses, ready(product, services, "large", 10**9))
    holds = [
        pb.Event(org="large", reserve=pb.Reserve(request_id=f"{number:0>255}", cost_nano=1, ttl_s=3_600))
        for number in range(5_000)
    ]
    producer = Producer({"bootstrap.servers": product.running.broker, "message.max.bytes": MAX_RECORD_BYTES})
    producer.produce(BUDGET_LOG.name, pb.EventBatch(events=holds).SerializeToString(), b"large")
    assert producer.flush(60) == 0
    wait_for(lambda: caller.balance() == (0, 5_000), 120)
    _store_has(product, "large", 0, 5_000)


def test_a_key_of_another_organisation_is_unknown_and_a_wrong_one_is_refused(product, services):
    mine, other = (ready(product, services, org, 100) for org in ("mine", "other"))
    stub = BudgetsStub(grpc.insecure_channel(product.running.budget_grpc))
    other_id = other.split("_")[1]
    asked = pb.ReserveRequest(request_id="r", cost_nano=1, key_id=other_id)
    assert stub.Reserve(asked, metadata=(("x-api-key", mine),)).outcome == pb.OUTCOME_UNKNOWN_KEY
    assert stub.Reserve(asked, metadata=(("x-api-key", other),)).outcome == pb.OUTCOME_ACCEPTED
    with pytest.raises(grpc.RpcError) as refused:
        stub.Reserve(asked, metadata=(("x-api-key", mine[:-1] + "x"),))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED  # pyright: ignore[reportAttributeAccessIssue]
    # The id of a request belongs to its organisation.
    own = pb.ReserveRequest(request_id="r", cost_nano=2)
    assert stub.Reserve(own, metadata=(("x-api-key", mine),)).outcome == pb.OUTCOME_ACCEPTED


def test_events_come_to_those_who_watch_and_again_after_the_last_one_they_have(product, services):
    key = ready(product, services, "watched", 100)
    metadata = (("x-api-key", key),)
    stub = BudgetsStub(grpc.insecure_channel(product.running.budget_grpc))
    watching = stub.WatchEvents(pb.WatchEventsRequest(), metadata=metadata, timeout=120)
    watching.initial_metadata()
    until = time.monotonic() + 180
    caller = Caller([product.running.budget_grpc], key)
    caller.call("reserve", "a", 60, lambda: until)
    caller.call("settle", "a", 60, lambda: until)
    first = next(watching)
    assert (first.kind, first.threshold, first.budget.spent) == ("threshold", 50, 60)
    caller.call("reserve", "b", 60, lambda: until)
    assert next(watching).kind == "refused"
    again = stub.WatchEvents(pb.WatchEventsRequest(after_event_id=first.event_id), metadata=metadata, timeout=120)
    assert next(again).kind == "refused"
    with httpx2.stream(
        "GET", f"{product.running.budget}/v1/budgets/events", timeout=30,
        headers={"x-api-key": key, "last-event-id": first.event_id},
    ) as stream:  # fmt: skip
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: refused"


def test_the_metrics_say_how_calls_were_decided(product, services):
    page = httpx2.get(product.running.metrics["budget-service"]).text
    found = {name: float(value) for name, _, value in _lines(page)}
    assert found['llmops_budget_decisions_total{method="Reserve",outcome="accepted"}'] > 0
    assert found['llmops_budget_undecided_total{method="Reserve",policy="open"}'] > 0
    assert found['llmops_budget_decision_seconds_count{method="Reserve"}'] > 0
    assert found['llmops_budget_undecided_total{method="Extend",policy="closed"}'] == 0
    done = subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app()", "status", "--data", str(product.data)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert product.running.budget in done.stdout


def _lines(page: str) -> list[tuple[str, str, str]]:
    return [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
