from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from services.control.database import Conflict, InvalidName, open_database
from services.control.jobs import (
    Lock,
    Revision,
    RevisionState,
    add_revision,
    jobs,
    note,
    release_lock,
    revisions,
    take_lock,
)
from tests.services.control.engines import NOW, on_sqlite

NEW = Revision(
    job="observe",
    revision=0,
    target="session",
    spec={"buckets": 8, "limits": {"nesting": 100}},
    code="c" * 64,
    graph={"uids": ["batch"], "states": {"batch": {"records": 1}}, "max_parallelism": 128},
    state=RevisionState.DEPLOYING,
    message="",
    flink_job="",
    started_from="",
    savepoint="",
    operator="Zoë",
    created_at=NOW,
    changed_at=NOW,
)


def test_revisions_number_themselves_and_are_read_back_whole_the_newest_first(engine: sa.Engine) -> None:
    first, second = add_revision(engine, NEW), add_revision(engine, replace(NEW, message="two\nlines", revision=9))
    assert (first, second) == (replace(NEW, revision=1), replace(NEW, revision=2, message="two\nlines"))
    assert revisions(engine, "observe") == [second, first]


def test_each_job_has_numbers_of_its_own(engine: sa.Engine) -> None:
    add_revision(engine, NEW)
    assert add_revision(engine, replace(NEW, job="other")).revision == 1
    assert add_revision(engine, NEW).revision == 2
    assert jobs(engine) == ["observe", "other"]
    assert revisions(engine, "nobody") == []


def test_a_name_that_is_none_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(InvalidName, match="job"):
        add_revision(engine, replace(NEW, job="No Name"))
    assert jobs(engine) == []


def test_a_note_changes_what_it_names_and_when(engine: sa.Engine) -> None:
    other, mine = add_revision(engine, NEW), add_revision(engine, NEW)
    noted = note(engine, mine, NOW + 5, state=RevisionState.RUNNING, flink_job="ab" * 16)
    assert noted == replace(mine, state=RevisionState.RUNNING, flink_job="ab" * 16, changed_at=NOW + 5)
    again = note(engine, mine, NOW + 6, savepoint="file:///s", message="stopped")
    assert again == replace(noted, savepoint="file:///s", message="stopped", changed_at=NOW + 6)
    assert revisions(engine, "observe") == [again, other]


def test_a_lock_is_held_by_one_and_names_its_holder(engine: sa.Engine) -> None:
    lock = take_lock(engine, "observe", "zoe@laptop", NOW, NOW + 60)
    with pytest.raises(Conflict, match="zoe@laptop is changing the job 'observe'"):
        take_lock(engine, "observe", "ann@laptop", NOW + 60, NOW + 120)
    take_lock(engine, "other", "ann@laptop", NOW, NOW + 60)
    release_lock(engine, lock)
    release_lock(engine, lock)
    take_lock(engine, "observe", "ann@laptop", NOW + 1, NOW + 60)


def test_a_lock_that_ran_out_is_passed_over_and_its_release_leaves_the_new_one(engine: sa.Engine) -> None:
    lost = take_lock(engine, "observe", "zoe", NOW, NOW + 60)
    held = take_lock(engine, "observe", "ann", NOW + 61, NOW + 120)
    release_lock(engine, lost)
    with pytest.raises(Conflict, match="ann"):
        take_lock(engine, "observe", "zoe", NOW + 62, NOW + 130)
    release_lock(engine, held)
    take_lock(engine, "observe", "zoe", NOW + 63, NOW + 130)


def test_of_many_that_take_a_lock_at_once_one_gets_it(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)

    def take(number: int) -> Lock | None:
        mine = open_database(url)
        try:
            return take_lock(mine, "observe", f"operator {number}", NOW, NOW + 60)
        except Conflict:
            return None
        finally:
            mine.dispose()

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert len([lock for lock in taken if lock]) == 1


def test_of_many_that_add_a_revision_at_once_each_has_a_number_of_its_own(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)

    def add(_: int) -> int:
        mine = open_database(url)
        try:
            return add_revision(mine, NEW).revision
        finally:
            mine.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(8))) == list(range(1, 9))


def test_histories_outlive_the_process(tmp_path) -> None:
    with on_sqlite(tmp_path) as engine:
        written = add_revision(engine, NEW)
    with on_sqlite(tmp_path) as engine:
        assert revisions(engine, "observe") == [written]
