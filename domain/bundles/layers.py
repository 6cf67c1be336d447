"""One bundle's own content before it is composed, and the composition of two of them: the later wins.

Composition is associative, but for a value whose type changes on the way (a map, then a number, then a map again).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.bundles.merging import Replace, deep_merge, keyed, merge_module_lists, merged, plain
from domain.bundles.plan import Plan

DEFAULT_VERSION: Final = "1.0.0"

Section = Mapping[str, Any] | Replace
Modules = list[Any] | Replace


class Reference(msgspec.Struct, frozen=True):
    """Something named in a bundle, to be found from where that bundle stands: `folder` is absolute, "" for none."""

    text: str
    folder: str = ""


class Agent(msgspec.Struct, frozen=True):
    """An agent as a bundle names it. `inline` wins over its file; `required`: there must be a file."""

    reference: Reference
    inline: Mapping[str, Any] = {}
    required: bool = True


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is None only where none was given over another's (an overlay). `folder`: where the instruction's
    mentions begin."""

    name: str = ""
    version: str | None = DEFAULT_VERSION
    description: str = ""
    instruction: str = ""
    folder: str = ""
    session: Section = {}
    spawn: Section = {}
    runtime: Section = {}
    permissions: Section = {}
    providers: Modules = []
    tools: Modules = []
    hooks: Modules = []
    agents: Mapping[str, Agent] = {}
    context: Mapping[str, Reference] = {}
    background_sessions: Modules = []
    extra: Mapping[str, Any] = {}


def compose(base: Layer, later: Layer) -> Layer:
    """Both in one; `later` wins wherever they differ."""
    return Layer(
        name=later.name or base.name,
        version=later.version or base.version,
        description=later.description or base.description,
        instruction=later.instruction or base.instruction,
        folder=later.folder if later.instruction else base.folder,
        session=merged(base.session, later.session),
        spawn=merged(base.spawn, later.spawn),
        runtime=_runtime(base.runtime, later.runtime),
        permissions=merged(base.permissions, later.permissions),
        providers=_modules(base.providers, later.providers),
        tools=_modules(base.tools, later.tools),
        hooks=_modules(base.hooks, later.hooks),
        agents={**base.agents, **later.agents},
        context={**_prefixed(base), **_prefixed(later)},
        background_sessions=_named(base.background_sessions, later.background_sessions),
        extra=deep_merge(base.extra, later.extra),
    )


def plan_of(layer: Layer, *, agents: Mapping[str, Mapping[str, Any]] = {}, context: Mapping[str, str] = {}) -> Plan:
    """What a session gets. `agents` and `context`: what was found where the layer's names lead."""
    return Plan(
        name=layer.name,
        version=layer.version or DEFAULT_VERSION,
        description=layer.description,
        instruction=layer.instruction,
        session=plain(layer.session),
        spawn=plain(layer.spawn),
        runtime=plain(layer.runtime),
        permissions=plain(layer.permissions),
        providers=_entries(layer.providers),
        tools=_entries(layer.tools),
        hooks=_entries(layer.hooks),
        agents=plain(agents),
        context=dict(context),
        background_sessions=tuple(plain(list(_by_name(_bare(layer.background_sessions)).values()))),
        extra=plain(layer.extra),
    )


def context_of(layer: Layer) -> Mapping[str, Reference]:
    """Its context by full names."""
    return _prefixed(layer)


def _prefixed(layer: Layer) -> dict[str, Reference]:
    """A key without a namespace belongs to the bundle that wrote it."""
    if not layer.name:
        return dict(layer.context)
    return {key if ":" in key else f"{layer.name}:{key}": value for key, value in layer.context.items()}


def _modules(base: Modules, later: Modules) -> Modules:
    if isinstance(later, Replace):
        return later
    if isinstance(base, Replace):
        return Replace(merge_module_lists(base.value, later))
    return merge_module_lists(base, later)


def _runtime(base: Section, later: Section) -> Section:
    """One that names its kind stands alone; without a kind, single keys are replaced: an argv is no list to be joined.

    That the same kind would refine too cannot be had: with three layers it would matter which two are joined first.
    """
    if isinstance(later, Replace):
        return later
    if isinstance(base, Replace):
        return Replace(_runtime(base.value, later))
    return dict(later) if "kind" in later else {**base, **later}


def _named(base: Modules, later: Modules) -> Modules:
    """Background sessions: the later of the same name replaces the whole, at the place of the first."""
    if isinstance(later, Replace):
        return later
    if isinstance(base, Replace):
        return Replace(_named(base.value, later))
    return list({**_by_name(base), **_by_name(later)}.values())


def _by_name(entries: list[Any]) -> dict[str, Any]:
    return {plain(entry)["name"]: entry for entry in entries}


def _entries(modules: Modules) -> tuple[dict[str, Any], ...]:
    return tuple(plain(each) for each in keyed(_bare(modules)).values())


def _bare(modules: Modules) -> list[Any]:
    return modules.value if isinstance(modules, Replace) else modules
