"""Take an OTLP request apart on the level of the protobuf wire format, to keep what is good in a bad one.

This is the rare path: plain Python over the framing of a single request, three levels deep whatever the
request holds. Both signals have the same layout (see transforms/otlp/signals.py), so that one walk serves both.
Splitting is lossless: parts of a group that are not items (resource, scope, schema URL, unknown fields) go
along as they are.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count

from transforms.otlp.signals import LOGS, TRACES, Signal

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_GROUPS = 1  # field of the resource groups in a request
_NESTED = 2  # field of the scope groups in a resource group, and of the items in a scope group

# One-item requests repeat the resource and the scope, and many items under a huge resource would grow beyond all
# measure: from this many bytes on they come without resource and scope.
ISOLATED_BYTES = 64 * 2**20


class WireError(ValueError):
    """The framing of a request is broken above its items."""


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


# resource groups, each with its scope groups
_Groups = list[tuple[_Group, tuple[_Group, ...]]]


def count_items(body: bytes) -> int:
    """Number of spans or log records in a request. Raises WireError when its framing is broken above them."""
    return sum(len(scope.nested) for _, scopes in _open(body) for scope in scopes)


def split(body: bytes) -> list[bytes]:
    """One request for each span or log record of `body`, in order, each with its resource and its scope.

    Once the result exceeds ISOLATED_BYTES, the rest comes without them. Raises WireError when the framing is broken
    above the items.
    """
    groups = _open(body)
    return list(_isolated(groups, range(sum(len(scope.nested) for _, scopes in groups for scope in scopes))).values())


def salvage(body: bytes) -> Salvaged:
    """Separate the spans of a trace request that can be decoded from those that cannot.

    What stands beside the resource groups and cannot be decoded is left out. Raises WireError when the framing is
    broken above the spans, or when a bad request has no spans: nothing can be salvaged then.
    """
    return _salvage(body, TRACES)


def salvage_logs(body: bytes) -> Salvaged:
    """As `salvage`, for the log records of a log request."""
    return _salvage(body, LOGS)


def _salvage(body: bytes, signal: Signal) -> Salvaged:
    groups = _open(body)
    reasons = _bad_items(groups, signal)
    if not reasons and not signal.parse([body]).bad:
        return Salvaged(body, ())
    if not any(scope.nested for _, scopes in groups for scope in scopes):
        raise WireError(f"not a valid request, and no {signal.item} in it")
    good: list[bytes] = []
    positions = count()
    for group, scopes in groups:
        kept: list[bytes] = []
        for scope in scopes:
            own = zip(scope.nested, positions, strict=False)
            items = b"".join(_field(_NESTED, item) for item, position in own if position not in reasons)
            if items:
                kept.append(_field(_NESTED, scope.head + items))
        if kept:
            good.append(_field(_GROUPS, group.head + b"".join(kept)))
    bad = tuple((position, one, reasons[position]) for position, one in _isolated(groups, reasons).items())
    return Salvaged(b"".join(good), bad)


def _isolated(groups: _Groups, wanted: Container[int]) -> dict[int, bytes]:
    """A request with just that item, by position of each of the `wanted` items."""
    ones: dict[int, bytes] = {}
    size = 0
    position = 0
    for group, scopes in groups:
        for scope in scopes:
            for item in scope.nested:
                if position in wanted:
                    whole = size <= ISOLATED_BYTES
                    ones[position] = _request(group.head if whole else b"", scope.head if whole else b"", item)
                    size += len(ones[position])
                position += 1
    return ones


def _bad_items(groups: _Groups, signal: Signal) -> dict[int, str]:
    """Reason by position of the items that cannot be decoded: alone, or because of their resource or scope.

    Resources, scopes and items are tried apart from each other, so that none is decoded more than once.
    """
    probes: list[bytes] = []
    parents: list[tuple[int, int, int]] = []  # probes of the item's resource, of its scope and of itself
    for group, scopes in groups:
        resource = len(probes)
        probes.append(_field(_GROUPS, group.head))
        for scope in scopes:
            own = len(probes)
            probes.append(_field(_GROUPS, _field(_NESTED, scope.head)))
            parents += [(resource, own, own + 1 + at) for at in range(len(scope.nested))]
            probes += [_request(b"", b"", item) for item in scope.nested]
    refused = dict(signal.parse(probes).bad)
    reasons = ([refused[probe] for probe in own if probe in refused] for own in parents)
    return {position: found[0] for position, found in enumerate(reasons) if found}


def _request(resource: bytes, scope: bytes, item: bytes) -> bytes:
    return _field(_GROUPS, resource + _field(_NESTED, scope + _field(_NESTED, item)))


def _open(body: bytes) -> _Groups:
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
        if tag >> 3 == 0:
            raise WireError(f"a field without a number at byte {start}")
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
