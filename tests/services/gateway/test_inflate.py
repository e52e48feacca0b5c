import gzip
import resource
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.inflate import Encoding, encoding_named, inflate
from services.shared.answers import Refusal, Refused

MiB = 2**20
PACK = {
    Encoding.IDENTITY: bytes,
    Encoding.GZIP: gzip.compress,
    Encoding.DEFLATE: zlib.compress,
    Encoding.ZSTD: zstandard.compress,
}


def refusal(wire: bytes, encoding: Encoding, most_bytes: int = 20 * MiB) -> Refusal:
    with pytest.raises(Refused) as caught:
        inflate(wire, encoding, most_bytes)
    return caught.value.refusal


def gzip_bomb(size: int) -> bytes:
    """`size` zero bytes in a thousandth of it: one flushed block of 16 MiB, again and again."""
    squeeze = zlib.compressobj(9, wbits=31)
    head = squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(16 * MiB)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // (16 * MiB))


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_members_or_frames_come_back_joined(parts: list[bytes]) -> None:
    plain = b"".join(parts)
    assert inflate(b"".join(map(gzip.compress, parts)), Encoding.GZIP, 1000) == plain
    assert inflate(b"".join(map(zlib.compress, parts)), Encoding.DEFLATE, 1000) == plain
    assert inflate(b"".join(map(zstandard.compress, parts)), Encoding.ZSTD, 1000) == plain
    assert inflate(plain, Encoding.IDENTITY, 1000) == plain


@pytest.mark.parametrize("encoding", Encoding)
def test_exactly_the_limit_is_taken_and_one_byte_more_is_too_large(encoding: Encoding) -> None:
    pack = PACK[encoding]
    assert len(inflate(pack(bytes(1000)), encoding, 1000)) == 1000
    assert refusal(pack(bytes(1001)), encoding, 1000) is Refusal.TOO_LARGE


def test_a_gzip_bomb_is_refused_after_the_limit_and_never_inflated_whole() -> None:
    bomb = gzip_bomb(6 * 1024 * MiB)
    assert len(bomb) < 8 * MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(bomb, Encoding.GZIP) is Refusal.TOO_LARGE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


def test_a_bomb_of_many_members_is_refused_too() -> None:
    assert refusal(gzip.compress(bytes(MiB)) * 100, Encoding.GZIP) is Refusal.TOO_LARGE


def test_a_body_of_countless_empty_members_is_refused() -> None:
    assert refusal(gzip.compress(b"") * 100_000, Encoding.GZIP) is Refusal.UNDECODABLE


def test_a_zstd_bomb_is_refused_after_the_limit() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(512 * MiB))
    assert refusal(bomb, Encoding.ZSTD) is Refusal.TOO_LARGE


def test_a_zstd_window_of_the_senders_choice_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refusal(compressor.compress(bytes(100)) + compressor.flush(), Encoding.ZSTD) is Refusal.UNDECODABLE


@pytest.mark.parametrize("encoding", [Encoding.GZIP, Encoding.DEFLATE, Encoding.ZSTD])
@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda _: b"not compressed", lambda b: b + b"junk"])
def test_broken_compression_is_undecodable(encoding: Encoding, spoil) -> None:
    pack = PACK[encoding]
    assert refusal(spoil(pack(b"x" * 1000)), encoding) is Refusal.UNDECODABLE


def test_an_absent_encoding_is_identity_and_an_unknown_one_unsupported() -> None:
    assert encoding_named("") is Encoding.IDENTITY
    assert encoding_named(" GZip ") is Encoding.GZIP
    with pytest.raises(Refused, match="'br' is not one of identity, gzip, deflate, zstd") as caught:
        encoding_named("br")
    assert caught.value.refusal is Refusal.UNSUPPORTED
