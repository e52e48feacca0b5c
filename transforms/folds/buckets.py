"""Stable 64-bit hashes of trace ids: which bucket a trace belongs to, and how the cold index names it.

State and topics outlive a version of any library, so nothing here may depend on a library's own hash.
"""

from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

Words = np.ndarray  # uint64

_DIGITS = np.array([f"{byte:02x}".encode() for byte in range(256)], dtype="S2").view(np.uint16)


def id_words(ids: pl.Series, offset: int = 0) -> Words:
    """16 hex digits of each id from `offset` on as uint64; 0 for a missing, empty or malformed id."""
    words = ids.str.slice(offset, 16).str.decode("hex", strict=False)
    return words.bin.reinterpret(dtype=pl.UInt64, endianness="big").fill_null(0).to_numpy()


def hex_ids(words: Words) -> pa.Array:
    """Each uint64 as text of 16 hex digits; '' for 0, which OpenTelemetry reserves for 'no id'."""
    shown = words[words != 0]
    digits = _DIGITS[shown.astype(">u8").view(np.uint8)].tobytes()
    offsets = np.zeros(len(words) + 1, np.int32)
    np.cumsum((words != 0) * 16, out=offsets[1:])
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(digits))


def bucket_of(trace_ids: pl.Series, buckets: int) -> np.ndarray:
    """The bucket, 0 to `buckets` - 1 (int64), of each trace id (32 hex digits)."""
    return (_id_hashes(trace_ids) % np.uint64(buckets)).astype(np.int64)


def trace_hashes(orgs: pl.Series, trace_ids: pl.Series) -> Words:
    """64-bit hash (uint64) of each (org, trace_id)."""
    distinct = orgs.unique().sort()
    digests = [blake2b(org.encode(), digest_size=8).digest() for org in distinct.to_list()]
    salts = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
    return mix(_id_hashes(trace_ids) ^ salts[distinct.search_sorted(orgs).to_numpy()])


def mix(words: Words) -> Words:
    """splitmix64's finaliser: every input bit moves every output bit (Steele et al., OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _id_hashes(trace_ids: pl.Series) -> Words:
    return mix(mix(id_words(trace_ids)) ^ id_words(trace_ids, 16))
