"""Every fault once, on both state backends: the tables are those of an undisturbed run, row for row.

`make chaos SEEDS=20` draws scenarios instead, with pauses at full length.
"""

import pytest

from integration_tests.chaos.faults import FAULTS
from integration_tests.chaos.scenarios import Scenario, drawn, play

_SCENARIOS = [
    Scenario(
        11,
        "hashmap",
        (
            ("in a checkpoint", "kill taskmanager"),
            ("between checkpoints", "store replies swallowed"),
            ("in a checkpoint", "kill jobmanager"),
            ("any time", "kill gateway"),
            ("any time", "rescale from savepoint"),
            ("any time", "pause store 60 s"),
            ("any time", "kill taskmanager in a savepoint"),
            ("any time", "kill postgres"),
        ),
    ),
    Scenario(
        12,
        "rocksdb",
        (
            ("any time", "kill store"),
            ("any time", "store slow and breaking off"),
            ("between checkpoints", "kill all taskmanagers"),
            ("any time", "disk of checkpoints full"),
            ("any time", "kill broker"),
            ("any time", "pause taskmanager 60 s"),
            ("any time", "broker unreachable 10 min"),
            ("any time", "kill zookeeper"),
            ("any time", "pause gateway 60 s"),
        ),
    ),
]


def test_every_fault_is_in_a_scenario():
    assert {fault for scenario in _SCENARIOS for _, fault in scenario.steps} == set(FAULTS)


def test_a_seed_draws_the_same_scenario_again():
    assert drawn(7, 4) == drawn(7, 4) != drawn(8, 4)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", _SCENARIOS, ids=lambda scenario: scenario.backend)
def test_after_faults_of_every_kind_the_tables_equal_an_undisturbed_run(scenario, tmp_path, undisturbed):
    print(scenario)
    # Longer than it takes to give a TaskManager up; `make chaos` takes the minute and the ten minutes whole.
    play(scenario, tmp_path, undisturbed, print, longest_s=15)


@pytest.mark.timeout(600)
def test_the_suite_notices_a_store_that_acknowledges_what_it_drops(tmp_path, undisturbed):
    with pytest.raises(AssertionError, match="rows, not"):
        play(Scenario(13, "hashmap", ()), tmp_path, undisturbed, print, lies=3)
