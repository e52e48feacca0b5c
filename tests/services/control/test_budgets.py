from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from schemas import budget_pb2 as pb
from services.control.budget_definition import Budget, InvalidBudget, as_proto
from services.control.budgets import (
    delete_budget,
    find_budget,
    history,
    limits_of,
    list_budgets,
    revisions,
    set_budget,
)
from services.control.database import Conflict, InvalidName, NotFound, open_database
from services.control.keys import create_key
from services.control.organisations import create_org
from tests.services.control.engines import NOW
from transforms.budgets.limits import EMPTY, revised

MONTH = Budget("acme", "all", 25 * 10**9, time_zone="Europe/Berlin")


@pytest.fixture
def acme(engine: sa.Engine) -> sa.Engine:
    create_org(engine, "acme", "Acme", True, NOW)
    create_org(engine, "globex", "Globex", True, NOW)
    return engine


def put(engine: sa.Engine, budget: Budget, expected: int | None = None) -> Budget:
    return set_budget(engine, budget, "ann", "because", NOW, expected)


def test_a_budget_that_was_set_is_found_and_listed(acme: sa.Engine) -> None:
    made = put(acme, replace(MONTH, thresholds=(10, 99), hard=False, provider="openai", model="gpt-*", effective_to=5))
    assert (made.revision, made.changed_at) == (1, NOW)
    assert find_budget(acme, "acme", "all") == made
    other = put(acme, Budget("globex", "all", 7, unit="tokens", period="day"))
    assert list_budgets(acme) == [made, other] and list_budgets(acme, "globex") == [other]


def test_setting_the_same_budget_again_changes_nothing(acme: sa.Engine) -> None:
    made = put(acme, MONTH)
    assert set_budget(acme, MONTH, "bob", "again", NOW + 5) == made
    assert revisions(acme) == {"acme": 1} and len(history(acme, "acme")) == 1


def test_every_change_has_the_next_revision_of_its_organisation(acme: sa.Engine) -> None:
    put(acme, MONTH)
    put(acme, replace(MONTH, name="two"))
    put(acme, replace(MONTH, org="globex"))
    put(acme, replace(MONTH, amount=1))
    delete_budget(acme, "acme", "two", "bob", "over", NOW + 9)
    assert revisions(acme) == {"acme": 4, "globex": 1}
    told = [(one.revision, one.change, one.budget.name, one.budget.amount, one.actor) for one in history(acme, "acme")]
    whole = 25 * 10**9
    assert told == [
        (4, "delete", "two", whole, "bob"),
        (3, "set", "all", 1, "ann"),
        (2, "set", "two", whole, "ann"),
        (1, "set", "all", whole, "ann"),
    ]
    [last, first] = history(acme, "acme", "two")
    assert (last.reason, last.changed_at, first.budget.revision) == ("over", NOW + 9, 2)


def test_the_ledger_takes_the_limits_as_they_are_stored(acme: sa.Engine) -> None:
    assert limits_of(acme, "acme") == pb.Limits()
    key, _ = create_key(acme, "acme", "red", "ci", NOW)
    put(acme, MONTH)
    put(acme, Budget("acme", "key", 5, "tokens", "total", team="red", key_id=key.key_id, hard=False, thresholds=()))
    found = limits_of(acme, "acme")
    assert found.revision == 2 and [one.name for one in found.budgets] == ["all", "key"]
    book = revised(EMPTY, found)
    assert [(b.unit, b.window, b.zone.key) for b in book.active] == [
        ("nano_dollars", "month", "Europe/Berlin"),
        ("tokens", "total", "UTC"),
    ]
    delete_budget(acme, "acme", "all", "ann", "", NOW)
    assert [b.id for b in revised(book, limits_of(acme, "acme")).active] == [b.id for b in book.active[1:]]


def test_a_budget_keeps_its_balance_under_another_limit_and_begins_anew_where_it_counts_something_else() -> None:
    same = [replace(MONTH, amount=1), replace(MONTH, hard=False), replace(MONTH, thresholds=(), effective_to=9)]
    assert {budget.budget_id for budget in same} == {MONTH.budget_id}
    other = [replace(MONTH, **{name: "day"}) for name in ("org", "name", "team", "key_id", "provider", "model")]
    other += [replace(MONTH, period="day"), replace(MONTH, time_zone="UTC"), replace(MONTH, unit="tokens")]
    assert len({budget.budget_id for budget in [*other, MONTH]}) == 10
    assert as_proto(MONTH).budget_id == MONTH.budget_id


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "No"}, InvalidName, "budget 'No'"),
        ({"team": "a/b"}, InvalidName, "team"),
        ({"amount": -1}, InvalidBudget, "from 0"),
        ({"amount": 10**18 + 1}, InvalidBudget, "from 0"),
        ({"unit": "euro"}, InvalidBudget, "unit 'euro'"),
        ({"period": "year"}, InvalidBudget, "window 'year'"),
        ({"time_zone": "Mars/Olympus"}, InvalidBudget, "time zone"),
        ({"thresholds": (0,)}, InvalidBudget, "1 to 100"),
        ({"thresholds": (101,)}, InvalidBudget, "1 to 100"),
        ({"thresholds": tuple(range(1, 12))}, InvalidBudget, "up to 10"),
        ({"effective_from": 5, "effective_to": 5}, InvalidBudget, "ends after"),
        ({"model": "x" * 256}, InvalidBudget, "255"),
        ({"org": "nobody"}, NotFound, "organisation 'nobody'"),
        ({"key_id": "nokey"}, NotFound, "key 'nokey'"),
    ],
)
def test_a_budget_that_cannot_hold_is_refused_and_leaves_nothing(acme: sa.Engine, change, error, message) -> None:
    with pytest.raises(error, match=message):
        put(acme, replace(MONTH, **change))
    assert list_budgets(acme) == [] and revisions(acme) == {} and history(acme, "acme") == []


def test_the_key_of_another_organisation_is_refused(acme: sa.Engine) -> None:
    key, _ = create_key(acme, "globex", "", "ci", NOW)
    with pytest.raises(NotFound, match=key.key_id):
        put(acme, replace(MONTH, key_id=key.key_id))


def test_a_change_that_expects_another_revision_is_refused(acme: sa.Engine) -> None:
    put(acme, MONTH, expected=0)
    with pytest.raises(Conflict, match="has revision 1, not 0"):
        put(acme, replace(MONTH, amount=1), expected=0)
    put(acme, replace(MONTH, amount=1), expected=1)
    with pytest.raises(Conflict, match="has revision 2, not 1"):
        delete_budget(acme, "acme", "all", "ann", "", NOW, expected=1)
    assert delete_budget(acme, "acme", "all", "ann", "", NOW, expected=2).amount == 1
    assert revisions(acme) == {"acme": 3}


def test_what_is_not_there_cannot_be_deleted_or_found(acme: sa.Engine) -> None:
    with pytest.raises(NotFound, match="no budget 'all'"):
        delete_budget(acme, "acme", "all", "ann", "", NOW)
    with pytest.raises(NotFound, match="no budget 'all'"):
        find_budget(acme, "acme", "all")
    assert revisions(acme) == {}


def test_changes_at_the_same_time_get_revisions_of_their_own(acme: sa.Engine) -> None:
    url = acme.url.render_as_string(hide_password=False)

    def change(number: int) -> int:
        engine = open_database(url)
        try:
            return put(engine, replace(MONTH, name=f"b{number}")).revision
        finally:
            engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(change, range(12)))
    assert sorted(made) == list(range(1, 13)) and len(list_budgets(acme)) == 12
