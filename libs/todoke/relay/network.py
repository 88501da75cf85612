"""From which network a request comes: what lock-outs are counted by."""

import ipaddress
import re
from typing import TypeAlias

from fastapi import Request

IPV4_PREFIX = 24
IPV6_PREFIX = 56
"""What one provider hands to one customer: a guesser cannot get a new network by taking a new address."""

UNKNOWN = "unknown"

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_FOR = re.compile(r'(?:^|;)\s*for=(?:"([^"]*)"|([^;,\s"]*))', re.IGNORECASE)


class Networks:
    """Finds the client's network; believes `Forwarded` (RFC 7239) only from the configured fronts.

    `trusted` lists addresses or networks of the front and of the portal, separated by commas.
    """

    def __init__(self, trusted: str | None) -> None:
        self._trusted: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(part.strip(), strict=False) for part in (trusted or "").split(",") if part.strip()
        )

    def of(self, request: Request) -> str:
        """The /24 (IPv4) or /56 (IPv6) of the client as text, `unknown` when there is no address."""
        address = _address(request.client.host if request.client else "")
        hops = [hop for line in request.headers.getlist("forwarded") for hop in line.split(",")]
        while address is not None and self._trusts(address) and hops:
            address = _address(_for_of(hops.pop()))
        if address is None:
            return UNKNOWN
        prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX  # noqa: PLR2004 (the version of IP)
        return str(ipaddress.ip_network((address, prefix), strict=False))

    def _trusts(self, address: _Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _for_of(hop: str) -> str:
    found = _FOR.search(hop)
    return (found[1] or found[2] or "") if found else ""


def _address(text: str) -> _Address | None:
    """The address in a node name (RFC 7239 section 6): `192.0.2.1:80`, `[2001:db8::1]:80`, or None for a hidden one."""
    bare = text[1 : text.index("]")] if text.startswith("[") and "]" in text else text
    if bare.count(":") == 1:
        bare = bare.split(":", 1)[0]
    try:
        address = ipaddress.ip_address(bare.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
