import gzip
import zlib

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.store.encoding import deflater, inflater
from services.store.protocol import StoreError

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "identity": bytes,
}
UNPACK = {
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "lz4": lz4.frame.decompress,
    "br": lambda data: bytes(cramjam.brotli.decompress(data)),
}


def _inflate(encoding: str, wire: bytes, step: int) -> bytes:
    inflate = inflater(encoding)
    plain = b"".join(part for at in range(0, len(wire), step) for part in inflate.feed(wire[at : at + step]))
    inflate.finish()
    return plain


@given(st.sampled_from(list(PACK)), st.binary(max_size=5000), st.integers(1, 999))
def test_a_body_in_any_pieces_is_inflated_to_what_was_packed(encoding: str, plain: bytes, step: int):
    assert _inflate(encoding, PACK[encoding](plain), step) == plain


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_members_one_after_the_other_are_one_body(encoding: str):
    assert _inflate(encoding, PACK[encoding](b"one ") + PACK[encoding](b"two"), 7) == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_a_bomb_is_inflated_in_bounded_steps(encoding: str):
    wire = PACK[encoding](bytes(256 * 2**20))
    assert max(len(part) for part in inflater(encoding).feed(wire)) <= 32 * 2**20


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
@pytest.mark.parametrize("spoil", [lambda wire: wire[:-3], lambda wire: b"\x01\x02" + wire[4:]])
def test_a_broken_body_is_refused(encoding: str, spoil):
    with pytest.raises(StoreError) as refusal:
        _inflate(encoding, spoil(PACK[encoding](b"some rows" * 100)), 64)
    assert refusal.value.code == 271


def test_an_encoding_that_is_not_spoken_is_refused():
    with pytest.raises(StoreError, match="snappy"):
        inflater("snappy")


@given(st.sampled_from(list(UNPACK)), st.lists(st.binary(max_size=300), max_size=5))
def test_an_answer_is_compressed_as_it_goes_out(encoding: str, parts: list[bytes]):
    found = deflater(("unheard-of", encoding))
    assert found is not None
    name, packer = found
    wire = b""
    for part in parts:
        packer.compress(part)
        wire += bytes(packer.flush())
    wire += bytes(packer.finish())
    assert name == encoding
    assert UNPACK[name](wire) == b"".join(parts)


def test_a_client_that_takes_nothing_we_speak_gets_plain_bytes():
    assert deflater(("snappy",)) is None
