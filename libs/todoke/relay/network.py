"""From which network a request comes: what lock-outs are counted by."""

import hmac
import ipaddress
import re
from typing import TypeAlias

from fastapi import Request

IPV4_PREFIX = 24
IPV6_PREFIX = 56
"""What one provider hands to one customer: a guesser cannot get a new network by taking a new address."""

UNKNOWN = "unknown"

PORTAL_SECRET_HEADER = "todoke-portal"  # noqa: S105 (the name of a header)
"""Names the portal of this set-up: its `Forwarded` is believed from whatever address it comes."""

PORTAL_SECRET_LABEL = "portal"  # noqa: S105 (names the secret, is none)

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_FOR = re.compile(r'(?:^|;)\s*for=(?:"([^"]*)"|([^;,\s"]*))', re.IGNORECASE)


class Networks:
    """Finds the client's network; believes `Forwarded` (RFC 7239) only from the configured fronts and our own portal.

    `trusted` lists addresses or networks of the front, separated by commas; `portal_secret` is what only the portal
    of this set-up can show (32 bytes; none is believed without).
    """

    def __init__(self, trusted: str | None, portal_secret: bytes | None = None) -> None:
        self._portal_secret = portal_secret
        self._trusted: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(part.strip(), strict=False) for part in (trusted or "").split(",") if part.strip()
        )

    def of(self, request: Request) -> str:
        """The /24 (IPv4) or /56 (IPv6) of the client as text, `unknown` when there is no address."""
        address = self.address(request)
        if address is None:
            return UNKNOWN
        prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX  # noqa: PLR2004 (the version of IP)
        return str(ipaddress.ip_network((address, prefix), strict=False))

    def address(self, request: Request) -> _Address | None:
        """The client's address; None when nobody that we believe says it."""
        address = _address(request.client.host if request.client else "")
        hops = [hop for line in request.headers.getlist("forwarded") for hop in line.split(",")]
        vouched = self._is_portal(request)
        while address is not None and hops:
            if not self._trusts(address):
                if not vouched:
                    break
                vouched = False  # the first that is no front is the portal; whom it names is the browser
            address = _address(_for_of(hops.pop()))
        return address

    def _is_portal(self, request: Request) -> bool:
        shown = request.headers.get(PORTAL_SECRET_HEADER, "").encode("utf-8", "replace")
        return self._portal_secret is not None and hmac.compare_digest(shown, self._portal_secret.hex().encode())

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
