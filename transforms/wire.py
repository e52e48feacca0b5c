"""Take an OTLP request apart on the level of the protobuf wire format, to keep what is good in a bad one.

This is the rare path: plain Python over the framing of a single request, three levels deep whatever the
request holds. Both signals have the same layout (see transforms/otlp.py), so that one walk serves both.
Splitting is lossless: parts of a group that are not items (resource, scope, schema URL, unknown fields) go
along as they are.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from transforms.otlp import LOGS, TRACES, Signal

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_GROUPS = 1  # field of the resource groups in a request
_NESTED = 2  # field of the scope groups in a resource group, and of the items in a scope group

# One-item requests repeat the resource and the scope: a request of many items under a huge resource would
# grow beyond all measure.
ISOLATED_BYTES = 64 * 2**20


class WireError(ValueError):
    """The framing is broken above the items, or the one-item requests would exceed ISOLATED_BYTES."""


@dataclass(frozen=True)
class Salvaged:
    """A request without its bad items.

    good: a valid request with all the good items, in order; empty when there are none.
    bad: (position of the item in the request, a request that holds just this item, reason), ascending.
    """

    good: bytes
    bad: tuple[tuple[int, bytes, str], ...]


@dataclass(frozen=True)
class _Group:
    """A message whose field 2 is repeated: the payloads of that field, and everything else in it."""

    head: bytes
    nested: tuple[bytes, ...]


def count_items(body: bytes) -> int:
    """Number of spans or log records in a request. Raises WireError when its framing is broken above them."""
    return sum(len(scope.nested) for _, scopes in _open(body) for scope in scopes)


def split(body: bytes) -> list[bytes]:
    """One request for each span or log record of `body`, in order, each with its resource and its scope.

    Raises WireError when the framing is broken above the items, or the result would exceed ISOLATED_BYTES.
    """
    ones: list[bytes] = []
    size = 0
    for group, scopes in _open(body):
        for scope in scopes:
            for item in scope.nested:
                ones.append(_request(group.head, scope.head, [item]))
                size = _bounded(size + len(ones[-1]))
    return ones


def salvage(body: bytes) -> Salvaged:
    """Separate the spans of a trace request that can be decoded from those that cannot.

    Raises WireError as `split` does; nothing can be salvaged then.
    """
    return _salvage(body, TRACES)


def salvage_logs(body: bytes) -> Salvaged:
    """As `salvage`, for the log records of a log request."""
    return _salvage(body, LOGS)


def _salvage(body: bytes, signal: Signal) -> Salvaged:
    groups = _open(body)
    reasons = _bad_items(groups, signal)
    good: list[bytes] = []
    bad: list[tuple[int, bytes, str]] = []
    positions = count()
    size = 0
    for group, scopes in groups:
        for scope in scopes:
            kept: list[bytes] = []
            for item, position in zip(scope.nested, positions, strict=False):
                if position not in reasons:
                    kept.append(item)
                    continue
                bad.append((position, _request(group.head, scope.head, [item]), reasons[position]))
                size = _bounded(size + len(bad[-1][1]))
            if kept:
                good.append(_request(group.head, scope.head, kept))
    return Salvaged(b"".join(good) if bad else body, tuple(bad))


def _bad_items(groups: list[tuple[_Group, tuple[_Group, ...]]], signal: Signal) -> dict[int, str]:
    """Reason by position of the items that cannot be decoded: alone, or because of their resource or scope.

    Resources, scopes and items are tried apart from each other, so that none is decoded more than once.
    """
    probes: list[bytes] = []
    parents: list[
        tuple[int, int, int]
    ] = []  # of every item: the probes of its resource, its scope and itself
    for group, scopes in groups:
        resource = len(probes)
        probes.append(_request(group.head, b"", []))
        for scope in scopes:
            own = len(probes)
            probes.append(_request(b"", scope.head, []))
            parents += [(resource, own, own + 1 + at) for at in range(len(scope.nested))]
            probes += [_request(b"", b"", [item]) for item in scope.nested]
    refused = dict(signal.parse(probes).bad)
    found = (
        (at, next((refused[probe] for probe in own if probe in refused), ""))
        for at, own in enumerate(parents)
    )
    return {at: reason for at, reason in found if reason}


def _bounded(size: int) -> int:
    if size > ISOLATED_BYTES:
        raise WireError(
            f"the items would take over {ISOLATED_BYTES} bytes one by one, each with its resource"
        )
    return size


def _request(resource: bytes, scope: bytes, items: list[bytes]) -> bytes:
    group = scope + b"".join(_field(_NESTED, item) for item in items)
    return _field(_GROUPS, resource + _field(_NESTED, group))


def _open(body: bytes) -> list[tuple[_Group, tuple[_Group, ...]]]:
    """The resource groups of a request, each with its scope groups, whose `nested` are the items."""
    groups = [_group(payload) for field, _, payload in _fields(body) if field == _GROUPS]
    return [(group, tuple(_group(payload) for payload in group.nested)) for group in groups]


def _group(data: bytes) -> _Group:
    head: list[bytes] = []
    nested: list[bytes] = []
    for field, whole, payload in _fields(data):
        if field == _NESTED:
            nested.append(payload)
        else:
            head.append(whole)
    return _Group(b"".join(head), tuple(nested))


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(field number, the whole field, its payload) in order; the number is 0 if it is not length-delimited.

    A deprecated group counts as one field, however deep it nests. Raises WireError on broken framing.
    """
    at, start, depth = 0, 0, 0
    while at < len(data):
        if depth == 0:
            start = at
        tag, at = _varint(data, at)
        wire_type = tag & 7
        payload = at
        if wire_type == _VARINT:
            _, at = _varint(data, at)
        elif wire_type == _LENGTH:
            size, payload = _varint(data, at)
            at = payload + size
        elif wire_type in (_FIXED64, _FIXED32):
            at += 8 if wire_type == _FIXED64 else 4
        elif wire_type == _GROUP:
            depth += 1
        elif wire_type == _END_GROUP and depth:
            depth -= 1
        else:
            raise WireError(f"unexpected wire type {wire_type} at byte {payload}")
        if at > len(data):
            raise WireError(f"a field at byte {start} ends {at - len(data)} bytes after its message")
        if depth == 0:
            yield (tag >> 3 if wire_type == _LENGTH else 0), data[start:at], data[payload:at]
    if depth:
        raise WireError("a group has no end")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError("the message ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError(f"a number of more than 10 bytes at byte {at}")


def _field(number: int, payload: bytes) -> bytes:
    size = len(payload)
    encoded = bytearray([number << 3 | _LENGTH])
    while size >= 0x80:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded) + payload
