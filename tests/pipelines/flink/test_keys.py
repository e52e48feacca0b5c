from collections import Counter

import pytest

from pipelines.flink.keys import MAX_PARALLELISM, key_group, spread_keys, subtask_of


def _loads(count: int, parallelism: int) -> list[int]:
    load = Counter(subtask_of(key, parallelism) for key in spread_keys(count))
    return [load[subtask] for subtask in range(parallelism)]


@pytest.mark.parametrize("parallelism", (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 48, 128))
def test_keys_have_key_groups_of_their_own_and_spread_evenly(parallelism):
    for count in range(1, MAX_PARALLELISM + 1):
        assert len({key_group(key) for key in spread_keys(count)}) == count
        assert max(_loads(count, parallelism)) - min(_loads(count, parallelism)) <= 2


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 64, 128])
@pytest.mark.parametrize("parallelism", [1, 2, 4, 8, 16, 32, 64, 128])
def test_powers_of_two_spread_exactly(count, parallelism):
    assert max(_loads(count, parallelism)) == max(1, count // parallelism)


@pytest.mark.parametrize("parallelism", (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 48, 128))
def test_as_many_keys_as_subtasks_have_one_subtask_each_in_order(parallelism):
    assert [subtask_of(key, parallelism) for key in spread_keys(parallelism)] == list(range(parallelism))


@pytest.mark.parametrize("count", [0, MAX_PARALLELISM + 1])
def test_more_keys_than_key_groups_are_refused(count):
    with pytest.raises(ValueError, match="key groups"):
        spread_keys(count)


def test_key_groups_are_those_that_flink_gives_to_the_keys_of_a_python_stream(jvm):
    assign = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    selector = jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()

    def group(key: int) -> int:
        element = jvm.org.apache.flink.types.Row(2)
        element.setField(0, jvm.java.lang.Long.valueOf(key))
        return assign(selector.getKey(element), MAX_PARALLELISM)

    keys = [*spread_keys(MAX_PARALLELISM), 2**31 - 1, 2**31, 2**32 + 7, 2**62]
    assert [key_group(key) for key in keys] == [group(key) for key in keys]
