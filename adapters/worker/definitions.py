"""Functions and classes that cells defined, with the source that defines them again."""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple


class Definition(NamedTuple):
    """A function or class that a cell defined: the object, and the source that defines it again."""

    value: object
    source: str


class Definitions:
    """What cells defined, by name; `note` after each cell."""

    def __init__(self) -> None:
        self._known: dict[str, Definition] = {}

    def note(self, code: str, tree: ast.Module, names: Mapping[str, Any]) -> bool:
        """Whether it defined any."""
        found = _definitions_in(tree.body)
        for name, node in found:
            value = names.get(name)
            source = None if value is None else _source(code, node)
            if source is not None and (name not in self._known or self._known[name].value is not value):
                self._known.pop(name, None)
                self._known[name] = Definition(value, source)
        return bool(found)

    def of(self, names: Mapping[str, Any]) -> dict[str, Definition]:
        """Those that still are what their name stands for, in the order in which they were made."""
        return {name: known for name, known in self._known.items() if names.get(name) is known.value}


def _definitions_in(body: list[ast.stmt]) -> list[tuple[str, ast.stmt]]:
    """Functions, classes and named lambdas at module level, those under `if`, `try` and `with` among them."""
    found: list[tuple[str, ast.stmt]] = []
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.append((name, node))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                found.append((name, node))
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                for field in ("body", "orelse", "finalbody"):
                    found += _definitions_in(getattr(node, field, []))
            case _:
                continue
    return found


def _source(code: str, node: ast.stmt) -> str | None:
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    if node.end_lineno is None:
        return None
    import textwrap

    return textwrap.dedent("\n".join(code.split("\n")[first - 1 : node.end_lineno])) + "\n"
