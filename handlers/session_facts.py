"""What a decision about a session needs: its bundle, prepared and joined with what it inherits, and its long texts."""

import hashlib
import posixpath
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import structlog

from domain.background.reading import declared_in
from domain.bundles.inline import inline_plan
from domain.bundles.plan import Plan, agent_of
from domain.errors import Rejection
from domain.messages import Facts, SpawnFacts
from domain.sessions import commands as c
from domain.sessions.context import selected
from domain.sessions.decide import SELF, check, digest_of, invalid, needs_file
from domain.sessions.events import BundleRef
from domain.sessions.inheritance import inherited, of_agent
from domain.sessions.messages import Message
from domain.sessions.state import DEPTH_LIMIT, Session, exists
from domain.tower import Tower
from handlers.bundle_ports import BundleProblem, PreparedBundle
from handlers.execution_ports import Blobs
from handlers.plans import Plans, StoredPlan
from handlers.ports import Ids
from handlers.session_ports import SessionStorage

INLINE: Final = "inline:"
"""URI of a plan that came with its request."""

DEFAULT_RUNTIME: Final[Mapping[str, Any]] = {"kind": "echo"}
"""Of a bundle that names none."""

Wanted = c.SessionSpawn | c.SessionInstruct | c.SessionResume

_log = structlog.get_logger(__name__)


class Prepared(Protocol):
    """The bundles that serve."""

    async def find(self, reference: str) -> PreparedBundle | None:
        """By name or URI. Without waiting for more than a moment: None while it is being prepared. Raises
        `BundleProblem`."""
        ...


class Source(NamedTuple):
    """What a session is made from, before it inherits anything."""

    bundle: BundleRef
    plan: dict[str, Any]
    texts: tuple[Message, ...]
    warnings: tuple[str, ...] = ()
    folder: str = ""


class SessionFacts:
    """`state` gives the state as the writer has it now. Raises `OSError` when the disk fails it."""

    def __init__(
        self,
        *,
        bundles: Prepared,
        blobs: Blobs,
        plans: Plans,
        storage: SessionStorage,
        ids: Ids,
        state: Callable[[], Tower],
        runtime: Mapping[str, Any] = DEFAULT_RUNTIME,
        depth_limit: int = DEPTH_LIMIT,
    ) -> None:
        self._bundles = bundles
        self._blobs = blobs
        self._plans = plans
        self._storage = storage
        self._ids = ids
        self._state = state
        self._runtime = dict(runtime)
        self._depth_limit = depth_limit

    async def of(self, request: Wanted, plain: Facts) -> Facts:
        """`plain` with what this request needs."""
        text = request.instruction
        digest = None
        if text is not None and _encodable(text) and needs_file(text):
            await self._blobs.put(text.encode())
            digest = digest_of(text)
        if not isinstance(request, c.SessionSpawn):
            return msgspec.structs.replace(plain, text_digest=digest)
        spawn = await self._prepared(request)
        return msgspec.structs.replace(plain, ids=(self._ids.uuid4(),), text_digest=digest, spawn=spawn)

    async def _prepared(self, request: c.SessionSpawn) -> SpawnFacts | None:
        sessions = self._state().sessions
        parent = sessions.known.get(request.parent_session_id or "")
        try:
            check(request)
            if request.session_id is not None and exists(request.session_id, sessions):
                # A repeat, or an id that is taken: nothing is made from the bundle.
                return SpawnFacts()
            if request.parent_session_id is not None and parent is None:
                return None
            source = await self._source(request, parent)
            if source is None:
                return None
            return await self._made(request, source, parent)
        except BundleProblem as problem:
            return SpawnFacts(refusal=(problem.code, problem.message, dict(problem.details)))
        except Rejection as refusal:
            return SpawnFacts(refusal=(refusal.code, refusal.message, dict(refusal.details)))

    async def _source(self, request: c.SessionSpawn, parent: Session | None) -> Source | None:
        match request.bundle:
            case str(reference):
                found = await self._bundles.find(reference)
                return None if found is None else of_bundle(found)
            case dict(given):
                return of_inline(given)
            case _:
                assert parent is not None
                assert request.agent is not None
                return of_parent(request.agent, parent, await self._plans.of(parent.plan_digest))

    async def _made(self, request: c.SessionSpawn, source: Source, parent: Session | None) -> SpawnFacts:
        plan = source.plan
        if parent is not None:
            above = await self._plans.of(parent.plan_digest)
            plan = inherited(
                plan,
                above.plan,
                providers=request.inherit_providers,
                tools=request.inherit_tools,
                hooks=request.inherit_hooks,
            )
        runtime = plan.get("runtime") or self._runtime
        context = () if parent is None else await self._context(request, parent)
        stored = StoredPlan(plan={**plan, "runtime": runtime}, texts=source.texts)
        return SpawnFacts(
            bundle_uri=source.bundle.uri,
            bundle_name=source.bundle.name,
            bundle_version=source.bundle.version,
            bundle_digest=source.bundle.digest,
            plan_digest=await self._plans.keep(stored),
            runtime=str(runtime.get("kind") or "echo"),
            context_digest=await self._blobs.put(msgspec.json.encode(context)) if context else None,
            context_messages=len(context),
            warnings=source.warnings,
            depth_limit=self._depth_limit,
            # An agent is part of a bundle that was spawned before, with what that declares.
            background_sessions=() if request.agent is not None else declared_in(source.plan),
            background_folder=source.folder,
        )

    async def _context(self, request: c.SessionSpawn, parent: Session) -> tuple[Message, ...]:
        if request.context_depth == "none" or parent.transcript_digest is None:
            return ()
        said = await self._storage.load(parent.session_id, parent.transcript_digest)
        return selected(said, depth=request.context_depth, scope=request.context_scope, turns=request.context_turns)


def of_bundle(found: PreparedBundle) -> Source:
    bundle = BundleRef(uri=found.uri, name=found.name, version=found.version, digest=found.digest)
    given = [Message(role="system", name=text.name, content=text.text) for text in found.context]
    return Source(
        bundle, plain(found.plan), (*instructions(found.instruction), *given), found.warnings, folder_of(found)
    )


def folder_of(found: PreparedBundle) -> str:
    """Where its own file stands; "" where that is not known."""
    own = [each for each in found.files if each == found.uri or posixpath.dirname(each) == found.uri]
    return posixpath.dirname((own or found.files or ("",))[0])


def of_inline(given: Mapping[str, Any]) -> Source:
    """Raises `bundle_invalid`."""
    plan = inline_plan(given)
    digest = hashlib.blake2b(msgspec.json.encode(given, order="deterministic"), digest_size=32).hexdigest()
    bundle = BundleRef(uri=INLINE, name=plan.name, version=plan.version, digest=digest)
    return Source(bundle, plain(plan), instructions(plan.instruction))


def of_parent(agent: str, parent: Session, above: StoredPlan) -> Source:
    """The parent's own plan, or an agent's of its bundle."""
    if agent == SELF:
        return Source(parent.bundle, above.plan, above.texts)
    plan = msgspec.convert({"name": parent.bundle.name, **above.plan}, Plan)
    found = agent_of(plan, agent)
    if found is None:
        known = ", ".join(sorted(plan.agents)) or "none"
        raise invalid("agent", f"{parent.bundle.name} has no agent {agent}; it has {known}")
    return Source(parent.bundle, of_agent(found, above.plan), instructions(str(found.get("instruction") or "")))


def plain(plan: Plan) -> dict[str, Any]:
    """As JSON gives it back."""
    return msgspec.json.decode(msgspec.json.encode(plan))


def instructions(text: str) -> tuple[Message, ...]:
    return (Message(role="system", content=text),) if text else ()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
