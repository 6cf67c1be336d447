"""Ctrl-C while something is stayed with."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.cli.following import Feed
from adapters.cli.place import Place
from adapters.cli.staying import stopping
from tests.integration.cli.conftest import DEADLINE_S


class Silent(Feed):
    """Of a tower that says nothing."""

    def __init__(self, home: Path) -> None:
        super().__init__(Place(home, "local"), "x", after=0, output=False)
        self._follows = []


@contextmanager
def unseen() -> Iterator[None]:
    """Signals interrupt nothing that this thread waits in: another one takes them, as one may that comes just before
    the waiting begins."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()
        other.join()


def test_the_first_one_wakes_and_is_told_once_and_the_second_leaves(tmp_path: Path) -> None:
    with Silent(tmp_path) as feed, stopping(feed) as asked:
        assert not asked.begin()
        with unseen():
            os.kill(os.getpid(), signal.SIGINT)
            assert select.select([feed], [], [], DEADLINE_S)[0]
        assert list(feed.take()) == []
        assert [asked.begin(), asked.begin()] == [True, False]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
