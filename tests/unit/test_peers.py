"""Which container the cgroups of a process name; none when they name none, several, or an unknown one."""

import pytest

from adapters.http.kernel import Peer, container_of, ids_in

A, B = "ab" * 32, "cd" * 32
KNOWN = ("host", A, B)

PATHS = {
    "docker, cgroupfs": f"0::/docker/{A}",
    "docker, systemd": f"0::/system.slice/docker-{A}.scope",
    "podman": f"0::/machine.slice/libpod-{A}.scope/container",
    "podman, rootless": f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope",
    "old hierarchies": f"12:pids:/docker/{A}\n3:cpu,cpuacct:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/",
    "a tower in a container": f"0::/../{A}",
    "short form": f"0::/lxc/{A[:12]}",
    "both forms": f"1:name=systemd:/docker/{A}\n0::/docker-{A[:12]}.scope",
    "below its own": f"0::/docker/{A}/init.scope",
    "removed meanwhile": f"0::/docker/{A} (deleted)",
}
REFUSED = {
    "no container": "0::/user.slice/user-1000.slice/session-2.scope",
    "the root": "0::/",
    "unknown": f"0::/docker/{'ef' * 32}",
    "unknown, short": "0::/docker/efefefefefef",
    "two of them": f"1:pids:/docker/{A}\n0::/docker/{B}",
    "one inside of another": f"0::/docker/{A}/docker/{B}",
    "one inside of an unknown": f"0::/docker/{'ef' * 32}/docker-{B}.scope",
    "a name that holds an id": f"0::/{A}x",
    "a longer number": f"0::/docker/{A}00",
    "upper case": f"0::/docker/{A.upper()}",
    "other lengths": f"0::/docker/{A[:32]}",
    "nothing": "",
}


@pytest.mark.parametrize("name", PATHS)
def test_the_id_is_found(name: str) -> None:
    assert container_of(Peer(1, is_host=False, ids=ids_in(PATHS[name])), KNOWN) == A


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_is_a_container(name: str) -> None:
    assert container_of(Peer(1, is_host=False, ids=ids_in(REFUSED[name])), KNOWN) is None


def test_a_short_form_that_two_containers_share_names_neither() -> None:
    twin = A[:12] + "0" * 52
    assert container_of(Peer(1, is_host=False, ids=frozenset({A[:12]})), (*KNOWN, twin)) is None


def test_the_machine_itself_is_no_container() -> None:
    assert container_of(Peer(1, is_host=False, ids=frozenset({"host"})), KNOWN) is None
