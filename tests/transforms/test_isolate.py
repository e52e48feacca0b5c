import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.isolate import isolate


class Poison(Exception):
    pass


@settings(deadline=None)
@given(count=st.integers(0, 60), bad=st.sets(st.integers(0, 59)))
def test_exactly_the_bad_items_are_found_and_all_others_pass_once_in_order(count: int, bad: set[int]):
    def attempt(start: int, stop: int) -> list[int]:
        if bad & set(range(start, stop)):
            raise Poison(f"in {start}..{stop}")
        return list(range(start, stop))

    found = isolate(count, attempt, (Poison,))
    assert [item for part in found.results for item in part] == [item for item in range(count) if item not in bad]
    assert [item for item, _ in found.bad] == sorted(item for item in bad if item < count)


def test_a_batch_without_a_bad_item_is_tried_once():
    tried = []
    isolate(1000, lambda start, stop: tried.append((start, stop)), (Poison,))
    assert tried == [(0, 1000)]


def test_one_bad_item_costs_a_logarithm_of_attempts():
    tried = 0

    def attempt(start: int, stop: int) -> None:
        nonlocal tried
        tried += 1
        if start <= 700 < stop:
            raise Poison

    assert [item for item, _ in isolate(1024, attempt, (Poison,)).bad] == [700]
    assert tried == 21


def test_an_error_that_is_not_named_passes_through():
    def attempt(start: int, stop: int) -> None:
        raise KeyError("not foreseen")

    with pytest.raises(KeyError):
        isolate(2, attempt, (Poison,))
