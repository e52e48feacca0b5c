"""One fault upon another on a real cluster: the tables are those of an undisturbed run, row for row.

`make chaos SEEDS=20` draws scenarios from all faults, on both state backends, with pauses at full length.
"""

import pytest

from integration_tests.chaos.faults import FAULTS, MOMENTS
from integration_tests.chaos.scenarios import Scenario, drawn, play

_SCENARIO = Scenario(
    11,
    "rocksdb",
    (
        ("between checkpoints", "store replies swallowed"),
        ("in a checkpoint", "kill taskmanager"),
        ("in a checkpoint", "kill jobmanager"),
        ("any time", "kill store"),
        ("any time", "rescale from savepoint"),
        ("any time", "kill broker"),
        ("any time", "pause taskmanager 60 s"),
        ("any time", "kill gateway"),
        ("any time", "disk of checkpoints full"),
        ("any time", "broker unreachable 10 min"),
    ),
)


def test_the_scenario_names_faults_and_moments_that_there_are():
    assert {fault for _, fault in _SCENARIO.steps} <= set(FAULTS)
    assert {moment for moment, _ in _SCENARIO.steps} <= set(MOMENTS)


def test_a_seed_draws_the_same_scenario_again():
    assert drawn(7, 4) == drawn(7, 4) != drawn(8, 4)


def test_after_one_fault_upon_another_the_tables_equal_an_undisturbed_run(tmp_path, undisturbed):
    print(_SCENARIO)
    # Longer than it takes to give a TaskManager up; `make chaos` takes the minute and the ten minutes whole.
    play(_SCENARIO, tmp_path, undisturbed, print, longest_s=15)


def test_the_suite_notices_a_store_that_acknowledges_what_it_drops(tmp_path, undisturbed):
    with pytest.raises(AssertionError, match="rows, not"):
        play(Scenario(13, "hashmap", ()), tmp_path, undisturbed, print, lies=3)
