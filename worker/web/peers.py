"""Which machine a request came from. Pure.

The peer of a connection may be a proxy that speaks for others: its `X-Forwarded-For` counts if the proxy is trusted.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "an unknown address"
# A host has a whole network of IPv6 addresses, so the network is what counts.
IPV6_PREFIX = 64
# Some proxies write the port too: 192.0.2.1:50000, [2001:db8::1]:50000.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5}", re.ASCII)


def is_proxy(remote: str | None, trusted: Sequence[Network]) -> bool:
    """Whether the connection's other end is a proxy whose word counts."""
    peer = _address(remote or "")
    return peer is not None and any(peer in network for network in trusted)


def peer_of(remote: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address of the machine that asked, or its IPv6 network. It is never text of the request.

    `remote` is the connection's other end, `forwarded` are the values of X-Forwarded-For. Each proxy appends the
    address that it saw, so the addresses count from the end, and up to the first one that is no trusted proxy.
    """
    peer = _address(remote or "")
    if peer is None:
        return UNKNOWN
    for named in reversed([part for value in forwarded for part in value.split(",")]):
        if not any(peer in network for network in trusted):
            break
        before = _address(named)
        if before is None:  # what stands before it is not known to be true either
            break
        peer = before
    return str(peer) if peer.version == 4 else str(ipaddress.ip_network((peer, IPV6_PREFIX), strict=False))


def _address(text: str) -> Address | None:
    text = text.strip()
    if named := _WITH_PORT.fullmatch(text):
        text = named[1] or named[2]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if found.version == 6 else found
