"""What kind of code a cell is: awaits at top level, defines coroutines, blocks, or none of it. Found in its AST."""

import ast
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

TOP_LEVEL_AWAIT: Final = "top_level_await"
ASYNC_DEF: Final = "async_def"
BLOCKING_SYNC: Final = "blocking_sync"
SIMPLE_SYNC: Final = "simple_sync"
UNKNOWN: Final = "unknown"

BLOCKING_CALLS: Final = (
    "time.sleep",
    "input",
    "open",
    "os.system",
    "os.popen",
    "os.wait",
    "os.waitpid",
    "select.select",
    "socket.create_connection",
    "socket.getaddrinfo",
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "urllib.request.urlopen",
    "urllib.request.urlretrieve",
    "requests.get",
    "requests.post",
    "requests.put",
    "requests.patch",
    "requests.delete",
    "requests.head",
    "requests.request",
    "httpx.get",
    "httpx.post",
    "httpx.request",
    "shutil.copytree",
    "shutil.rmtree",
)
"""Calls by their full names."""

BLOCKING_METHODS: Final = {
    "socket.socket": ("accept", "connect", "recv", "recv_into", "recvfrom", "send", "sendall", "makefile"),
    "pathlib.Path": ("read_text", "read_bytes", "write_text", "write_bytes", "open"),
    "subprocess.Popen": ("wait", "communicate"),
    "threading.Thread": ("join",),
    "threading.Lock": ("acquire",),
    "queue.Queue": ("get", "put", "join"),
    "requests.Session": ("get", "post", "put", "patch", "delete", "head", "request"),
    "http.client.HTTPConnection": ("request", "getresponse"),
}
"""Methods of what a call of that name makes."""


class Mode(NamedTuple):
    """`blocking`: the blocking calls that were found, by full name, in order."""

    mode: str
    blocking: tuple[str, ...]


class Classifier:
    """Classifies trees; remembers the last `size` by their code. Imports of earlier cells are known to later ones."""

    def __init__(
        self,
        calls: Iterable[str] = BLOCKING_CALLS,
        methods: Mapping[str, Sequence[str]] = BLOCKING_METHODS,
        size: int = 100,
    ) -> None:
        self._calls = frozenset(calls)
        self._methods = methods
        self._size = size
        self._known: OrderedDict[str, tuple[ast.Module, Mode]] = OrderedDict()
        self._names: dict[str, str] = {}

    def tree(self, code: str, filename: str) -> tuple[ast.Module, Mode]:
        """The parsed cell and its mode. Raises `SyntaxError` (and `ValueError` for a null character)."""
        found = self._known.get(code)
        if found is not None:
            self._known.move_to_end(code)
            return found
        tree = ast.parse(code, filename)
        finder = _Finder(self._calls, self._methods, self._names)
        finder.visit(tree)
        mode = ASYNC_DEF if finder.async_def else BLOCKING_SYNC if finder.blocking else SIMPLE_SYNC
        found = self._known[code] = tree, Mode(mode, tuple(finder.blocking))
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return found


class _Finder(ast.NodeVisitor):
    """`names`: what a name stands for, `s` -> `time.sleep` after `from time import sleep as s`."""

    def __init__(self, calls: frozenset[str], methods: Mapping[str, Sequence[str]], names: dict[str, str]) -> None:
        self._calls = calls
        self._methods = methods
        self._names = names
        self.blocking: list[str] = []
        self.async_def = False

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.async_def = True
        self._names[node.name] = f"__main__.{node.name}"
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._names[node.name] = f"__main__.{node.name}"
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._names[node.name] = f"__main__.{node.name}"
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self._names[alias.asname] = alias.name
            else:
                top = alias.name.partition(".")[0]
                self._names[top] = top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        name = self._name(node.value)
        made = self._made(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                if made is not None:
                    self._names[target.id] = f"{made}()"
                elif name is not None and not isinstance(node.value, ast.Call):
                    self._names[target.id] = name
                else:
                    self._names.pop(target.id, None)

    def visit_Call(self, node: ast.Call) -> None:
        name = self._name(node.func)
        if name is not None and (name in self._calls or self._is_method(name)):
            self.blocking.append(name.replace("()", ""))
        self.generic_visit(node)

    def _is_method(self, name: str) -> bool:
        owner, made, method = name.rpartition("().")
        return bool(made) and method in self._methods.get(owner, ())

    def _made(self, node: ast.expr) -> str | None:
        """`socket.socket` for a call of it."""
        name = self._name(node.func) if isinstance(node, ast.Call) else None
        return name if name in self._methods else None

    def _name(self, node: ast.expr) -> str | None:
        """The full name of an attribute chain; `socket.socket().recv` for a method of what a call made."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                owner = self._name(value)
                return None if owner is None else f"{owner}.{attr}"
            case ast.Call():
                made = self._made(node)
                return None if made is None else f"{made}()"
            case _:
                return None
