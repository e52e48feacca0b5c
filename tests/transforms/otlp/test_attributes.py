import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.otlp.attributes import Attributes, ValueKind

KEYS = ["a", "b", "c"]
Row = tuple[int, str, int]  # owner, key, value


def attributes(rows: list[Row], owners: int) -> Attributes:
    rows = sorted(rows, key=lambda row: row[0])
    values = [value for _, _, value in rows]
    return Attributes(
        owners=owners,
        owner=np.array([owner for owner, _, _ in rows], np.int32),
        code=np.array([KEYS.index(key) for _, key, _ in rows], np.int32),
        keys=KEYS,
        kind=np.full(len(rows), ValueKind.INT, np.uint8),
        text=pa.array([str(value) for value in values], pa.large_string()),
        number=pa.array([None if value < 0 else float(value) for value in values], pa.float64()),
        integer=pa.array([None if value < 0 else value for value in values], pa.int64()),
    )


ROWS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(KEYS), st.integers(-3, 99)), max_size=20)


@given(ROWS)
def test_the_positions_of_a_key_are_those_that_a_search_finds(rows: list[Row]) -> None:
    batch = attributes(rows, 5)
    for key in KEYS:
        found = [i for i in range(len(rows)) if batch.code[i] == KEYS.index(key)]
        assert batch.positions(key).tolist() == found


@given(ROWS, st.permutations(KEYS))
def test_the_first_of_several_keys_is_the_earliest_named_that_the_owner_has(rows: list[Row], keys: list[str]) -> None:
    batch = attributes(rows, 5)
    for owner, position in enumerate(batch.first(keys).tolist()):
        mine = [i for key in keys for i in batch.positions(key).tolist() if batch.owner[i] == owner]
        assert position == (mine[0] if mine else -1)


@given(ROWS)
def test_values_are_gathered_in_the_wanted_type_and_null_where_there_is_none(rows: list[Row]) -> None:
    batch = attributes(rows, 5)
    positions = batch.first(["b"])
    texts = [None if p < 0 else batch.text[p].as_py() for p in positions.tolist()]
    assert batch.texts_at(positions).to_list() == texts
    assert batch.integers_at(positions).to_list() == [
        None if p < 0 else batch.integer[p].as_py() for p in positions.tolist()
    ]
    assert batch.numbers_at(positions).to_list() == [
        None if p < 0 else batch.number[p].as_py() for p in positions.tolist()
    ]


@given(ROWS)
def test_the_numbers_of_a_sliced_batch_are_those_of_the_slice(rows: list[Row]) -> None:
    whole = attributes(rows, 5)
    cut = Attributes(
        5,
        whole.owner[1:],
        whole.code[1:],
        KEYS,
        whole.kind[1:],
        *(array.slice(1) for array in (whole.text, whole.number, whole.integer)),
    )
    values, known = cut.integers
    assert [int(v) if k else None for v, k in zip(values, known, strict=True)] == cut.integer.to_pylist()
    assert cut.lengths.tolist() == [len(text) for text in cut.text.to_pylist()]


def test_a_key_that_the_batch_has_not_is_nowhere() -> None:
    batch = attributes([(0, "a", 1)], 2)
    assert batch.positions("z").tolist() == []
    assert batch.first(["z"]).tolist() == [-1, -1]


def test_an_empty_batch_has_no_values() -> None:
    batch = attributes([], 0)
    assert batch.texts_at(batch.first(["a"])).to_list() == []
    assert batch.lengths.tolist() == batch.integers[0].tolist() == []


def test_more_keys_than_16_bits_hold_are_told_apart() -> None:
    count = 70_000
    batch = Attributes(
        count,
        np.arange(count, dtype=np.int32),
        np.arange(count, dtype=np.int32),
        [str(i) for i in range(count)],
        np.ones(count, np.uint8),
        pa.array([""] * count, pa.large_string()),
        pa.nulls(count, pa.float64()),
        pa.nulls(count, pa.int64()),
    )
    assert batch.positions("69999").tolist() == [69_999]
    assert batch.positions(str(69_999 - 2**16)).tolist() == [69_999 - 2**16]
