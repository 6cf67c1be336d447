"""Who is at the other end of a unix socket, from the kernel alone.

The credentials are those of the moment of `connect`. What `/proc` tells of a process is of that process only while it
lives: the pid may be another's afterwards. The pidfd is of the very process that connected, so whatever was read before
it says that the process still runs was read of the right one. Kernels before 6.5 have no `SO_PEERPIDFD`; there the
pidfd is opened by the pid, which leaves the time between `connect` and now in which a pid may have been used again.
"""

import errno
import os
import re
import select
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from domain.messages import HOST

SO_PEERPIDFD: Final = 77
"""Linux 6.5; it has no name in `socket`."""

_UCRED: Final = struct.Struct("3i")
_NAMESPACES: Final = ("mnt", "pid")

_TOKEN: Final = re.compile(r"(?:[a-z-]+-)?(?P<id>[0-9a-f]{64}|[0-9a-f]{12})(?:\.scope)?\Z")
"""A component of a cgroup's path that is the id of a container: alone, or as `docker-ID.scope`, `libpod-ID`."""


class Peer(NamedTuple):
    """`is_host`: of the tower's own user, mount and PID namespaces. `ids`: every id of a container, 12 or 64 hex
    digits, that stands in the paths of its cgroups; none when it could not be read, or ended meanwhile."""

    pid: int
    is_host: bool
    ids: frozenset[str]


def peer_of(sock: socket.socket) -> Peer:
    """The process that connected to `sock`. Looks at `/proc`, which does not block."""
    pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    nobody = Peer(pid, is_host=False, ids=frozenset())
    if pid <= 0:
        # A process that is outside of our PID namespace, and so outside of all that we could know.
        return nobody
    try:
        pidfd = _pidfd(sock, pid)
    except OSError:
        return nobody
    try:
        found = Peer(pid, is_host=uid == os.geteuid() and _shares_namespaces(pid), ids=_cgroup_ids(pid))
        return found if _runs(pidfd) else nobody
    finally:
        os.close(pidfd)


def container_of(peer: Peer, known: Iterable[str]) -> str | None:
    """The one registered container that the peer's cgroups name; None when they name none, several, or one that is not
    registered: inside an unknown container anybody may make a cgroup that looks like another."""
    containers = [container_id for container_id in known if container_id != HOST]
    named: set[str] = set()
    for token in peer.ids:
        matching = [container_id for container_id in containers if container_id.startswith(token)]
        if len(matching) != 1:
            return None
        named.update(matching)
    return named.pop() if len(named) == 1 else None


def _pidfd(sock: socket.socket, pid: int) -> int:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return os.pidfd_open(pid)


def _runs(pidfd: int) -> bool:
    """Whether the process has not ended; a pid is not used again before."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _shares_namespaces(pid: int) -> bool:
    try:
        return all(os.path.samestat(os.stat(f"/proc/{pid}/ns/{name}"), _own(name)) for name in _NAMESPACES)
    except OSError:
        # Not ours to look at, so not ours.
        return False


def _own(namespace: str) -> os.stat_result:
    return os.stat(f"/proc/self/ns/{namespace}")


def _cgroup_ids(pid: int) -> frozenset[str]:
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return ids_in(text)


def ids_in(cgroups: str) -> frozenset[str]:
    """The ids of containers in the text of a `/proc/PID/cgroup`: lines of `number:controllers:path`."""
    found: set[str] = set()
    for line in cgroups.splitlines():
        path = line.split(":", 2)[-1].removesuffix(" (deleted)")
        found.update(match["id"] for part in path.split("/") if (match := _TOKEN.match(part)) is not None)
    return frozenset(found)
