"""A podman of the tests' own, everything it keeps in one folder; the docker command line on its API socket."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.containers import rootfs
from tests.needs import MissingPart

ASK_S = 60.0

# PID 1 reaps what is orphaned, and ends when it is told to.
_FIRST_PROCESS = ("/bin/bash", "-c", 'trap "exit 0" TERM; while :; do sleep 100000 & wait; done')
_LIMITS = ("--network=none", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


class Container(NamedTuple):
    """A container made by a test: its full id, its name, and the engine that has it."""

    container_id: str
    name: str
    engine: "Podman"

    def execute(self, *words: str, check: bool = True) -> str:
        return self.engine.run("exec", self.container_id, *words, check=check)

    def tmux(self, *words: str, socket: str = "/tmp/tmux-0/default", check: bool = True) -> str:
        """As its user would from another terminal."""
        return self.execute("tmux", "-u", "-S", socket, *words, check=check).removesuffix("\n")

    def pause(self) -> None:
        self.engine.run("pause", self.container_id)

    def unpause(self) -> None:
        self.engine.run("unpause", self.container_id)

    def stop(self) -> None:
        self.engine.run("stop", "-t", "1", self.container_id)

    def start(self) -> None:
        self.engine.run("start", self.container_id)

    def remove(self) -> None:
        self.engine.run("rm", "-f", "-t", "0", self.container_id)


class Podman:
    """Made and ended by `podman()`. `cli` and `docker_cli` are programs for the setting `container_cli`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cli = folder / "podman"
        self.docker_cli = folder / "docker"
        self.api_socket = folder / "api.sock"
        self._roots: dict[tuple[str, ...], Path] = {}
        self._service: subprocess.Popen[bytes] | None = None
        self._program(self.cli, self._words())
        self._program(self.docker_cli, ("docker", "--host", f"unix://{self.api_socket}"))

    def _words(self) -> tuple[str, ...]:
        where = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"))
        temporary = ("--tmpdir", str(self.folder / "tmp"))
        return ("podman", *where, *temporary, "--storage-driver=vfs", "--runtime=runc", "--cgroup-manager=cgroupfs")

    def _program(self, path: Path, words: tuple[str, ...]) -> None:
        program = shutil.which(words[0]) or words[0]
        path.write_text(f'#!/bin/sh\nexec {shlex.join((program, *words[1:]))} "$@"\n')
        path.chmod(0o755)

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run([str(self.cli), *words], capture_output=True, text=True, timeout=ASK_S, check=False)
        assert done.returncode == 0 or not check, f"podman {shlex.join(words)}: {done.stderr}"
        return done.stdout

    def root(self, *without: str) -> Path:
        if without not in self._roots:
            root = self.folder / f"root-{len(self._roots)}"
            root.mkdir()
            rootfs.build(root, without=without)
            self._roots[without] = root
        return self._roots[without]

    def start(
        self,
        *,
        name: str | None = None,
        user: str = "",
        labels: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        without: tuple[str, ...] = (),
    ) -> Container:
        """A running container, its changes kept apart from those of others. `mounts`: folder here -> there."""
        name = name or f"bench-{secrets.token_hex(4)}"
        options = [
            *(("--user", user) if user else ()),
            *(word for key, value in (labels or {}).items() for word in ("--label", f"{key}={value}")),
            *(word for here, there in (mounts or {}).items() for word in ("--volume", f"{here}:{there}")),
        ]
        root = f"{self.root(*without)}:O"
        container_id = self.run("run", "-d", *_LIMITS, "--name", name, *options, "--rootfs", root, *_FIRST_PROCESS)
        return Container(container_id.strip(), name, self)

    def inspect(self, container: Container) -> dict[str, Any]:
        return json.loads(self.run("inspect", container.container_id))[0]

    def command_line(self, name: str) -> str:
        """The program for the setting `container_cli`: `podman`, or `docker` on podman's API socket."""
        if name == "podman":
            return str(self.cli)
        if shutil.which("docker") is None:
            raise MissingPart("the docker command line", "apt-get install docker.io")
        self.serve()
        return str(self.docker_cli)

    def serve(self) -> None:
        """The API socket for the docker command line; once."""
        if self._service is not None:
            return
        command = [str(self.cli), "system", "service", "--time=0", f"unix://{self.api_socket}"]
        with open(self.folder / "service.log", "wb") as log:
            self._service = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + ASK_S
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "service.log").read_text()
            assert self._service.poll() is None, (self.folder / "service.log").read_text()

    def _answers(self) -> bool:
        words = [str(self.docker_cli), "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(words, capture_output=True, timeout=ASK_S, check=False).returncode == 0

    def end(self) -> None:
        """Every container, the service, everything on disk."""
        self.run("rm", "-a", "-f", "-t", "0", check=False)
        if self._service is not None:
            self._service.terminate()
            self._service.wait(ASK_S)
        _end_those_of(self.folder)
        _unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_those_of(folder: Path) -> None:
    """The helpers of an `exec` stay for five minutes to clean up behind it, and would make the folder anew."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                if f"{folder}/".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, timeout=ASK_S, check=False)


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """Root's own or, with user namespaces, anybody's."""
    engine = Podman(Path(tempfile.mkdtemp(prefix="at-pod-", dir="/tmp" if os.path.isdir("/tmp") else None)))
    try:
        yield engine
    finally:
        engine.end()
