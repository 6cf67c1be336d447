"""The names of a session: one dict for the life of the worker, which is merged into and never replaced."""

import builtins
import sys
from collections import deque
from collections.abc import Mapping
from itertools import islice
from types import ModuleType
from typing import Any, Final

INTERNAL: Final = frozenset(
    ("_", "__", "___", "_i", "_ii", "_iii", "In", "Out", "_oh", "_ih", "_exit_code", "_exception")
)
"""The engine's own, which no restore may overwrite."""

MODULE: Final = frozenset(("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__builtins__", "__file__"))

KEPT_VALUES: Final = 1_000
KEPT_BYTES: Final = 64 * 1024 * 1024

OVERWRITE: Final = "overwrite"
PRESERVE: Final = "preserve"
SMART: Final = "smart"

COMMIT: Final = "commit_always"
ROLLBACK_ON_FAILURE: Final = "rollback_on_failure"
ROLLBACK: Final = "rollback_always"


class Namespace:
    """`names` are the globals of the module `__main__`. `tower` is what user code may ask of the tower."""

    def __init__(self, tower: object) -> None:
        self.module = ModuleType("__main__")
        self.names: dict[str, Any] = self.module.__dict__
        self._count = 0
        self._sizes: deque[tuple[int, int]] = deque()
        """Of the values in `Out`, oldest first: number of the cell, bytes."""
        self._kept_bytes = 0
        self._tower = tower
        self.clear()
        sys.modules["__main__"] = self.module

    def clear(self) -> None:
        """Take away all names but the engine's."""
        kept = {name: self.names[name] for name in INTERNAL | MODULE if name in self.names}
        self.names.clear()
        self.names.update(kept)
        self.names["tower"] = self._tower
        self._complete()

    def _complete(self) -> None:
        """What every cell may count on, whatever the last one deleted."""
        self.names.setdefault("__name__", "__main__")
        self.names["__builtins__"] = builtins
        for name, empty in (("In", [""]), ("Out", {})):
            self.names.setdefault(name, empty)
        self.names.setdefault("_ih", self.names["In"])
        self.names.setdefault("_oh", self.names["Out"])
        for name in ("_", "__", "___", "_i", "_ii", "_iii"):
            self.names.setdefault(name, "")

    def user_names(self) -> dict[str, Any]:
        """What the user has made."""
        taken = INTERNAL | MODULE
        return {
            name: value
            for name, value in self.names.items()
            if name not in taken and not (name == "tower" and value is self._tower)
        }

    def merge(self, values: Mapping[str, Any], strategy: str = OVERWRITE) -> list[str]:
        """Take `values` over; the names that were set. `smart`: a callable is replaced only by a callable."""
        merged: list[str] = []
        for name, value in values.items():
            there = name in self.names
            if name in INTERNAL or name in MODULE or (strategy == PRESERVE and there):
                continue
            if strategy == SMART and there and callable(self.names[name]) and not callable(value):
                continue
            self.names[name] = value
            merged.append(name)
        return merged

    # --- what a cell changed ---------------------------------------------------------------------------------------

    def mark(self) -> dict[str, Any]:
        """The present bindings, for `roll_back`."""
        return dict(self.names)

    def roll_back(self, mark: Mapping[str, Any]) -> None:
        """Names that were added since are gone, names that were bound anew have their old objects."""
        for name in [name for name in self.names if name not in mark]:
            del self.names[name]
        self.names.update(mark)

    # --- history, as IPython keeps it ------------------------------------------------------------------------------

    def begin(self, code: str) -> int:
        """The cell's number, from 1."""
        self._count += 1
        self._complete()
        names = self.names
        names["_iii"], names["_ii"], names["_i"] = names.get("_ii", ""), names.get("_i", ""), self._last_input()
        inputs = names.get("In")
        if isinstance(inputs, list):
            inputs.append(code)
            if len(inputs) > KEPT_VALUES + 1:
                # Numbers stay what they were.
                inputs[len(inputs) - KEPT_VALUES - 1] = ""
        return self._count

    def _last_input(self) -> str:
        inputs = self.names.get("In")
        return inputs[-1] if isinstance(inputs, list) and inputs else ""

    def keep_value(self, number: int, value: object) -> None:
        """Of an expression that was not None."""
        names = self.names
        names["___"], names["__"], names["_"] = names.get("__", ""), names.get("_", ""), value
        outputs = names.get("Out")
        if not isinstance(outputs, dict):
            return
        outputs[number] = value
        try:
            size = _size(value)
        except Exception:  # noqa: BLE001 (the user's own __sizeof__)
            size = 0
        self._sizes.append((number, size))
        self._kept_bytes += size
        while len(self._sizes) > 1 and (len(self._sizes) > KEPT_VALUES or self._kept_bytes > KEPT_BYTES):
            oldest, size = self._sizes.popleft()
            self._kept_bytes -= size
            outputs.pop(oldest, None)

    def keep_exception(self, error: BaseException | None) -> None:
        """For one cell: what an exception's frames hold lives on until the next cell begins."""
        last = self.names.get("_exception")
        if isinstance(last, BaseException) and last is not error:
            _let_go(last)
        self.names["_exception"] = error
        if isinstance(error, SystemExit):
            self.names["_exit_code"] = error.code


def _let_go(error: BaseException) -> None:
    """Of the frames, its own and those of what led to it."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _size(value: object) -> int:
    """Bytes, roughly: what containers of Python's own hold is counted up to some number of things."""
    waiting, seen, total = [value], set[int](), 0
    while waiting and len(seen) < KEPT_VALUES:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        if type(each) is dict:
            waiting += islice(each.values(), KEPT_VALUES)
        elif type(each) in (list, tuple, set, frozenset):
            waiting += islice(each, KEPT_VALUES)  # type: ignore[call-overload]
    return total
