"""Which addresses may be notified. Only what is public, and what the operator allows.

A name is resolved once, every address that it has is checked, and the connection is made to one that was checked: a
name that resolves to another address a moment later changes nothing. Who uses this follows no redirects.
"""

import ipaddress
import socket
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What `is_global` may take for public, but leads elsewhere, as an IPv4 address is in it: NAT64 (RFC 6052, RFC 8215),
# 6to4 (RFC 3056), Teredo (RFC 4380), IPv4-compatible (RFC 4291).
_TRANSLATED = [
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
]


class Forbidden(Exception):
    """An address that may not be notified."""


class Unresolved(Exception):
    """A name that has no address by now."""


def checked_addresses(host: str, port: int, allowed: Sequence[Network]) -> list[tuple[str, int]]:
    """The addresses of `host`, all of which may be notified. Raises Forbidden when one may not be, and Unresolved."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{host} cannot be resolved: {error}") from error
    texts = list(dict.fromkeys(str(one[4][0]) for one in found))
    for text in texts:
        if not is_allowed(ipaddress.ip_address(text.partition("%")[0]), allowed):
            raise Forbidden(
                f"{host} is {text}, which is no public address: the operator allows others with allow_networks"
            )
    return [(text, port) for text in texts]


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether `address` is public, or in a network of `allowed`."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if any(address.version == network.version and address in network for network in _TRANSLATED):
        return False
    return address.is_global and not address.is_multicast


def connect(host: str, port: int, allowed: Sequence[Network], timeout_s: float) -> socket.socket:
    """A connection to a checked address of `host`. Raises Forbidden, Unresolved, and OSError."""
    last: OSError | None = None
    for address in checked_addresses(host, port, allowed):
        try:
            return socket.create_connection(address, timeout_s)
        except OSError as error:
            last = error
    raise last or OSError(f"{host} has no address")
