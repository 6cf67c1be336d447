"""One turn of a session: what its runtime is given, and what its end is in the log."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from domain.sessions import commands as sc
from domain.sessions.messages import Message
from domain.sessions.state import Instruction, Session
from handlers.effects.ends import encodable, shortened
from handlers.execution_ports import Blobs, Written
from handlers.plans import Plans, StoredPlan
from handlers.session_ports import RuntimeSpec, SessionStorage, TurnError, TurnResult, TurnState

MESSAGE_CHARACTERS: Final = 16 * 1024
TYPE_CHARACTERS: Final = 200
SESSION_VARIABLE: Final = "AGENTTOWER_SESSION_ID"
"""By which a program knows the session that it runs for."""

NOT_STARTED: Final = TurnResult(state=TurnState.CANCELLED)


class Opening(msgspec.Struct, frozen=True):
    """What a session starts with: `before` stands before its own transcript, `said` is that transcript so far."""

    plan: StoredPlan
    before: tuple[Message, ...]
    said: tuple[Message, ...]


async def opening_of(session: Session, plans: Plans, blobs: Blobs, storage: SessionStorage) -> Opening:
    """Raises `OSError`."""
    plan = await plans.of(session.plan_digest)
    given: tuple[Message, ...] = ()
    if session.context_digest is not None:
        given = msgspec.json.decode(await content(blobs, session.context_digest), type=tuple[Message, ...])
    said: tuple[Message, ...] = ()
    if session.transcript_digest is not None:
        said = await storage.load(session.session_id, session.transcript_digest)
    return Opening(plan, (*plan.texts, *given), said)


def spec_of(session: Session, plan: StoredPlan) -> RuntimeSpec:
    return RuntimeSpec(
        session_id=session.session_id,
        kind=session.runtime,
        runtime=plan.runtime,
        permissions=plan.permissions,
        env={SESSION_VARIABLE: session.session_id},
    )


async def text_of(instruction: Instruction, blobs: Blobs) -> str:
    """Raises `OSError`."""
    return instruction.text if instruction.text is not None else (await content(blobs, instruction.digest)).decode()


async def content(blobs: Blobs, digest: str) -> bytes:
    data = await blobs.get(digest)
    if data is None:
        raise FileNotFoundError(f"the file {digest} is gone")
    return data


def said_in(text: str, result: TurnResult) -> tuple[Message, ...]:
    """What a turn adds to the transcript; nothing if it was never begun."""
    if result is NOT_STARTED:
        return ()
    answer: Sequence[Message] = result.messages
    if not answer and (result.output or result.state is TurnState.COMPLETED):
        answer = (Message(role="assistant", content=encodable(result.output)),)
    return (Message(role="user", content=text), *answer)


async def report(
    session_id: str, turn: int, result: TurnResult, blobs: Blobs, *, written: Written, took_s: float, digest: str | None
) -> sc.SessionRecordTurnEnded:
    """The command that tells its end. `digest`: of the transcript with it. Raises `OSError`."""
    output = encodable(result.output)
    data = output.encode()
    stored = None
    if len(data) > sc.OUTPUT_BYTES:
        stored = await blobs.put(data)
        output = both_ends(output, sc.OUTPUT_BYTES // 4)
    return sc.SessionRecordTurnEnded(
        session_id=session_id,
        turn=turn,
        state=result.state.value,
        error=None if result.error is None else failure(result.error.type, result.error.message),
        output=output,
        output_digest=stored,
        output_bytes=len(data) + result.left_out_bytes,
        transcript_digest=digest,
        exit_code=result.exit_code,
        execution_time=took_s,
        output_position=written.position,
        truncated_bytes=written.truncated_bytes or UNSET,
    )


def failed(type_: str, message: str, output: str = "") -> TurnResult:
    return TurnResult(state=TurnState.FAILED, output=output, error=TurnError(type=type_, message=message))


def failure(type_: str, message: str) -> sc.TurnFailure:
    return sc.TurnFailure(type=shortened(type_, TYPE_CHARACTERS), message=shortened(message, MESSAGE_CHARACTERS))


def both_ends(text: str, characters: int) -> str:
    """Beginning and end, at most `characters` in all (4 bytes each at most)."""
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]}\n…\n{text[-half:]}"
