"""Rules of style that no linter knows, as data, and one pass that applies them to a file.

Each message ends in what to write instead. `allowed` names the files, or folders with a closing slash, that are the
one place for what a rule bans elsewhere.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

PRODUCT = ("domain/", "handlers/", "projections/", "adapters/")

FUNCTION_LINES = 70
FILE_LINES = 400
FILE_LINES_OF = (".py", ".js", ".css", ".html", ".sh")


@dataclass(frozen=True)
class Ban:
    """Qualified names that may not be used in files under `where`; a name ending in `.*` stands for all below it."""

    names: frozenset[str]
    instead: str
    where: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    but: frozenset[str] = frozenset()

    def hits(self, path: str, name: str) -> bool:
        named = name in self.names or any(n.endswith(".*") and name.startswith(n[:-1]) for n in self.names)
        return named and name not in self.but and path.startswith(self.where) and not path.startswith(self.allowed)


CLOCKS = frozenset(
    {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
    | {f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time") for unit in ("", "_ns")}
    | {"time.localtime", "time.gmtime", "time.ctime"}
)
IDS = frozenset(
    f"{module}.uuid{version}" for module in ("uuid", "uuid_utils", "uuid_utils.compat") for version in (1, 4, 6, 7)
)
SKIPS = frozenset({"pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif", "unittest.skip.*"})

PAUSES = (
    "adapters/nats/broker.py",  # before the server is started again
    "adapters/nats/pulling.py",  # before a broker that refused is asked again
    "adapters/nats/store_lock.py",  # the kernel tells nobody when a file lock becomes free
    "adapters/system.py",  # the sleep of the Clock port
    "adapters/tmux/pasting.py",  # tmux tells of new output only to whom takes all of it
    "tests/bench/",
    "tests/waiting.py",
)
"""Where a pause between tries is all that can be done."""

BANS = (
    Ban(CLOCKS, "take the time from the command", where=("domain/",)),
    Ban(
        CLOCKS,
        "take a Clock (handlers/ports.py)",
        where=("handlers/", "projections/", "adapters/"),
        allowed=("adapters/system.py", "adapters/worker/"),  # a worker has none of ours
    ),
    Ban(IDS, "take the id from the command", where=("domain/",)),
    Ban(
        IDS,
        "take Ids (handlers/ports.py)",
        where=("handlers/", "projections/", "adapters/"),
        allowed=("adapters/system.py",),
    ),
    Ban(
        frozenset({"asyncio.sleep", "time.sleep"}),
        "wait for the condition itself, with a deadline (in a test: tests/waiting.py)",
        where=(*PRODUCT, "tests/", "examples/"),
        allowed=PAUSES,
    ),
    Ban(
        frozenset({"random.*"}),
        "take a random.Random(seed) as an argument",
        where=("domain/", "handlers/", "projections/", "tests/"),
        but=frozenset({"random.Random"}),
    ),
    Ban(
        frozenset({"secrets.*", "os.urandom"}),
        "make secrets in adapters/",
        where=("domain/", "handlers/", "projections/"),
    ),
    Ban(frozenset({"unittest.mock", "unittest.mock.*", "mock.*"}), "start the real part", where=("",)),
    Ban(SKIPS, "say pytest.mark.needs (tests/needs.py)", where=("tests/",), allowed=("tests/needs.py",)),
)

TEXTS = (
    (re.compile(r"\b(?:TODO|FIXME|XXX)\b"), "is banned, finish it or leave it out"),
    (re.compile(r"(?<![\w.$}~-])/(?:work|root)/"), "is a path of one machine, use a relative or a temporary one"),
)
TEXTS_ALLOWED = ("tests/tidy/",)

ORIGIN = re.compile(r"(?:(?:.*[-_])?origin|(?:x[-_])?forwarded(?:[-_]\w+)?|x[-_]real[-_]ip)\Z", re.IGNORECASE)
ORIGIN_INSTEAD = "who asks is read from the kernel or the broker, take the peer of the connection"
ORIGIN_WHERE = ("adapters/http/", "adapters/rpc/")
ORIGIN_ALLOWED = ("adapters/http/browser.py",)
"""The browser's Origin header is compared there; it says which page asks, never who."""


def problems(path: str, text: str) -> list[str]:
    """`path:line: what is wrong, what to do instead` for one tracked file (`path` relative, with slashes)."""
    found = [*_texts(path, text), *_file_length(path, text)]
    if path.endswith(".py"):
        nodes = list(ast.walk(ast.parse(text, path)))
        found += [*_function_lengths(nodes), *_banned_names(path, nodes)]
        if path.startswith(ORIGIN_WHERE) and not path.startswith(ORIGIN_ALLOWED):
            found += _origins(nodes)
    return [f"{path}:{line}: {message}" for line, message in sorted(set(found))]


def lock_problems(path: str, text: str) -> list[str]:
    """A lock installs from wherever the machine is told to: it holds no address and no path."""
    return [
        f"{path}:{number}: a lock holds names, versions and hashes only"
        for number, line in enumerate(text.splitlines(), 1)
        if "://" in line or re.match(r"\s*(?:--(?!hash=)|-[a-z]\s|[./])", line)
    ]


def _texts(path: str, text: str) -> Iterator[tuple[int, str]]:
    if path.startswith(TEXTS_ALLOWED):
        return
    for pattern, message in TEXTS:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, f"{match.group()} {message}"


def _file_length(path: str, text: str) -> Iterator[tuple[int, str]]:
    count = text.count("\n")
    if path.endswith(FILE_LINES_OF) and count > FILE_LINES:
        yield count, f"the file has {count} lines, at most {FILE_LINES}: split it by concept"


def _function_lengths(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {count} lines, at most {FUNCTION_LINES}: name its steps"


def _banned_names(path: str, nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    imported: dict[str, str] = {}
    used: list[tuple[int, str]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                imported[alias.asname or top] = alias.name if alias.asname else top
                used.append((node.lineno, alias.name))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    yields = {id(node.func) for node in nodes if isinstance(node, ast.Call) and _is_zero(node.args)}
    for node in nodes:
        name = _qualified(node, imported)
        # `sleep(0)` lets others run: it waits for nothing.
        if name and not (name == "asyncio.sleep" and id(node) in yields):
            used.append((getattr(node, "lineno", 0), name))

    for line, name in used:
        for ban in BANS:
            if ban.hits(path, name):
                yield line, f"{name} is banned, {ban.instead}"


def _qualified(node: ast.AST, imported: dict[str, str]) -> str | None:
    """`sleep`, `aio.sleep` and `asyncio.sleep` are all `asyncio.sleep`; None for what was not imported."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imported:
        return None
    return ".".join([imported[node.id], *reversed(attributes)])


def _is_zero(args: list[ast.expr]) -> bool:
    return len(args) == 1 and isinstance(args[0], ast.Constant) and args[0].value == 0


def _origins(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Look-ups by the key `origin`, parameters that a framework fills, fields of a decoded body."""
    for node in nodes:
        match node:
            case ast.Subscript(slice=key, ctx=ast.Load()) if _names_origin(key):
                yield node.lineno, f'["origin"] is banned, {ORIGIN_INSTEAD}'
            case ast.Call(func=ast.Attribute(attr="get" | "pop" | "getlist"), args=[key, *_]) if _names_origin(key):
                yield node.lineno, f'get("origin") is banned, {ORIGIN_INSTEAD}'
            case ast.Call(func=ast.Name(id="Header" | "Body" | "Query" | "Form" | "Cookie"), keywords=keywords):
                if any(word.arg == "alias" and _names_origin(word.value) for word in keywords):
                    yield node.lineno, f'alias="origin" is banned, {ORIGIN_INSTEAD}'
            case ast.arg(arg=name, annotation=ast.Subscript() as annotation) if ORIGIN.match(name):
                if any(isinstance(part, ast.Name) and part.id in _FILLED for part in ast.walk(annotation)):
                    yield node.lineno, f"the parameter {name} is banned, {ORIGIN_INSTEAD}"
            case ast.ClassDef(body=body):
                for field in body:
                    match field:
                        case ast.AnnAssign(target=ast.Name(id=name)) if ORIGIN.match(name):
                            yield field.lineno, f"the field {name} is banned, {ORIGIN_INSTEAD}"
                        case _:
                            pass
            case _:
                pass


_FILLED = frozenset({"Header", "Body", "Query", "Form", "Cookie"})


def _names_origin(key: ast.expr) -> bool:
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str | bytes):
        return False
    text = key.value if isinstance(key.value, str) else key.value.decode("latin-1")
    return ORIGIN.match(text) is not None
