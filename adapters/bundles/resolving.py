"""What a composed bundle names besides modules: context, agents, and the files that its texts mention. Blocking."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.bundles.finding import Finder, Place, Start
from adapters.bundles.inputs import Inputs
from adapters.bundles.loading import LEFT_OUT, with_sources
from adapters.bundles.mentions import MAX_DEPTH, means_a_file, mentions
from adapters.bundles.problems import invalid
from adapters.bundles.reading import front_matter
from domain.bundles.layers import Agent, Layer, Reference, context_of
from domain.bundles.merging import plain
from domain.bundles.shapes import agent_faults
from handlers.bundle_ports import BundleProblem, ContextText

OF_AGENT_FILES: Final = ("tools", "providers", "hooks", "session", "model_role", "provider_preferences")


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """`paths`: context name -> absolute path."""

    agents: Mapping[str, Mapping[str, Any]]
    context: tuple[ContextText, ...]
    paths: Mapping[str, str]


class Resolver:
    """Of one preparation, once. `warnings` grows."""

    def __init__(self, *, inputs: Inputs, finder: Finder, lenient: bool, warnings: list[str]) -> None:
        self._inputs = inputs
        self._finder = finder
        self._lenient = lenient
        self._warnings = warnings
        self._texts: dict[str, ContextText] = {}
        self._digests: set[str] = set()
        self._paths: dict[str, str] = {}
        self._top = Start(Path())

    def resolve(self, layer: Layer) -> Resolved:
        """Raises `BundleProblem`."""
        self._top = self._finder.start(layer.folder, "the instruction")
        agents = {name: self._agent(name, agent) for name, agent in layer.agents.items()}
        declared: list[tuple[str, Place]] = []
        for name, reference in context_of(layer).items():
            place = self._found(name, reference, f"the context {name}")
            if place is not None:
                self._add(name, self._inputs.text(place.file), place)
                declared.append((self._texts[name].text, place))
        if layer.instruction:
            self._mentioned(layer.instruction, self._top, 1)
        for text, place in declared:
            self._mentioned(text, Start(place.folder, place.fetched, str(place.file)), 1)
        return Resolved(
            agents={name: agent for name, agent in agents.items() if agent is not None},
            context=tuple(self._texts.values()),
            paths=self._paths,
        )

    def _agent(self, name: str, agent: Agent) -> dict[str, Any] | None:
        """Its file, overridden by what stands inline; None for one that is left out."""
        if agent.required:
            place = self._found(name, agent.reference, f"the agent {name}", agent=True)
            return None if place is None else self._agent_file(name, place)
        try:
            place = self._finder.agent(agent.reference.text, self._finder.start(agent.reference.folder, name))
        except BundleProblem:
            return plain(agent.inline)
        return {**self._agent_file(name, place), **plain(agent.inline)}

    def _agent_file(self, name: str, place: Place) -> dict[str, Any]:
        head = front_matter(place.file, self._inputs.text(place.file))
        given = head.document.value
        for fault in agent_faults(given):
            line = head.document.line(fault.path) + head.offset
            raise invalid(place.file, line, fault.field, fault.expected, fault.found)
        meta = plain(given.get("meta") or {})
        kept = {key: plain(given[key]) for key in OF_AGENT_FILES if given.get(key) is not None}
        made = {"name": name.rpartition(":")[2], **meta, **with_sources(kept, str(place.folder))}
        return {**made, "instruction": head.body} if head.body else made

    def _found(self, name: str, reference: Reference, what: str, *, agent: bool = False) -> Place | None:
        start = self._finder.start(reference.folder, f"{reference.folder}: {what}")
        try:
            find = self._finder.agent if agent else self._finder.text
            return find(reference.text, start)
        except BundleProblem as problem:
            if not self._lenient or problem.code not in LEFT_OUT:
                raise
            self._warn(f"{what} is left out: {problem.message}")
            return None

    def _add(self, name: str, text: str, place: Place) -> None:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
        self._texts[name] = ContextText(name=name, text=text, digest=digest)
        self._digests.add(digest)
        self._paths[name] = str(place.file)

    def _mentioned(self, text: str, start: Start, depth: int) -> None:
        """Take in the files that a text mentions, and those that they mention, each content once."""
        for name in mentions(text):
            place = self._mention(name, start)
            if place is None:
                continue
            found = self._inputs.text(place.file)
            digest = hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
            if digest in self._digests:
                continue
            self._add(name if name not in self._texts else str(place.file), found, place)
            if depth < MAX_DEPTH:
                self._mentioned(found, Start(place.folder, place.fetched, str(place.file)), depth + 1)

    def _mention(self, name: str, start: Start) -> Place | None:
        """From where it stands, else from where the instruction stands."""
        missed: list[BundleProblem] = []
        for begin in dict.fromkeys((start, self._top)):
            try:
                return self._finder.text(name, begin)
            except BundleProblem as problem:
                missed.append(problem)
        if means_a_file(name):
            self._warn(f"the mention @{name} leads nowhere: {missed[0].message}")
        return None

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
