"""What keeps a web page of somebody else's from asking this tower through the operator's browser.

The Host header must name this machine (a page that rebinds its own name to 127.0.0.1 sends its own name), and an
Origin header, if there is one, must be that of the tower's own pages. Neither says who asks.
"""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from domain.errors import Rejection

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether a bound address is reachable from this machine only; names other than `localhost` are not trusted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HostNames:
    """The names under which a server bound to `bound_host` may be addressed, `allowed` included.

    A server bound to all addresses (`0.0.0.0`, `::`) may be addressed by any address: a literal cannot be rebound.
    """

    def __init__(self, bound_host: str, allowed: Collection[str] = ()) -> None:
        self._names = _LOCAL_NAMES | {bound_host.lower()} | {name.lower() for name in allowed}
        self._any_literal = _is_unspecified(bound_host)

    def check_headers(self, headers: Mapping[str, str]) -> None:
        """Of one request, names in lower case. Raises `request_refused`."""
        host, origin = headers.get("host"), headers.get("origin")
        if host is None or not self._is_ours(host):
            raise _refused("Host", "it names another host than the one that is served here")
        if origin is not None and _netloc_of(origin) != _without_default_port(host.lower()):
            raise _refused("Origin", "pages of other sites may not ask here")

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        return name is not None and (name in self._names or (self._any_literal and _is_literal(name)))


def _name_of(host: str) -> str | None:
    """The name or address of a `name[:port]`, lower case and without brackets; None for anything else."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def _netloc_of(origin: str) -> str | None:
    scheme, separator, netloc = origin.lower().partition("://")
    return _without_default_port(netloc) if separator and scheme in ("http", "https") else None


def _without_default_port(netloc: str) -> str:
    return netloc.removesuffix(":80").removesuffix(":443")


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _refused(header: str, reason: str) -> Rejection:
    return Rejection("request_refused", f"{header} header: {reason}", header=header, reason=reason)
