"""What may stand where in a bundle. `faults` says what is wrong, `layer_of` reads what is right.

Both take a bundle as YAML gives it: maps, lists, texts, numbers, and `Replace` where a file says so.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from domain.bundles.layers import DEFAULT_VERSION, Agent, Layer, Reference
from domain.bundles.merging import Replace

RUNTIMES: Final = ("command", "python", "pane", "echo")
MODULE_LISTS: Final = ("providers", "tools", "hooks")
KNOWN: Final = (
    "bundle",
    "includes",
    "session",
    *MODULE_LISTS,
    "agents",
    "context",
    "spawn",
    "runtime",
    "permissions",
    "background_sessions",
    "instruction",
    "lenient",
)
_OF_BUNDLE: Final = frozenset({"name", "version", "description"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_NAME_TEXT: Final = "a name: 1 to 128 characters of A-Z a-z 0-9 _ . -"
_A_MAP: Final = "a map"

Path = tuple[str | int, ...]
Check = Callable[[Any, Path], Iterator["ShapeFault"]]


class ShapeFault(NamedTuple):
    """`expected` says of what kind the thing at `path` has to be; `found` what it is."""

    path: Path
    expected: str
    found: str

    @property
    def field(self) -> str:
        """`tools[0].config`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def faults(given: Any, *, top: bool) -> list[ShapeFault]:
    """Everything that is wrong. `top`: the bundle itself, which needs a name, none that it includes."""
    if not isinstance(given, Mapping):
        return [ShapeFault((), "a map of sections, such as `bundle:` and `tools:`", kind_of(given))]
    found: list[ShapeFault] = []
    sections = cast(Mapping[str, Any], given)
    for key, check in _SECTIONS.items():
        value = _bare(sections.get(key))
        if value is not None:
            found += check(value, (key,))
    head = _bare(sections.get("bundle"))
    named = isinstance(head, Mapping) and cast(Mapping[str, Any], head).get("name") is not None
    if top and not named and not any(fault.path == ("bundle",) for fault in found):
        found.append(ShapeFault(("bundle", "name"), _NAME_TEXT, "nothing"))
    return found


def unknown(given: Mapping[str, Any]) -> list[Path]:
    """Keys that mean nothing here; they are kept."""
    head = _map(given.get("bundle"))
    found: list[Path] = [(key,) for key in given if key not in KNOWN]
    return [*found, *(("bundle", key) for key in head if key not in _OF_BUNDLE)]


def layer_of(given: Mapping[str, Any], *, folder: str = "", body: str = "", overlay: bool = False) -> Layer:
    """The layer of a bundle without faults, whose names lead from `folder`. `body`: what stands below its front
    matter. An overlay has the name and version of what it is laid over."""
    head = _map(given.get("bundle"))
    version = head.get("version")
    default = None if overlay else DEFAULT_VERSION
    extra = {key: value for key, value in given.items() if key not in KNOWN}
    if further := {key: value for key, value in head.items() if key not in _OF_BUNDLE}:
        extra["bundle"] = further
    sections: dict[str, Any] = {key: given.get(key) or {} for key in ("session", "spawn", "runtime", "permissions")}
    lists: dict[str, Any] = {key: given.get(key) or [] for key in (*MODULE_LISTS, "background_sessions")}
    return Layer(
        name="" if overlay else head.get("name") or "",
        version=default if version is None else str(version),
        description=head.get("description") or "",
        instruction=body or (given.get("instruction") or "").strip(),
        folder=folder,
        agents=_agents(_map(given.get("agents")), folder),
        context=_context(_map(given.get("context")), folder),
        extra=extra,
        **sections,
        **lists,
    )


def includes_of(given: Mapping[str, Any]) -> list[str]:
    """The URIs that a bundle without faults includes, in order."""
    entries: list[Any] = _bare(given.get("includes")) or []
    return [_bare(entry) if isinstance(_bare(entry), str) else _bare(entry)["bundle"] for entry in entries]


def kind_of(value: Any) -> str:
    """In words, without the value: it may be a secret."""
    match _bare(value):
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return _A_MAP
        case _:
            return "a list"


def _agents(given: Mapping[str, Any], folder: str) -> dict[str, Agent]:
    """Inline ones win over those that are included by the same name."""
    included: list[str] = _bare(given.get("include")) or []
    found = {name: Agent(Reference(name, folder)) for name in included}
    for name, inline in given.items():
        if name != "include":
            found[name] = Agent(Reference(name, folder), _map(inline), required=False)
    return found


def _context(given: Mapping[str, Any], folder: str) -> dict[str, Reference]:
    included: list[str] = _bare(given.get("include")) or []
    found = {text: Reference(text, folder) for text in included}
    for name, text in given.items():
        if name != "include":
            found[name] = Reference(text, folder)
    return found


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Replace) else value


def _map(value: Any) -> Mapping[str, Any]:
    found = _bare(value)
    return cast(Mapping[str, Any], found) if isinstance(found, Mapping) else {}


# --- checks --------------------------------------------------------------------------------------------------------


def _is(kind: type | tuple[type, ...], expected: str) -> Check:
    def check(value: Any, path: Path) -> Iterator[ShapeFault]:
        given = _bare(value)
        wrong_bool = isinstance(given, bool) and kind is not bool
        if wrong_bool or not isinstance(given, kind):
            yield ShapeFault(path, expected, kind_of(given))

    return check


_text: Final = _is(str, "a text")
_map_check: Final = _is(Mapping, _A_MAP)


def _list_of(check: Check, expected: str) -> Check:
    def checked(value: Any, path: Path) -> Iterator[ShapeFault]:
        given = _bare(value)
        if not isinstance(given, list):
            yield ShapeFault(path, expected, kind_of(given))
            return
        for place, item in enumerate(cast(list[Any], given)):
            yield from check(item, (*path, place))

    return checked


def _fields(expected: str, required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """A map; of its fields those that are known are looked at."""

    def checked(value: Any, path: Path) -> Iterator[ShapeFault]:
        given = _bare(value)
        if not isinstance(given, Mapping):
            yield ShapeFault(path, expected, kind_of(given))
            return
        fields = cast(Mapping[str, Any], given)
        for key, check in {**required, **optional}.items():
            if _bare(fields.get(key)) is not None:
                yield from check(fields[key], (*path, key))
            elif key in required:
                yield ShapeFault((*path, key), _said(check), "nothing")

    return checked


def _said(check: Check) -> str:
    """What the check expects, by its own word."""
    return next(check(object(), ())).expected


def _named(value: Any, path: Path) -> Iterator[ShapeFault]:
    given = _bare(value)
    if not isinstance(given, str) or _NAME.match(given) is None:
        yield ShapeFault(path, _NAME_TEXT, kind_of(given) if not isinstance(given, str) else "another text")


def _filled(value: Any, path: Path) -> Iterator[ShapeFault]:
    given = _bare(value)
    if not isinstance(given, str) or not given:
        yield ShapeFault(path, "a text that is not empty", kind_of(given))


def _include(value: Any, path: Path) -> Iterator[ShapeFault]:
    expected = "a URI, or a map `{bundle: URI}`"
    if isinstance(_bare(value), str):
        yield from _filled(value, path)
    else:
        yield from _fields(expected, {"bundle": _filled}, {})(value, path)


def _inline(named: Check, listed: str) -> Check:
    """A map of named things, beside which `include` lists others."""

    def checked(value: Any, path: Path) -> Iterator[ShapeFault]:
        given = _bare(value)
        if not isinstance(given, Mapping):
            yield ShapeFault(path, f"a map: `include` with a list of {listed}, or names", kind_of(given))
            return
        for key, each in cast(Mapping[str, Any], given).items():
            if key == "include":
                if _bare(each) is not None:
                    yield from _list_of(_filled, f"a list of {listed}")(each, (*path, key))
            elif _bare(each) is not None or named is _filled:
                yield from named(each, (*path, key))

    return checked


def _runtime_kind(value: Any, path: Path) -> Iterator[ShapeFault]:
    if _bare(value) not in RUNTIMES:
        found = "another text" if isinstance(_bare(value), str) else kind_of(value)
        yield ShapeFault(path, f"one of {', '.join(RUNTIMES)}", found)


def _module_or_text(value: Any, path: Path) -> Iterator[ShapeFault]:
    """`session.orchestrator` and `session.context`: a module, or only its name."""
    if not isinstance(_bare(value), str):
        yield from _fields("a map with `module`", {}, {"module": _filled, "config": _map_check})(value, path)


def _may_spawn(value: Any, path: Path) -> Iterator[ShapeFault]:
    if not isinstance(_bare(value), bool):
        yield from _list_of(_text, "true, false, or a list of bundles and agents")(value, path)


_MODULE: Final = _fields(
    "a map with `module`", {"module": _filled}, {"id": _filled, "source": _text, "config": _map_check}
)
_AGENT: Final = _fields("a map that says what the agent is", {}, {})
_TEXTS: Final = _list_of(_text, "a list of texts")

_SECTIONS: Final[Mapping[str, Check]] = {
    "bundle": _fields(
        "a map with `name`",
        {},
        {"name": _named, "version": _is((str, int, float), "a text such as 1.2.0"), "description": _text},
    ),
    "includes": _list_of(_include, "a list of URIs"),
    "session": _fields(_A_MAP, {}, {"orchestrator": _module_or_text, "context": _module_or_text}),
    **{key: _list_of(_MODULE, "a list of maps with `module`") for key in MODULE_LISTS},
    "agents": _inline(_AGENT, "names"),
    "context": _inline(_filled, "paths"),
    "spawn": _fields(_A_MAP, {}, {"exclude_tools": _TEXTS}),
    "runtime": _fields("a map with `kind`", {}, {"kind": _runtime_kind, "argv": _TEXTS}),
    "permissions": _fields(
        _A_MAP,
        {},
        {
            "files": _fields(_A_MAP, {}, {"read": _TEXTS, "write": _TEXTS}),
            "commands": _TEXTS,
            "hosts": _TEXTS,
            "input": _is(bool, "true or false"),
            "emit": _is(bool, "true or false"),
            "spawn": _may_spawn,
        },
    ),
    "background_sessions": _list_of(_fields("a map with `name`", {"name": _filled}, {}), "a list of maps with `name`"),
    "instruction": _text,
    "lenient": _is(bool, "true or false"),
}

_AGENT_FILE: Final = _fields(
    _A_MAP,
    {},
    {
        "meta": _fields(_A_MAP, {}, {"name": _filled, "description": _text}),
        **{key: _list_of(_MODULE, "a list of maps with `module`") for key in MODULE_LISTS},
        "session": _map_check,
        "provider_preferences": _is(list, "a list"),
    },
)


def agent_faults(given: Any) -> list[ShapeFault]:
    """What is wrong with the front matter of an agent's file."""
    return list(_AGENT_FILE(given, ()))
