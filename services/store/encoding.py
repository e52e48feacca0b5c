"""Content encodings of requests, inflated step by step, and of answers."""

import zlib
from collections.abc import Iterator
from typing import Protocol

import cramjam
import lz4.frame
import zstandard

from services.store.protocol import StoreError

_STEP_BYTES = 2**20  # most that one step of inflation yields
_ZSTD_WINDOW_BYTES = 8 * 2**20  # what RFC 8878 asks every decoder to support; more is memory chosen by the sender


class Inflate(Protocol):
    """Turns the bytes on the wire into plain bytes, at most some MiB at a time."""

    def feed(self, wire: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None:
        """Raises StoreError when the body ended before its end."""


class _Plain:
    def feed(self, wire: bytes) -> Iterator[bytes]:
        yield wire

    def finish(self) -> None:
        pass


class _Zlib:
    """gzip (all members) or deflate."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._member = zlib.decompressobj(wbits)
        self._open = False

    def feed(self, wire: bytes) -> Iterator[bytes]:
        while wire:
            self._open = True
            try:
                yield self._member.decompress(wire, _STEP_BYTES)
            except zlib.error as error:
                raise _broken(error) from error
            wire = self._member.unconsumed_tail
            if self._member.eof:
                wire = self._member.unused_data
                self._member = zlib.decompressobj(self._wbits)
                self._open = False

    def finish(self) -> None:
        if self._open:
            raise _broken("it ends before its end")


class _Lz4:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameDecompressor()
        self._open = False

    def feed(self, wire: bytes) -> Iterator[bytes]:
        while wire or not self._frame.needs_input:
            self._open = True
            try:
                yield self._frame.decompress(wire, max_length=_STEP_BYTES)
            except (RuntimeError, EOFError) as error:
                raise _broken(error) from error
            wire = b""
            if self._frame.eof:
                wire = bytes(self._frame.unused_data or b"")
                self._frame = lz4.frame.LZ4FrameDecompressor()
                self._open = False

    def finish(self) -> None:
        if self._open:
            raise _broken("it ends before its end")


class _Zstd:
    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj(write_size=_STEP_BYTES)
        self._open = False

    def feed(self, wire: bytes) -> Iterator[bytes]:
        while wire:
            self._open = True
            # 1 KiB at a time: one step of input cannot become more than some MiB of output.
            part, wire = wire[:1024], wire[1024:]
            try:
                yield self._frame.decompress(part)
            except zstandard.ZstdError as error:
                raise _broken(error) from error
            if self._frame.eof:
                wire = self._frame.unused_data + wire
                self._frame = self._decompressor.decompressobj(write_size=_STEP_BYTES)
                self._open = False

    def finish(self) -> None:
        if self._open:
            raise _broken("it ends before its end")


def _broken(why: object) -> StoreError:
    return StoreError(271, "CANNOT_DECOMPRESS", f"the body cannot be decompressed: {why}")


def inflater(encoding: str) -> Inflate:
    """The decoder of a Content-Encoding. Raises StoreError (89) for one that is not spoken."""
    if encoding in ("", "identity"):
        return _Plain()
    if encoding == "gzip":
        return _Zlib(31)
    if encoding == "deflate":
        return _Zlib(15)
    if encoding == "zstd":
        return _Zstd()
    if encoding == "lz4":
        return _Lz4()
    raise StoreError(89, "UNKNOWN_COMPRESSION_METHOD", f"Content-Encoding {encoding!r} is not spoken")


class Deflate(Protocol):
    """A streaming compressor of `cramjam`: what `compress` took comes out of `flush` and `finish`."""

    def compress(self, data: bytes) -> int: ...

    def flush(self) -> cramjam.Buffer: ...

    def finish(self) -> cramjam.Buffer: ...


_DEFLATERS = {"zstd": cramjam.zstd, "lz4": cramjam.lz4, "gzip": cramjam.gzip, "br": cramjam.brotli}


def deflater(accepted: tuple[str, ...]) -> tuple[str, Deflate] | None:
    """The first encoding that both sides speak and its compressor; None when there is none."""
    for name in accepted:
        if name in _DEFLATERS:
            return name, _DEFLATERS[name].Compressor()
    return None
