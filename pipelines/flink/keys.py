"""Keys that fall into key groups of their own, so that buckets spread evenly at any parallelism."""

from functools import cache

# Flink's number of key groups: fixed for the life of a job's state.
MAX_PARALLELISM = 128

_MASK = 0xFFFFFFFF


@cache
def spread_keys(count: int) -> tuple[int, ...]:
    """`count` LONG keys whose key groups are evenly spaced.

    At any parallelism the numbers of two subtasks differ by two at most; by none where parallelism and `count`
    are powers of two. Raises ValueError when `count` is not within 1 and MAX_PARALLELISM.
    """
    if not 1 <= count <= MAX_PARALLELISM:
        raise ValueError(f"1 to {MAX_PARALLELISM} keys can have key groups of their own, not {count}")
    keys: dict[int, int] = {}
    candidate = 0
    while len(keys) < MAX_PARALLELISM:
        keys.setdefault(key_group(candidate), candidate)
        candidate += 1
    return tuple(keys[(2 * place + 1) * MAX_PARALLELISM // (2 * count)] for place in range(count))


def key_group(key: int) -> int:
    """Flink's key group of a non-negative LONG key (KeyGroupRangeAssignment.assignToKeyGroup).

    PyFlink keys a stream by a Row of one field, of kind INSERT, whose hash code is 31 + 31 + that of the key
    (RowUtils.deepHashCodeRow).
    """
    return _murmur((62 + (key ^ (key >> 32))) & _MASK) % MAX_PARALLELISM


def subtask_of(key: int, parallelism: int) -> int:
    """The subtask that a non-negative LONG key falls to (KeyGroupRangeAssignment.computeOperatorIndexForKeyGroup)."""
    return key_group(key) * parallelism // MAX_PARALLELISM


def _murmur(code: int) -> int:
    """Flink's MathUtils.murmurHash of a Java int, given and computed as an unsigned one."""
    code = code * 0xCC9E2D51 & _MASK
    code = _rotate(code, 15) * 0x1B873593 & _MASK
    code = (_rotate(code, 13) * 5 + 0xE6546B64) & _MASK
    code ^= 4
    code = (code ^ (code >> 16)) * 0x85EBCA6B & _MASK
    code = (code ^ (code >> 13)) * 0xC2B2AE35 & _MASK
    code ^= code >> 16
    signed = code - (1 << 32) if code >> 31 else code
    return 0 if signed == -(1 << 31) else abs(signed)


def _rotate(code: int, by: int) -> int:
    return (code << by | code >> (32 - by)) & _MASK
