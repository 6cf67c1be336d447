"""One cell: parsed, compiled so that its last expression has a value, and run, in the main thread."""

import ast
import linecache
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, NamedTuple

from .modes import TOP_LEVEL_AWAIT, Classifier, Mode

CO_COROUTINE: Final = 0x80
PREFIX: Final = "<cell "


class Cell(NamedTuple):
    """`body` runs first, `last` is the expression whose value counts; either may be None."""

    number: int
    code: str
    filename: str
    mode: Mode
    body: CodeType | None
    last: CodeType | None

    @property
    def awaits(self) -> bool:
        return any(part is not None and part.co_flags & CO_COROUTINE for part in (self.body, self.last))


def compile_cell(code: str, number: int, classifier: Classifier) -> Cell:
    """Raises what Python raises for code that it cannot compile; the source is known to tracebacks all the same."""
    filename = f"{PREFIX}{number}>"
    lines = code.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    linecache.cache[filename] = (len(code), None, lines, filename)
    tree, mode = classifier.tree(code, filename)
    statements = tree.body
    last: CodeType | None = None
    if statements and isinstance(statements[-1], ast.Expr):
        expression = ast.Expression(statements[-1].value)
        last = _compile(expression, filename, "eval")
        statements = statements[:-1]
    body = _compile(ast.Module(statements, tree.type_ignores), filename, "exec") if statements else None
    cell = Cell(number, code, filename, mode, body, last)
    return cell._replace(mode=Mode(TOP_LEVEL_AWAIT, mode.blocking)) if cell.awaits else cell


def _compile(tree: ast.Module | ast.Expression, filename: str, how: str) -> CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(tree, filename, how, flags=flags, dont_inherit=True)


def forget_source(number: int) -> None:
    """Of a cell that defined nothing: no traceback will show it again."""
    linecache.cache.pop(f"{PREFIX}{number}>", None)


def run_sync(cell: Cell, names: dict[str, Any]) -> Any:
    """The value of the last expression, None without one."""
    if cell.body is not None:
        exec(cell.body, names)
    return None if cell.last is None else eval(cell.last, names)


async def run_async(cell: Cell, names: dict[str, Any], after: Callable[[], None]) -> Any:
    """As `run_sync`; parts that await are awaited. `after` is called before the loop goes on."""
    value = None
    try:
        for part in (cell.body, cell.last):
            if part is None:
                continue
            value = eval(part, names)
            if part.co_flags & CO_COROUTINE:
                value = await value
            if part is not cell.last:
                value = None
    finally:
        after()
    return value


def in_cell(filename: str) -> bool:
    return filename.startswith(PREFIX)
