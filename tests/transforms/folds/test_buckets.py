from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from transforms.folds.buckets import bucket_of, hex_ids, id_words, trace_hashes

HEX = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(st.lists(HEX))
def test_ids_survive_the_way_to_words_and_back(ids: list[str]) -> None:
    shown = hex_ids(id_words(pl.Series(ids, dtype=pl.String))).to_pylist()
    assert shown == ["" if set(text) == {"0"} else text for text in ids]


def test_a_missing_or_malformed_id_is_zero() -> None:
    assert id_words(pl.Series(["", None, "xyz", "abc"])).tolist() == [0, 0, 0, 0]


def test_buckets_are_stable_across_versions() -> None:
    ids = pl.Series([f"{number:032x}" for number in range(6)])
    assert bucket_of(ids, 16).tolist() == [0, 5, 10, 0, 4, 12]
    assert trace_hashes(pl.Series(["acme", "globex"]), ids[:2]).tolist() == [3078872492773057930, 16147150176308836910]


def test_buckets_are_even_also_for_counting_ids() -> None:
    for ids in (
        [f"{number:032x}" for number in range(16_000)],
        [f"{number:016x}" + "0" * 16 for number in range(16_000)],
    ):
        counts = Counter(bucket_of(pl.Series(ids), 16).tolist())
        assert len(counts) == 16
        assert max(counts.values()) < 1.15 * 1000


def test_one_trace_id_of_two_organisations_has_two_hashes() -> None:
    one, two = trace_hashes(pl.Series(["acme", "globex"]), pl.Series(["ab" * 16] * 2))
    assert one != two
    assert np.uint64(one).dtype == np.uint64
