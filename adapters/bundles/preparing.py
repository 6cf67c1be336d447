"""The `Bundles` port over files of this machine and git."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from adapters.bundles.finding import Finder, Place, Start, bundle_candidates
from adapters.bundles.git_cache import GitCache
from adapters.bundles.inputs import Inputs
from adapters.bundles.loading import Loader
from adapters.bundles.overlays import overlay_file
from adapters.bundles.problems import not_found
from adapters.bundles.resolving import Resolver
from adapters.bundles.threads import in_own_thread
from adapters.bundles.uris import NameUri, absolute, parsed
from domain.background.reading import declared_in, definitions
from domain.bundles.layers import compose, plan_of
from domain.bundles.plan import Plan
from domain.errors import Rejection
from handlers.bundle_ports import BundleProblem, PreparedBundle
from handlers.ports import Clock


class BundleFiles:
    """`home`: where fetched repositories and overlays are kept. `prefixes`: beginnings of URIs and the local folders
    that stand for them. `configured`: URIs of bundles that others may include by name; `folder`, from which their
    relative paths lead, None for the working directory."""

    def __init__(
        self,
        home: Path,
        clock: Clock,
        *,
        prefixes: Mapping[str, str] | None = None,
        configured: Sequence[str] = (),
        folder: str | None = None,
    ) -> None:
        self._home = home
        self._clock = clock
        self._git = GitCache(home / "bundles" / "git")
        self._prefixes = dict(prefixes or {})
        self._folder = folder
        self._start = Start(Path(folder) if folder else Path.cwd())
        self._configured = tuple(self.absolute(uri) for uri in configured)

    def absolute(self, uri: str) -> str:
        return absolute(uri, self._folder)

    async def prepare(
        self, uri: str, *, overlay: Sequence[str] | None = None, lenient: bool = False, fresh: bool = True
    ) -> PreparedBundle:
        work = partial(self.prepare_now, uri, overlay=overlay, lenient=lenient, fresh=fresh)
        return await in_own_thread(work, "bundle")

    def prepare_now(
        self, uri: str, *, overlay: Sequence[str] | None = None, lenient: bool = False, fresh: bool = True
    ) -> PreparedBundle:
        """As `prepare`, blocking."""
        begun = self._clock.monotonic()
        inputs = Inputs()
        try:
            made = self._prepared(uri, inputs, begun, overlay=overlay, lenient=lenient, fresh=fresh)
        except BundleProblem as problem:
            raise BundleProblem(
                problem.code,
                problem.message,
                problem.details,
                faults=problem.faults,
                files=(*inputs.files, *inputs.looked_for),
            ) from None
        return msgspec.structs.replace(made, prepare_s=self._clock.monotonic() - begun)

    def _prepared(
        self, uri: str, inputs: Inputs, begun: float, *, overlay: Sequence[str] | None, lenient: bool, fresh: bool
    ) -> PreparedBundle:
        names = _once(lambda: self._names(inputs, fresh=fresh))
        finder = self._finder(inputs, fresh=fresh, names=names)
        loader = Loader(inputs=inputs, finder=finder, lenient=lenient)
        uri = self._known_as(uri, names, inputs)
        layer = loader.load(finder.bundle(uri, self._start))
        over = overlay_file(self._home, layer.name)
        if inputs.exists(over) or overlay is not None:
            composed = compose(layer, loader.overlay(Place(over), overlay))
            # What it includes has a name and version of its own, which say nothing of the bundle.
            layer = msgspec.structs.replace(composed, name=layer.name, version=layer.version)
        load_s = self._clock.monotonic() - begun
        found = Resolver(inputs=inputs, finder=finder, lenient=loader.lenient, warnings=loader.warnings).resolve(layer)
        plan = plan_of(layer, agents=found.agents, context=found.paths)
        return PreparedBundle(
            uri=uri,
            name=plan.name,
            version=plan.version,
            description=plan.description,
            digest=inputs.digest(_encoded(plan), *(text.digest.encode() for text in found.context)),
            plan=plan,
            instruction=plan.instruction,
            context=found.context,
            warnings=(*finder.warnings, *loader.warnings, *_undeclarable(plan)),
            files=inputs.files,
            looked_for=inputs.looked_for,
            load_s=load_s,
        )

    def _known_as(self, uri: str, names: Callable[[], Mapping[str, str]], inputs: Inputs) -> str:
        """A name is that of a configured bundle, or of a file in the folder from which paths lead."""
        known = self.absolute(uri)
        if not isinstance(parsed(known), NameUri):
            return known
        if (configured := names().get(known)) is not None:
            return configured
        candidates = bundle_candidates(self._start.folder / known)
        if inputs.first(candidates) is None:
            raise not_found(known, [f"no bundle named {known} is known", *map(str, candidates)])
        return str(self._start.folder / known)

    def _finder(self, inputs: Inputs, *, fresh: bool, names: Callable[[], Mapping[str, str]]) -> Finder:
        return Finder(inputs=inputs, git=self._git, prefixes=self._prefixes, names=names, fresh=fresh)

    def _names(self, inputs: Inputs, *, fresh: bool) -> Mapping[str, str]:
        """The names of the configured bundles that can be read."""
        found: dict[str, str] = {}
        for uri in self._configured:
            other = Inputs()
            finder = self._finder(other, fresh=fresh, names=dict)
            try:
                place = finder.bundle(uri, self._start)
                name = Loader(inputs=other, finder=finder, lenient=True).name_of(place)
            except BundleProblem:
                continue
            if name:
                found.setdefault(name, uri)
                inputs.exists(place.file)
        return found


def _undeclarable(plan: Plan) -> tuple[str, ...]:
    """Real bundles may declare what another orchestrator understands: they load, and no session is spawned of them."""
    try:
        definitions(declared_in(msgspec.structs.asdict(plan)))
    except Rejection as wrong:
        return (f"{wrong.message}; until that is mended, no session can be spawned from this bundle",)
    return ()


def _once(make: Callable[[], Mapping[str, str]]) -> Callable[[], Mapping[str, str]]:
    made: list[Mapping[str, str]] = []

    def get() -> Mapping[str, str]:
        if not made:
            made.append(make())
        return made[0]

    return get


def _encoded(plan: Plan) -> bytes:
    """Without where the context stands: its content counts."""
    return msgspec.json.encode(msgspec.structs.replace(plan, context=dict.fromkeys(plan.context, "")), order="sorted")
