"""What the kernel says of who connected to a unix socket."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.http.bench_socket import bind_bench, remove_bench
from adapters.http.kernel import peer_of
from tests.integration.http.benches import BENCH, cgroup
from tests.needs import need


def test_a_socket_left_by_a_killed_tower_is_replaced(short_tmp: Path) -> None:
    path = short_tmp / "bench" / "tower.sock"
    first = bind_bench(path)
    first.close()
    second = bind_bench(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    remove_bench(path, second)
    assert list(path.parent.iterdir()) == []


@contextmanager
def connection_of(argv: list[str], path: Path) -> Iterator[tuple[socket.socket, "subprocess.Popen[bytes]"]]:
    """The tower's end of the connection that a client program made, and that program."""
    listening = bind_bench(path)
    listening.settimeout(30)
    client = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()"
    process = subprocess.Popen([*argv, sys.executable, "-c", client, str(path)], stdin=subprocess.PIPE)
    try:
        accepted, _ = listening.accept()
        with accepted:
            yield accepted, process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        remove_bench(path, listening)


def test_a_process_that_ended_is_nobody(short_tmp: Path) -> None:
    """Its pid may be another's by now: what /proc says of it is not of who connected."""
    with connection_of([], short_tmp / "bench" / "s") as (accepted, process):
        assert peer_of(accepted).is_host
        assert peer_of(accepted).pid == process.pid
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not peer_of(accepted).is_host
        process.wait()
        assert not peer_of(accepted).is_host
        assert peer_of(accepted).ids == frozenset()


@pytest.mark.parametrize("namespace", ["--mount", "--pid"])
def test_a_process_of_another_namespace_is_not_of_this_machine(short_tmp: Path, namespace: str) -> None:
    need("namespaces")
    with connection_of(["unshare", namespace, "--fork", "--kill-child"], short_tmp / "bench" / "s") as (peer, _):
        assert not peer_of(peer).is_host


def test_the_cgroup_is_read_of_who_connected(short_tmp: Path) -> None:
    need("namespaces")
    with cgroup(f"docker-{BENCH}.scope") as group:
        join = ["sh", "-ec", f'echo $$ > "{group}/cgroup.procs"; exec "$@"', "join"]
        with connection_of(join, short_tmp / "bench" / "s") as (accepted, _):
            assert peer_of(accepted).ids == {BENCH}
