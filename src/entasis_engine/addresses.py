"""Addresses of callers: how they are written, which of them may call, and which count as one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

ADDRESS_CHARACTERS_MAX = 64
"""The longest IPv6 address has 45 characters, and the name of a network interface after it 15."""

# The same callers come again and again; parsing costs ten times a look-up. Bounded, since anybody can send anything.
_REMEMBERED_MAX = 16_384

# Addresses of one customer: IPv6 is given out by networks of this size (RFC 6177), and the rest is the customer's own.
_IPV6_BUCKET_BITS = 64

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Address(NamedTuple):
    text: str
    """In canonical form."""
    number: int
    bits: int
    """32 or 128."""
    bucket: str


class AddressList:
    """Addresses that may call. An empty list allows all; any other allows what it names and nothing else.

    An IPv4 address that is written as IPv6 (`::ffff:1.2.3.4`) is the IPv4 address, in the list and out of it: `::/0`
    allows every IPv6 address and no IPv4 one.

    Args:
        networks: IPv4 and IPv6 networks or single addresses. Raises `ValueError`, fit to be shown, for anything else.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[str] = ()) -> None:
        # By the length of address and prefix: a look-up for each length, however long the list is.
        by_length: dict[tuple[int, int], set[int]] = {}
        for network in map(_network_of, networks):
            host_bits = network.max_prefixlen - network.prefixlen
            prefix = int(network.network_address) >> host_bits
            by_length.setdefault((network.max_prefixlen, host_bits), set()).add(prefix)
        self._prefixes = tuple((bits, host_bits, frozenset(some)) for (bits, host_bits), some in by_length.items())

    def __bool__(self) -> bool:
        """Whether the list names anything."""
        return bool(self._prefixes)

    def allows(self, address: str) -> bool:
        """Whether the address may call. What is no address may not, unless the list is empty."""
        if not self._prefixes:
            return True
        read = _looked_up(address)
        if read is None:
            return False
        _, number, bits, _ = read
        for bits_of_list, host_bits, prefixes in self._prefixes:
            if bits == bits_of_list and number >> host_bits in prefixes:
                return True
        return False


def normalise(address: str) -> str:
    """The address in canonical form, without a zone; empty for what is no address."""
    read = _looked_up(address)
    return "" if read is None else read.text


def bucket_of(address: str) -> str:
    """What an address counts as where callers are counted: itself, or for IPv6 its network of 64 bits.

    Empty for what is no address.
    """
    read = _looked_up(address)
    return "" if read is None else read.bucket


def address_of_peer(peer: str) -> str:
    """The address in a peer as gRPC names it (`ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`), in canonical form.

    Empty for a peer that has none, such as a unix socket.
    """
    return _address_before_port(peer.rpartition(":")[0])


@lru_cache(maxsize=_REMEMBERED_MAX)
def _address_before_port(peer: str) -> str:
    scheme, _, host = peer.partition(":")
    if scheme == "ipv4":
        return normalise(host)
    if scheme == "ipv6":
        return normalise(unquote(host).removeprefix("[").removesuffix("]"))
    return ""


def _looked_up(text: str) -> _Address | None:
    # What is too long is not even remembered as being no address.
    return _read(text) if len(text) <= ADDRESS_CHARACTERS_MAX else None


@lru_cache(maxsize=_REMEMBERED_MAX)
def _read(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # Made anew from the number, which leaves the zone out: it names an interface of ours, not a caller.
        address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    canonical = str(address)
    if isinstance(address, ipaddress.IPv4Address):
        return _Address(canonical, int(address), address.max_prefixlen, canonical)
    bucket = ipaddress.IPv6Network((int(address), _IPV6_BUCKET_BITS), strict=False)
    return _Address(canonical, int(address), address.max_prefixlen, str(bucket))


def _network_of(entry: str) -> _Network:
    address, slash, length = entry.partition("/")
    try:
        # A mask in place of the length is refused: 0.0.0.255 may be meant either way round.
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError
        if "%" in address:
            raise ValueError
        network: _Network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise ValueError(
            f"'{entry}' is neither an address nor a network. Write an IPv4 or IPv6 address, such as 203.0.113.7 or "
            "2001:db8::1, or a network, such as 203.0.113.0/24 or 2001:db8::/32."
        ) from None
    if ipaddress.ip_address(address) != network.network_address:
        raise ValueError(
            f"'{entry}' has bits beyond its prefix. Write {network} for the network, or {address} for the one address."
        )
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
