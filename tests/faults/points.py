"""Every crash point of the tower, read from its source: each await of a part's method in handlers/ and in the engine.

Which names are parts follows from their annotations (`log: EventLog`) and from what the composition arms, so that an
await that somebody adds is a point at once. A name is what `adapters/crashing.py` makes of the same await.
"""

import ast
import inspect
import typing
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from adapters.nats.doors import DurableDoor, PingDoor, RequestDoor
from handlers import bundle_ports, execution_ports, ports, session_ports, snapshots, trigger_ports
from handlers.effects.follow_ups import FollowUps
from handlers.effects.scanning import Scanning
from handlers.effects.spawning import Spawning
from handlers.recovery import Recovery
from handlers.writer import Writer

ROOT = Path(__file__).parents[2]
FILES = (*sorted((ROOT / "handlers").rglob("*.py")), ROOT / "adapters" / "engine.py")

PORTS: dict[str, type] = {
    **{
        name: kind
        for module in (ports, bundle_ports, execution_ports, session_ports)
        for name, kind in vars(module).items()
        if getattr(kind, "_is_protocol", False)
    },
    "SnapshotStore": snapshots.SnapshotStore,
    "TriggerFolders": trigger_ports.TriggerFolders,
}
PARTS: dict[str, type] = {
    **PORTS,
    **{
        kind.__name__: kind
        for kind in (DurableDoor, PingDoor, RequestDoor, FollowUps, Scanning, Spawning, Recovery, Writer)
    },
}
"""What is armed. The later ones only where the engine or recovery awaits them."""


def waits(kind: type) -> frozenset[str]:
    """Its methods that are awaited or iterated with `async for`."""
    methods = {name: found for name, found in vars(kind).items() if inspect.isfunction(found) and name[0] != "_"}
    return frozenset(
        name
        for name, found in methods.items()
        if inspect.iscoroutinefunction(found)
        or inspect.isasyncgenfunction(found)
        or typing.get_origin(typing.get_type_hints(found).get("return")) is AsyncIterator
    )


def points() -> tuple[str, ...]:
    """`module.function.method.before` and `.after`; a second await of the same method in a function has `#2`."""
    found: list[str] = []
    for path in FILES:
        pairs = _awaits(ast.parse(path.read_text()))
        awaits = Counter(f"{path.stem}.{function}.{method}" for function, method in pairs)
        for name, count in awaits.items():
            for number in range(1, count + 1):
                times = f"#{number}" if number > 1 else ""
                found += [f"{name}.{moment}{times}" for moment in ("before", "after")]
    return tuple(found)


def _awaits(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(function, method) of each await of a part."""
    attributes = _attributes(tree)
    yield from _walk(tree, "", {}, attributes)


def _walk(node: ast.AST, function: str, names: dict[str, str], attributes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """`names`: the parts among the parameters and variables of the functions around."""
    for child in ast.iter_child_nodes(node):
        inside, known = function, names
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside, known = child.name, {**names, **_parameters(child), **_variables(child, attributes)}
        match child:
            case (
                ast.Await(value=ast.Call(func=ast.Attribute(value=part, attr=method)))
                | ast.AsyncFor(iter=ast.Call(func=ast.Attribute(value=part, attr=method)))
            ):
                kind = _kind(part, known, attributes)
                if kind is not None and method in waits(PARTS[kind]):
                    yield inside, method
            case _:
                pass
        yield from _walk(child, inside, known, attributes)


def _kind(receiver: ast.expr, names: dict[str, str], attributes: dict[str, str]) -> str | None:
    match receiver:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return attributes.get(name)
        case ast.Call(func=ast.Attribute(value=of, attr="of" | "make")):
            made = {"Terminals": "Terminal", "Workers": "WorkerSession", "Runtimes": "Runtime"}
            return made.get(_kind(of, names, attributes) or "")
        case _:
            return None


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {each.arg: kind for each in every if each.annotation and (kind := _part_in(each.annotation)) is not None}


def _part_in(annotation: ast.expr) -> str | None:
    name = ast.unparse(annotation).rpartition(".")[2]
    return name if name in PARTS else None


def _variables(function: ast.AST, attributes: dict[str, str]) -> dict[str, str]:
    """`terminal = self._terminals.of(…)`."""
    return {
        left.id: kind
        for left, right in _assigned(function)
        if isinstance(left, ast.Name) and (kind := _kind(right, {}, attributes)) is not None
    }


def _attributes(tree: ast.Module) -> dict[str, str]:
    """`self._log_port = log` of an annotated `log`, or `self.x = armed(Part(…))`, where parts are put together."""
    found: dict[str, str] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name.startswith(("__init__", "_make_")):
            names = _parameters(function)
            for left, right in _assigned(function):
                kind = _made(right, names)
                if kind is not None and isinstance(left, ast.Attribute):
                    found[left.attr] = kind
                elif kind is not None and isinstance(left, ast.Name):
                    names[left.id] = kind
    return found


def _assigned(function: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each target with its value, those of `a, b = x, y` one by one."""
    for node in ast.walk(function):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            assert isinstance(node, ast.Assign)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=True)
            else:
                yield target, node.value


def _made(value: ast.expr, names: dict[str, str]) -> str | None:
    match value:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Call(func=ast.Name(id="armed"), args=[ast.Call(func=ast.Name(id=name))]):
            return name.removeprefix("System") if name.removeprefix("System") in PARTS else None
        case _:
            return None
