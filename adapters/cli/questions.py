"""What an execution asks, shown one at a time above the line on which it is answered."""

import sys

from adapters.cli import output
from adapters.cli.answering import Lines
from adapters.cli.client import Row
from adapters.cli.failures import Failure


class Questions:
    """Those that are open, in order; the first is asked on stderr."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._open: dict[int, Row] = {}
        self._answered: dict[int, Row] = {}
        self._asked: int | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    @property
    def is_unasked(self) -> bool:
        """There is one to be asked, by `prompt`."""
        return bool(self._open) and self._asked is None

    @property
    def is_on_its_line(self) -> bool:
        """The cursor stands behind a question."""
        return self._asked is not None and sys.stderr.isatty()

    def opened(self, n: int, question: Row) -> None:
        if n not in self._open and n not in self._answered:
            self._open[n] = question
            self._hide()

    def settled(self, n: int, how: str) -> None:
        """By somebody else, or by its deadline."""
        if self._open.pop(n, None) is None:
            return
        self._lines.echo()
        if self._asked == n:
            self._asked = None
            output.note("(nobody answered in time)" if how == "promise.timed_out" else "(answered elsewhere)")
        self._hide()

    def answered(self) -> tuple[int, str | None]:
        """The number of the question that was asked, and the line."""
        self.prompt()
        n, value = next(iter(self._open)), self._lines.take()
        if self._open[n].get("secret") and self._lines.is_terminal:
            output.note("")
        self._lines.echo()
        self._answered[n] = self._open.pop(n)
        self._asked = None
        self._hide()
        return n, value

    def ask_again(self, n: int) -> None:
        """Its answer was not taken. On a terminal only: the next line of a file would be as wrong."""
        if not self._lines.is_terminal:
            raise Failure("the answer from standard input was not taken", code="validation_failed")
        self._open = {n: self._answered.pop(n), **self._open}
        self._asked = None
        self._hide()

    def ask_below(self) -> None:
        """Something else was printed meanwhile."""
        self._asked = None

    def close(self) -> None:
        self._open.clear()
        self._asked = None
        self._lines.echo()

    def prompt(self) -> None:
        """Ask the first, if it is not asked yet."""
        if not self.is_unasked:
            return
        self._asked, question = next(iter(self._open.items()))
        prompt = str(question.get("prompt") or "")
        choices = question.get("choices")
        if choices:
            prompt = f"{prompt.rstrip()} [{'/'.join(choices)}] "
        sys.stderr.write(prompt)
        sys.stderr.flush()

    def _hide(self) -> None:
        if next(iter(self._open.values()), {}).get("secret"):
            self._lines.hide()
