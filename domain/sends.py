"""Text sent to panes: asked for, begun, ended.

`pane.send` -> `pane.send_requested`; an effect types it: `pane.send_begun` before its first key, `pane.text_sent` or
`pane.send_failed` at the end. The text itself is in no event: it is a private file, named by its digest. What was begun
and has no end when a tower starts has failed: no key is typed twice.
"""

from typing import Annotated, Final, Literal

import msgspec
from immutables import Map
from msgspec import Meta

from domain.agents.state import Agents
from domain.errors import Rejection
from domain.layouts.commands import Id
from domain.layouts.events import PaneEvent, PaneState, Stage
from domain.layouts.guards import known_pane
from domain.layouts.state import Layouts, Pane
from domain.messages import Event, Facts, Request

MAX_TEXT_BYTES: Final = 64 * 1024
"""Of one text in UTF-8."""

MAX_OPEN_OF_PANE: Final = 64
MAX_OPEN: Final = 1_000
"""Texts that wait at most, for one pane and on the whole node; one more is `tower_busy`."""

# --- what is asked -------------------------------------------------------------------------------------------------


class PaneSend(Request, frozen=True):
    """Type `text` into a pane as one paste, then, with `enter`, the Enter key. 1 byte to 64 KiB of UTF-8, no NUL."""

    pane_id: Id
    text: Annotated[str, Meta(max_length=MAX_TEXT_BYTES, pattern=r"^[^\u0000]*$")]
    enter: bool = True


SendFailure = Literal["interrupted", "pane_gone", "process_ended", "text_lost", "refused", "unreachable"]
"""Why a text was not sent, or nobody knows whether it was.

`interrupted`: the tower ended after the first key may have been typed. `pane_gone`, `process_ended`: there was nobody
to type for. `text_lost`: its file is gone. `refused`: tmux did not take it. `unreachable`: tmux gave no answer; the
text may have arrived.
"""


class PaneRecordSendBegun(Request, frozen=True):
    pane_id: str
    send_id: str


class PaneRecordTextSent(Request, frozen=True):
    """`seen`: the pane's cursor line changed within 300 ms of the paste."""

    pane_id: str
    send_id: str
    seen: bool


class PaneRecordSendFailed(Request, frozen=True):
    pane_id: str
    send_id: str
    reason: SendFailure


SendReport = PaneRecordSendBegun | PaneRecordTextSent | PaneRecordSendFailed

# --- what happened -------------------------------------------------------------------------------------------------


class SendEvent(PaneEvent, frozen=True, kw_only=True):
    """What all events of a sending carry."""

    send_id: str


class PaneSendRequested(SendEvent, frozen=True, kw_only=True):
    """`digest` is keyed: without the tower's own key it tells nothing of the text. `bytes`: its length in UTF-8."""

    digest: str
    bytes_: int
    enter: bool


class PaneSendBegun(SendEvent, frozen=True, kw_only=True):
    """From here on the text may have been typed."""


class PaneTextSent(SendEvent, frozen=True, kw_only=True):
    seen: bool


class PaneSendFailed(SendEvent, frozen=True, kw_only=True):
    reason: str


# --- state ---------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A text that is not typed yet. `number` counts the node's sends, so it gives the order of acceptance."""

    send_id: str
    pane_id: str
    digest: str
    enter: bool
    number: int
    begun: bool = False


class Sends(msgspec.Struct, frozen=True, kw_only=True):
    """`open`: what has no end yet, by id. `accepted`: how many there were in all."""

    open: Map[str, Send] = Map()
    accepted: int = 0

    def in_order(self) -> tuple[Send, ...]:
        return tuple(sorted(self.open.values(), key=lambda send: send.number))


def evolve(state: Sends, event: Event) -> Sends:
    match event:
        case PaneSendRequested() if event.send_id not in state.open:
            send = Send(
                send_id=event.send_id,
                pane_id=event.pane_id,
                digest=event.digest,
                enter=event.enter,
                number=state.accepted,
            )
            return Sends(open=state.open.set(event.send_id, send), accepted=state.accepted + 1)
        case PaneSendBegun() if event.send_id in state.open:
            begun = msgspec.structs.replace(state.open[event.send_id], begun=True)
            return msgspec.structs.replace(state, open=state.open.set(event.send_id, begun))
        case PaneTextSent() | PaneSendFailed() if event.send_id in state.open:
            return msgspec.structs.replace(state, open=state.open.delete(event.send_id))
        case _:
            return state


# --- rules ---------------------------------------------------------------------------------------------------------


def check(request: PaneSend, state: Sends, layouts: Layouts, agents: Agents) -> Pane:
    """The pane that the text is for. Raises `Rejection`."""
    pane = known_pane(request.pane_id, layouts, agents)
    size = len(request.text.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_TEXT_BYTES:
        raise Rejection(
            "validation_failed",
            f"text has {size} bytes; 1 to {MAX_TEXT_BYTES} may be sent at once",
            field="text",
            reason=f"{size} bytes of UTF-8, not 1 to {MAX_TEXT_BYTES}",
        )
    why = _cannot_take_text(pane)
    if why is not None:
        raise Rejection(
            "managed_pane_not_ready",
            f"pane {pane.pane_id} is {pane.state}{why}",
            pane_id=pane.pane_id,
            current_state=str(pane.state),
        )
    waiting = sum(send.pane_id == pane.pane_id for send in state.open.values())
    if waiting >= MAX_OPEN_OF_PANE or len(state.open) >= MAX_OPEN:
        raise Rejection(
            "tower_busy",
            f"{waiting} texts wait for pane {pane.pane_id}, {len(state.open)} in all; ask again",
            queued=len(state.open),
        )
    return pane


def send(request: PaneSend, facts: Facts, state: Sends, layouts: Layouts, agents: Agents) -> tuple[Event, ...]:
    pane = check(request, state, layouts, agents)
    if facts.text_digest is None:
        # It was looked at before this batch, when the pane could not take text yet.
        raise Rejection("tower_busy", f"pane {pane.pane_id} is ready only now; ask again", queued=len(state.open))
    return (
        PaneSendRequested(
            pane_id=pane.pane_id,
            layout_id=pane.layout_id,
            send_id=facts.ids[0],
            digest=facts.text_digest,
            bytes_=len(request.text.encode()),
            enter=request.enter,
        ),
    )


def report(request: SendReport, state: Sends, layouts: Layouts) -> tuple[Event, ...]:
    """What the effect tells; `()` for a sending that has ended, and for a begin where nobody is there to type for."""
    send, pane = state.open.get(request.send_id), layouts.panes.get(request.pane_id)
    if send is None or pane is None or pane.pane_id != send.pane_id:
        return ()
    match request:
        case PaneRecordSendBegun():
            if send.begun or _cannot_take_text(pane) is not None:
                return ()
            return (PaneSendBegun(pane_id=pane.pane_id, layout_id=pane.layout_id, send_id=send.send_id),)
        case PaneRecordTextSent(seen=seen):
            return (PaneTextSent(pane_id=pane.pane_id, layout_id=pane.layout_id, send_id=send.send_id, seen=seen),)
        case PaneRecordSendFailed(reason=reason):
            return (
                PaneSendFailed(pane_id=pane.pane_id, layout_id=pane.layout_id, send_id=send.send_id, reason=reason),
            )


def _cannot_take_text(pane: Pane) -> str | None:
    """Why, as the end of a sentence; None for a pane whose process runs as far as is known."""
    if pane.state not in (PaneState.READY, PaneState.DEGRADED):
        return ": only a ready or degraded pane takes text"
    if pane.failed_stage in (Stage.LAUNCH_COMMAND, Stage.PROCESS_EXITED):
        return " and its process has ended: there is nothing that could read text"
    return None
