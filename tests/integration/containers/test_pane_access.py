"""What a person does with a pane inside a container: types into it, reads its log, attaches to it."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from adapters.cli.child_tower import ChildTower
from tests.integration.cli.conftest import agenttower, environment
from tests.integration.containers.engines import Container
from tests.integration.containers.test_tower import BENCH, Fleet, either
from tests.waiting import eventually

__all__ = ("either",)

TERMINFO = Path("/lib/terminfo")
SOCKET = "/tmp/tmux-0/default"


async def logged(path: Path, text: str) -> None:
    await eventually(lambda: path.exists() and text in path.read_text(errors="replace"), f"{text} is logged")


class TestAPaneInAContainer:
    async def test_is_sent_text_read_and_attached_to(
        self, either: Fleet, cli: str, start: Callable[..., Container]
    ) -> None:
        # tmux asks for the kind of terminal, of which a bare container knows none.
        mounts = {either.tower.home / "bench": BENCH, TERMINFO: str(TERMINFO)}
        container = await asyncio.to_thread(lambda: start(mounts=mounts))
        await either.scan()
        pane = (await either.ready_in(container, "work"))["panes"][0]
        sent = agenttower(either.tower.home, "pane", "send", pane["id"], "echo said-$((40 + 2))")
        assert (sent.code, sent.err) == (0, ""), sent
        assert sent.out.endswith("and seen to arrive\n")
        await logged(Path(pane["log_path"]), "said-42")
        assert "said-42" in agenttower(either.tower.home, "pane", "logs", pane["id"]).out
        with attached(either.tower, cli, pane["id"]) as keys:
            await eventually(
                lambda: pane["tmux_pane_id"] in container.tmux("list-clients", "-F", "#{pane_id}", socket=SOCKET),
                "a client is on the pane",
            )
            os.write(keys, b"echo typed-$((40 + 2))\r")
            await logged(Path(pane["log_path"]), "typed-42")

    async def test_has_its_log_in_there_without_the_bench_folder(
        self, either: Fleet, start: Callable[..., Container]
    ) -> None:
        container = start()
        await either.scan()
        pane = (await either.ready_in(container, "work"))["panes"][0]
        agenttower(either.tower.home, "pane", "send", pane["id"], "echo said-$((40 + 2))")
        await eventually(
            lambda: "said-42" in agenttower(either.tower.home, "pane", "logs", pane["id"]).out,
            "it is read through exec",
        )
        url = f"{either.tower.running.http}/v1/panes/{pane['id']}/log"
        seen = ""
        with httpx.stream("GET", url, params={"follow": "true", "lines": 20}, timeout=60) as stream:
            agenttower(either.tower.home, "pane", "send", pane["id"], "echo more-$((40 + 2))", "--no-wait")
            for part in stream.iter_text():
                seen += part
                if "more-42" in seen:
                    break
        assert "more-42" in seen
        await eventually(lambda: "-F -- /tmp" not in container.execute("ps", "-ef"), "nobody follows in there any more")


@contextmanager
def attached(tower: ChildTower, cli: str, pane_id: str) -> Iterator[int]:
    """`pane attach` in a terminal of its own; the other end of that."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "adapters.cli", "pane", "attach", pane_id]
    variables = {**environment(tower.home), "AGENTTOWER_CONTAINER_CLI": cli, "TERM": "xterm"}
    with subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
    ) as process:
        os.close(slave)
        shown = bytearray()
        drain = threading.Thread(target=_drain, args=(master, shown))
        drain.start()
        try:
            yield master
        except AssertionError as error:
            raise AssertionError(f"{error}; the terminal shows {bytes(shown)!r}") from error
        finally:
            process.kill()
            process.wait()
            drain.join()
            os.close(master)


def _drain(master: int, shown: bytearray) -> None:
    """A terminal that nobody reads would hold the client up. Ends when the last program has left it."""
    with contextlib.suppress(OSError):
        while data := os.read(master, 4096):
            shown.extend(data)
