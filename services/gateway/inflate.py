"""Undo a request's content encoding without ever holding more than the limit allows."""

import zlib
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import zstandard

from services.shared.answers import Refusal, Refused

# The window that RFC 8878 asks every decoder to support; a larger one would be memory chosen by the sender.
_ZSTD_WINDOW_BYTES = 8 * 2**20
# What is fed at once. zlib stops at the limit by itself; 256 bytes of zstd can make 8 MiB at most (RFC
# 8878, 3.1.1.2: four bytes make a block of 128 KiB), so that feeding little bounds what is held beyond
# the limit.
_ZLIB_FEED_BYTES = 16 * 2**10
_ZSTD_FEED_BYTES = 256
# Members of a gzip or deflate body, or frames of a zstd body; each costs a decoder of its own.
_MOST_MEMBERS = 1_024


class Encoding(StrEnum):
    IDENTITY = "identity"
    GZIP = "gzip"
    DEFLATE = "deflate"  # the zlib format (RFC 9110, 8.4.1.2)
    ZSTD = "zstd"


# zlib's `wbits`: the largest window, and which header to expect.
_ZLIB_FORMATS = {Encoding.GZIP: 31, Encoding.DEFLATE: 15}


def encoding_named(header: str) -> Encoding:
    """The encoding that a Content-Encoding header names. Raises Refused (415) for one that is not spoken."""
    try:
        return Encoding(header.strip().lower() or Encoding.IDENTITY)
    except ValueError:
        raise Refused(Refusal.UNSUPPORTED, f"content encoding {header!r} is not one of {', '.join(Encoding)}") from None


def inflate(wire: bytes, encoding: Encoding, most_bytes: int) -> bytes:
    """The plain bytes of `wire`, at most `most_bytes` of them.

    Raises Refused: 413 as soon as the output passes the limit, 400 when the data is broken.
    """
    if encoding is Encoding.IDENTITY:
        if len(wire) > most_bytes:
            raise _too_large(most_bytes)
        return wire
    if encoding in _ZLIB_FORMATS:
        window = _ZLIB_FORMATS[encoding]
        return _members(wire, lambda: zlib.decompressobj(window), _ZLIB_FEED_BYTES, most_bytes)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    return _members(wire, lambda: _ZstdFrame(decompressor), _ZSTD_FEED_BYTES, most_bytes)


def _members(wire: bytes, start: Callable[[], Any], feed_bytes: int, most_bytes: int) -> bytes:
    """All gzip members (RFC 1952, 2.2) or zstd frames of a body, joined. start: a decoder with zlib's
    interface.
    """
    view = memoryview(wire)
    parts: list[bytes] = []
    at, left = 0, most_bytes + 1
    for _ in range(_MOST_MEMBERS):
        if at == len(wire):
            return b"".join(parts)
        member = start()
        while not member.eof:
            if at == len(wire):
                raise Refused(Refusal.UNDECODABLE, "the compressed body ends before its end")
            feed = view[at : at + feed_bytes]
            try:
                part = member.decompress(feed, left)
            except (zlib.error, zstandard.ZstdError) as error:
                raise Refused(Refusal.UNDECODABLE, f"the body cannot be decompressed: {error}") from error
            parts.append(part)
            left -= len(part)
            if left <= 0:
                raise _too_large(most_bytes)
            at += len(feed)
        at -= len(member.unused_data)
    raise Refused(Refusal.UNDECODABLE, f"the body has more than {_MOST_MEMBERS} compressed members")


class _ZstdFrame:
    """One zstd frame with the interface of zlib's decoder; the output of one call is bounded by its input
    alone.
    """

    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._frame = decompressor.decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: memoryview, _most_bytes: int) -> bytes:
        return self._frame.decompress(data)


def _too_large(most_bytes: int) -> Refused:
    return Refused(Refusal.TOO_LARGE, f"the request is larger than {most_bytes} bytes when decompressed")
