"""A worker made as new for another session: what code may have changed around its names."""

import builtins
import gc
import linecache
import os
import signal
import sys
import threading
from operator import is_

from .cells import in_cell

_all, _len, _map, _next, _reversed = all, len, map, next, reversed


def _as_it_was(names: dict[str, object], whole: dict[str, object]) -> bool:
    """So after nearly every cell, and found without a look at each name: one that is new comes last."""
    return (
        _len(names) == _len(whole)
        and _next(_reversed(names)) is _next(_reversed(whole))
        and _all(_map(is_, names.values(), whole.values()))
    )


class Builtins:
    """Code may delete or replace what the worker, and all of Python's library, is made of: it is so only while a cell
    runs. Nothing here uses a builtin by its name."""

    def __init__(self) -> None:
        self._names = builtins.__dict__
        self._whole = dict(self._names)
        self._changed: dict[str, object] = {}
        self._deleted: list[str] = []
        self._in_a_cell = False

    def change(self) -> None:
        """Before a cell: as the last one left them."""
        self._in_a_cell = True
        self._names.update(self._changed)
        for name in self._deleted:
            self._names.pop(name, None)

    def make_whole(self) -> None:
        """After a cell."""
        if not self._in_a_cell:
            return
        self._in_a_cell = False
        names, whole = self._names, self._whole
        if _as_it_was(names, whole):
            self.forget()
            return
        self._changed = {name: value for name, value in names.items() if whole.get(name, names) is not value}
        self._deleted = [name for name in whole if name not in names]
        for name in self._changed:
            names.pop(name)
        names.update(whole)

    def forget(self) -> None:
        self._changed, self._deleted = {}, []


class Surroundings:
    """How they were; `restore` puts them back."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def restore(self, working_dir: str) -> bool:
        """False when something of the last session is still at work: then the process is of no more use."""
        gc.collect()
        if threading.active_count() > 1 or signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            return False
        os.environ.clear()
        os.environ.update(self._environment)
        sys.path[:] = self._path
        sys.settrace(None)
        sys.setprofile(None)
        sys.excepthook, sys.displayhook = sys.__excepthook__, sys.__displayhook__
        os.umask(self._umask)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _forget_modules(working_dir)
        for name in [name for name in linecache.cache if in_cell(name)]:
            del linecache.cache[name]
        return True


def _forget_modules(folder: str) -> None:
    """Those of the user's own files: the next session reads them anew."""
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(folder.rstrip(os.sep) + os.sep):
            del sys.modules[name]
