"""Undo a request's content encoding without ever holding more than the limit allows."""

import zlib
from enum import StrEnum

import zstandard

from services.gateway.answers import Refusal, Refused

# The window that RFC 8878 asks every decoder to support; a larger one would be memory chosen by the sender.
_ZSTD_WINDOW_BYTES = 8 * 2**20


class Encoding(StrEnum):
    IDENTITY = "identity"
    GZIP = "gzip"
    ZSTD = "zstd"


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
        plain = wire
    elif encoding is Encoding.GZIP:
        plain = _gunzip(wire, most_bytes + 1)
    else:
        plain = _unzstd(wire, most_bytes + 1)
    if len(plain) > most_bytes:
        raise Refused(Refusal.TOO_LARGE, f"the request is larger than {most_bytes} bytes when decompressed")
    return plain


def _gunzip(wire: bytes, most_bytes: int) -> bytes:
    """Every member of a gzip file (RFC 1952, 2.2), cut at `most_bytes`."""
    parts: list[bytes] = []
    left = most_bytes
    while wire and left:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(wire, left)
        except zlib.error as error:
            raise Refused(Refusal.UNDECODABLE, f"the body is not valid gzip: {error}") from error
        parts.append(part)
        left -= len(part)
        if left and not member.eof:
            raise Refused(Refusal.UNDECODABLE, "the gzip body ends before its end")
        wire = member.unused_data
    return b"".join(parts)


def _unzstd(wire: bytes, most_bytes: int) -> bytes:
    """Every frame of a zstd body (RFC 8878, 3.1), cut at `most_bytes`."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(wire, read_across_frames=True) as reader:
            return reader.read(most_bytes)
    except zstandard.ZstdError as error:
        raise Refused(Refusal.UNDECODABLE, f"the body is not valid zstd: {error}") from error
