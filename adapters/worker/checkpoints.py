"""A namespace as a file and back: values by one pickler, functions and classes of cells as their source.

Plain pickle stores what a cell defined by its name and cannot find it in a fresh process, so definitions are written
as source and defined again there. One pickler for all values keeps `a is b`, and the namespace itself is a reference,
so that `f.__globals__ is globals()` holds after a restore, too.

The file: 4 bytes of length, a JSON header, then two pickles that share their memo: the values that definitions may
need, and those that need definitions.

Loaded when the first is saved or restored: what it imports is a fifth of a cold start.
"""

import ast
import hashlib
import io
import json
import linecache
import os
import pickle
import struct
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from .cells import PREFIX
from .definitions import Definition, Definitions
from .namespace import OVERWRITE, Namespace

LENGTH: Final = struct.Struct(">I")
VERSION: Final = 1
PROTOCOL: Final = 5
REASON_LIMIT: Final = 200


class CannotRestore(Exception):
    """A checkpoint that does not load here: says why. The namespace is as it was."""


class _Unsaved(pickle.PicklingError):
    """Why a value cannot be saved, for a person."""


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, names: dict[str, Any], definitions: Mapping[str, Definition]) -> None:
        super().__init__(file, PROTOCOL)
        self._names = names
        self._defined = {id(each.value): name for name, each in definitions.items()}
        self.used_definitions = False

    def persistent_id(self, obj: Any) -> tuple[str, ...] | None:
        if obj is self._names:
            return ("globals",)
        if isinstance(obj, ModuleType):
            return ("module", obj.__name__)
        name = self._defined.get(id(obj))
        if name is not None:
            self.used_definitions = True
            return ("definition", name)
        if isinstance(obj, (type, FunctionType)) and getattr(obj, "__module__", None) == "__main__":
            what = "class" if isinstance(obj, type) else "function"
            raise _Unsaved(f"the {what} {obj.__qualname__} is not (any more) what a name of a cell stands for")
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, names: dict[str, Any]) -> None:
        super().__init__(file)
        self._names = names

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("globals",):
                return self._names
            case ("module", str(name)):
                __import__(name)
                return sys.modules[name]
            case ("definition", str(name)):
                return self._names[name]
            case _:
                raise pickle.UnpicklingError(f"an unknown reference {pid!r}")


def save(
    path: str,
    namespace: Namespace,
    definitions: Definitions,
    *,
    leave_out: Mapping[str, str] | None = None,
    single: bool = False,
) -> dict[str, Any]:
    """Write the file, whole or not at all. `leave_out`: names that are not to be saved, and why. `single`: a file for
    `probe` instead, each name pickled by itself. What a checkpoint frame tells: `digest`, `names`, `skipped` [{name,
    reason}], `namespace_size`, `function_count`, `class_count`, `checkpoint_size`. Raises `OSError`."""
    left_out = {} if leave_out is None else leave_out
    values = namespace.user_names()
    kept = {name: value for name, value in values.items() if name not in left_out}
    defined = definitions.of(kept)
    plain: dict[str, Any] = {}
    based: dict[str, Any] = {}
    skipped = [{"name": name, "reason": left_out[name]} for name in values if name in left_out]
    for name, value in kept.items():
        if name in defined:
            continue
        reason, used = _try(value, namespace.names, defined)
        if reason is not None:
            skipped.append({"name": name, "reason": reason})
        else:
            (based if used else plain)[name] = value
    if single:
        body = pickle.dumps(
            {name: _alone(value, namespace, defined) for name, value in (*plain.items(), *based.items())}
        )
    else:
        body = _together(namespace, defined, plain, based)
    sources = [{"name": name, "source": each.source} for name, each in defined.items()]
    head = json.dumps({"version": VERSION, "python": list(sys.version_info[:2]), "definitions": sources}).encode()
    content = LENGTH.pack(len(head)) + head + body
    with open(path + ".part", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)
    classes = sum(isinstance(each.value, type) for each in defined.values())
    return {
        "digest": hashlib.blake2b(content, digest_size=32).hexdigest(),
        "names": [*plain, *defined, *based],
        "skipped": skipped,
        "namespace_size": len(values),
        "function_count": len(defined) - classes,
        "class_count": classes,
        "checkpoint_size": len(content),
    }


def _together(namespace: Namespace, defined: Mapping[str, Definition], *parts: Mapping[str, Any]) -> bytes:
    body = io.BytesIO()
    pickler = _Pickler(body, namespace.names, defined)
    for part in parts:
        pickler.dump(part)
    return body.getvalue()


def _alone(value: object, namespace: Namespace, defined: Mapping[str, Definition]) -> bytes:
    body = io.BytesIO()
    _Pickler(body, namespace.names, defined).dump(value)
    return body.getvalue()


def _try(value: object, names: dict[str, Any], defined: Mapping[str, Definition]) -> tuple[str | None, bool]:
    """Why a value cannot be saved (None: it can), and whether it needs definitions."""
    pickler = _Pickler(_Nowhere(), names, defined)
    try:
        pickler.dump(value)
    except (Exception, RecursionError) as error:  # noqa: BLE001 (whatever the user's own reducers raise)
        return f"{type(value).__name__}: {error}"[:REASON_LIMIT], False
    return None, pickler.used_definitions


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def restore(
    path: str,
    namespace: Namespace,
    definitions: Definitions,
    *,
    strategy: str = OVERWRITE,
    clear_existing: bool = False,
) -> dict[str, Any]:
    """Merge a checkpoint: `names` that were set, `skipped` definitions with reasons. Raises `CannotRestore`."""
    head, body = _read(path)
    before = namespace.mark()
    if clear_existing:
        namespace.clear()
    names = namespace.names
    kept = dict(names)
    unpickler = _Unpickler(io.BytesIO(body), names)
    try:
        plain: dict[str, Any] = unpickler.load()
        names.update({name: value for name, value in plain.items() if name not in kept or strategy == OVERWRITE})
        made, skipped = _define(head["definitions"], names, definitions)
        values = {**plain, **made, **unpickler.load()}
    except BaseException as error:
        names.clear()
        names.update(before)
        raise CannotRestore(f"{type(error).__name__}: {error}") from error
    for name in [name for name in names if name not in kept]:
        del names[name]
    names.update(kept)
    return {"names": namespace.merge(values, strategy), "skipped": skipped, "namespace_size": len(names)}


def _read(path: str) -> tuple[dict[str, Any], bytes]:
    try:
        with open(path, "rb") as file:
            content = file.read()
        (length,) = LENGTH.unpack_from(content)
        head: dict[str, Any] = json.loads(content[LENGTH.size : LENGTH.size + length])
        version = head["version"]
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise CannotRestore(str(error)) from error
    if version != VERSION:
        raise CannotRestore(f"its format {version} is not known here")
    return head, content[LENGTH.size + length :]


def probe(path: str, namespace: Namespace, definitions: Definitions) -> list[dict[str, str]]:
    """Load each name of a file that was saved with `single`: those that do not load, {name, reason}. What needs
    another name is tried again after it. Raises `CannotRestore`."""
    head, body = _read(path)
    names = namespace.names
    left: dict[str, bytes] = pickle.loads(body)  # noqa: S301 (what this worker's user saved)
    failed: list[dict[str, str]] = []
    sources = head["definitions"]
    while True:
        count = len(left) + len(sources)
        failed = []
        for name, alone in tuple(left.items()):
            try:
                names[name] = _Unpickler(io.BytesIO(alone), names).load()
                del left[name]
            except BaseException as error:  # noqa: BLE001 (whatever the user's own constructors raise)
                failed.append({"name": name, "reason": f"{type(error).__name__}: {error}"[:REASON_LIMIT]})
        _, skipped = _define(sources, names, definitions)
        sources = [each for each in sources if any(each["name"] == other["name"] for other in skipped)]
        if len(left) + len(sources) == count or not (left or sources):
            return [*failed, *skipped]


def _define(
    sources: list[dict[str, str]], names: dict[str, Any], definitions: Definitions
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Run the definitions; one that needs a later one is tried again after it."""
    made: dict[str, Any] = {}
    left, failed = sources, dict[str, str]()
    while left:
        again: list[dict[str, str]] = []
        for each in left:
            name, source = each["name"], each["source"]
            try:
                made[name] = _run_definition(name, source, names, definitions)
            except Exception as error:  # noqa: BLE001 (whatever the user's own decorators raise)
                again.append(each)
                failed[name] = f"{type(error).__name__}: {error}"[:REASON_LIMIT]
        if len(again) == len(left):
            break
        left = again
    return made, [{"name": each["name"], "reason": failed[each["name"]]} for each in left]


def _run_definition(name: str, source: str, names: dict[str, Any], definitions: Definitions) -> Any:
    filename = f"{PREFIX}of {name}>"
    tree = ast.parse(source, filename)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(tree, filename, "exec", dont_inherit=True), names)
    definitions.note(source, tree, names)
    return names[name]
