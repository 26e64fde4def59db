"""Addresses: which are allowed, how they are written, and which count as one."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.addresses import AddressList, address_of_peer, bucket_of, normalise

NO_ADDRESSES = [
    "",
    " ",
    "localhost",
    "unknown",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    " 1.2.3.4",
    "1.2.3.4\n",
    "1.2.3.4:5000",
    "1.2.3.4/32",
    "1.2.3.4%eth0",
    "0x01020304",
    "16909060",
    "١.٢.٣.٤",
    "[::1]",
    "fe80::1%",
    "fe80::1%a%b",
    "2001:db8::1::2",
    "2001:db8::1/128",
    "1.2.3.4,5.6.7.8",
    "1" * 100,
    "fe80::1%" + "e" * 100,
]


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "::a00:1"]),
        (["203.0.113.7"], ["203.0.113.7", "::ffff:cb00:7107"], ["203.0.113.6", "203.0.113.8"]),
        (["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "2001:db8::1"]),
        (["::/0"], ["::", "2001:db8::1", "fe80::1%eth0"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        (["2001:db8::/32"], ["2001:db8::", "2001:DB8:ffff:FFFF::1"], ["2001:db7::1", "2001:db9::"]),
        (["fe80::/10"], ["fe80::1", "fe80::1%eth0", "fe80::1%25"], ["fec0::1"]),
        (["::ffff:10.0.0.0/104"], ["10.9.8.7", "::ffff:10.9.8.7"], ["11.0.0.0", "2001:db8::1"]),
        (["10.0.0.0/8", "192.168.1.0/24", "::1"], ["10.1.1.1", "192.168.1.9", "::1"], ["192.168.2.1", "::2"]),
    ],
)
def test_a_list_allows_what_it_names_and_nothing_else(
    networks: list[str], inside: list[str], outside: list[str]
) -> None:
    """Networks and single addresses allow their addresses, however these are written, and no other."""
    allowed = AddressList(networks)
    assert allowed
    assert [address for address in inside if not allowed.allows(address)] == []
    assert [address for address in outside if allowed.allows(address)] == []


@pytest.mark.parametrize("address", ["1.2.3.4", "::1", *NO_ADDRESSES])
def test_an_empty_list_allows_all(address: str) -> None:
    """A list that names nothing is no list: it allows everything, and is false."""
    assert not AddressList()
    assert not AddressList([])
    assert AddressList([]).allows(address)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_not_allowed(address: str) -> None:
    """A list that allows every address allows nothing that is none, and such a thing has no canonical form."""
    assert not AddressList(["0.0.0.0/0", "::/0"]).allows(address)
    assert normalise(address) == ""
    assert bucket_of(address) == ""


IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)
ADDRESSES = st.one_of(IPV4, IPV6).map(str)


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 128)), max_size=6), ADDRESSES)
def test_lists_agree_with_the_standard_library(entries: list[tuple[str, int]], address: str) -> None:
    """Whatever the networks are, an address is allowed where one of them contains it."""
    networks = [
        ipaddress.ip_network((base, min(length, 32 if "." in base else 128)), strict=False) for base, length in entries
    ]
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return
    expected = not networks or any(parsed in network for network in networks)
    assert AddressList(map(str, networks)).allows(address) is expected


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "any",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/٨",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.255.255.255",
        "10.0.0/8",
        "10.0.0.0/8/8",
        "2001:db8::/129",
        "fe80::1%eth0",
        "fe80::%eth0/64",
        "10.0.0.1 ",
        "10.0.0.0/8,11.0.0.0/8",
        "example.com",
    ],
)
def test_a_bad_entry_is_named_with_what_is_right(entry: str) -> None:
    """An entry that is no network is shown as it was written, with examples of right ones."""
    with pytest.raises(ValueError, match=r"203\.0\.113\.0/24") as raised:
        AddressList(["10.0.0.0/8", entry])
    assert f"'{entry}'" in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "network"),
    [("10.1.2.3/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32"), ("1.2.3.4/0", "0.0.0.0/0")],
)
def test_bits_beyond_the_prefix_are_a_mistake(entry: str, network: str) -> None:
    """An address with the length of a network may mean either, so both are offered."""
    with pytest.raises(ValueError, match="beyond its prefix") as raised:
        AddressList([entry])
    assert network in str(raised.value)
    assert entry.split("/", maxsplit=1)[0] in str(raised.value)


@pytest.mark.parametrize(
    ("address", "canonical", "bucket"),
    [
        ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("::FFFF:0102:0304%eth0", "1.2.3.4", "1.2.3.4"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "2001:db8::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("::1", "::1", "::/64"),
    ],
)
def test_every_way_to_write_an_address_is_the_same_address(address: str, canonical: str, bucket: str) -> None:
    """An address has one form, whatever it came as, and one bucket: itself, or its IPv6 network of 64 bits."""
    assert normalise(address) == canonical
    assert normalise(canonical) == canonical
    assert bucket_of(address) == bucket_of(canonical) == bucket


@given(IPV6, st.integers(0, 2**64 - 1))
def test_addresses_of_one_customer_count_as_one(address: ipaddress.IPv6Address, host: int) -> None:
    """Nobody gets another window by another address of the IPv6 network that is theirs."""
    if int(address) >> 64 == 0:
        return  # where the mapped IPv4 addresses are
    other = ipaddress.IPv6Address((int(address) >> 64 << 64) + host)
    assert bucket_of(str(address)) == bucket_of(str(other))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:[::1]:5000", "::1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:%5b2001:DB8::1%5d:443", "2001:db8::1"),
        ("ipv6:%5B::ffff:1.2.3.4%5D:443", "1.2.3.4"),
        ("ipv6:%5Bfe80::1%25eth0%5D:443", "fe80::1"),
        ("ipv6:[fe80::1%eth0]:443", "fe80::1"),
        ("unix:", ""),
        ("unix:/run/ipv4:1.2.3.4:5", ""),
        ("unix:///run/engine.sock", ""),
        ("unix-abstract:ipv4:1.2.3.4:5", ""),
        ("vsock:2:5000", ""),
        ("ipv4:", ""),
        ("ipv4:127.0.0.1", ""),
        ("ipv4:nowhere:80", ""),
        ("1.2.3.4:80", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_peer(peer: str, address: str) -> None:
    """A peer as gRPC names it has the address in it, and none where it is no internet address."""
    assert address_of_peer(peer) == address
