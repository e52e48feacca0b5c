import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.cuts import cut


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text("aäあ😀", max_size=12)), max_size=8), st.integers(0, 20))
def test_texts_are_the_longest_prefix_of_whole_characters_within_the_limit(texts: list[str | None], limit: int):
    found, lost = cut(pl.Series(texts, dtype=pl.String), limit)
    expected = [None if text is None else text.encode()[:limit].decode(errors="ignore") for text in texts]
    assert found.to_list() == expected
    assert lost.tolist() == [text != shorter for text, shorter in zip(texts, expected, strict=True)]
