import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.content_hash import hash_rows, hash_values

HASHES = [17508005127702757215, 8777055843625058441]
MAP = pa.map_(pa.string(), pa.string())


def test_the_hash_is_the_same_in_every_process():
    code = (
        "import pyarrow as pa; from transforms.content_hash import hash_values;"
        "print(hash_values(pa.array(['', 'a', 'ä' * 100, None])).tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(hash_values(pa.array(["", "a", "ä" * 100, None])).tolist())
    # a change of these numbers would change the version of every span that is received twice
    assert hash_values(pa.array(["a", "b"])).tolist() == HASHES


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=30))
def test_texts_are_equal_when_their_hashes_are_wherever_they_stand(texts: list[str]):
    hashed = hash_values(pa.array(texts)).tolist()
    assert [hash_values(pa.array([text]))[0] for text in texts] == hashed
    assert len(set(hashed)) == len(set(texts))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)))), max_size=10))
def test_maps_are_equal_when_their_hashes_are(maps: list):
    hashed = hash_values(pa.array(maps, MAP)).tolist()
    assert len(set(hashed)) == len({None if own is None else tuple(own) for own in maps})
    assert hash_values(pa.array(maps, MAP).slice(1)).tolist() == hashed[1:]


def test_a_change_of_any_bit_of_a_text_changes_the_upper_bits():
    texts = ["x" * at + chr(ord("x") ^ 1 << bit) + "x" * (99 - at) for at in range(100) for bit in range(7)]
    assert len(set((hash_values(pa.array(texts)) >> np.uint64(24)).tolist())) == len(texts)


def test_rows_differ_by_the_order_of_columns_by_nesting_and_by_null():
    a, b = pa.array(["a", "b"]), pa.array([1, 2])
    rows = [
        hash_rows([a, b]),
        hash_rows([b, a]),
        hash_rows([a, pa.array([1, None])]),
        hash_rows([a, pa.array([[1], [1, 1]])]),
        hash_rows([a, pa.array([{"x": 1}, {"x": 2}])]),
        hash_rows([a, pa.array([True, False])]),
    ]
    assert len({int(value) for row in rows for value in row}) == 10  # two rows are those of others: a, 1 and a, true
