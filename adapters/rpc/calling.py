"""One call of a method, whichever door it came through: parameters in, `{"ok": …}` out, never an exception."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from adapters.rpc import methods, spoken
from adapters.rpc.queries import Models
from domain.errors import INTERNAL_ERROR_MESSAGE, Rejection
from domain.messages import HOST
from handlers import wire
from handlers.ports import Ids, LogError
from projections.ports import DatabaseTrouble

Answer = dict[str, Any]
"""`{"ok": true, "result": …}` or `{"ok": false, "error": {code, message, details}}`; for `app.` names with
`app_contract_version`."""

OUTCOME_TIMEOUT_S: Final = 30.0
AFTER_TIMEOUT_S: Final = 5.0

SEEN_TIMEOUT_S: Final = 2.0
"""How long the answer to an accepted command waits for the read models, whose position these methods do not tell."""

_log = structlog.get_logger("rpc")


class AllModels(Models, spoken.SessionModels, Protocol):
    def seen_from(self, container_id: str, /) -> Models:
        """The same, narrowed to what a peer in that container may see."""
        ...


class Ask(Protocol):
    """Hands a command to the writer and waits for its outcome."""

    async def __call__(
        self,
        *,
        noun: str,
        verb: str,
        data: Any,
        idempotency_key: str | None,
        command_id: str | None,
        origin: str,
        correlation_id: str | None,
        traceparent: str | None,
    ) -> Mapping[str, Any]: ...


class Calls:
    """Answers calls. `caller` is `host` or a container id, as the broker or the kernel says."""

    def __init__(
        self,
        *,
        ask: Ask,
        read_models: AllModels,
        ids: Ids,
        outcome_timeout_s: float = OUTCOME_TIMEOUT_S,
        after_timeout_s: float = AFTER_TIMEOUT_S,
    ) -> None:
        self._ask = ask
        self._models = read_models
        self._ids = ids
        self._outcome_timeout_s = outcome_timeout_s
        self._after_timeout_s = after_timeout_s

    async def call(self, caller: str, name: str, body: bytes) -> Answer:
        """The answer to method `name` with the JSON object `body` as its parameters (empty: none)."""
        try:
            return succeeded(name, await self._result(caller, name, body))
        except Rejection as refusal:
            return refused(name, refusal)
        except DatabaseTrouble as error:
            return refused(name, _unavailable("database", error))
        except LogError as error:
            return refused(name, _unavailable("broker", error))
        except Exception:  # noqa: BLE001 -- the last place that can still answer
            _log.exception("call failed", method=name[:200])
            return refused(name, Rejection("internal_error", INTERNAL_ERROR_MESSAGE))

    async def _result(self, caller: str, name: str, body: bytes) -> Any:
        method = methods.find(name, caller)
        parameters = _decoded(body)
        match method.does:
            case methods.Command(noun, verb):
                return await self._command(caller, noun, verb, parameters)
            case methods.Query(reads, kind):
                try:
                    asked = msgspec.convert(parameters, kind)
                except msgspec.ValidationError as error:
                    raise wire.invalid(error) from error
                models = self._seen_by(caller)
                if asked.after is not None:
                    await models.wait_for(asked.after, self._after_timeout_s, model="layouts")
                return await reads(models, caller, asked)

    async def _command(self, caller: str, noun: str, verb: str, parameters: dict[str, Any]) -> Any:
        command_id = parameters.pop("command_id", None)
        wait_s = spoken.wait_of(noun, verb, parameters)
        if command_id is None:
            command_id = self._ids.uuid7()
        elif not isinstance(command_id, str):
            raise _invalid("command_id", "not a UUIDv7 in its 36 character form")
        try:
            async with asyncio.timeout(self._outcome_timeout_s):
                outcome = await self._ask(
                    noun=noun,
                    verb=verb,
                    data=parameters,
                    idempotency_key=None,
                    command_id=command_id,
                    origin=caller,
                    correlation_id=None,
                    traceparent=None,
                )
        except TimeoutError:
            raise Rejection(
                "outcome_pending",
                f"no outcome within {self._outcome_timeout_s:g} s; ask again with the same command_id",
                command_id=command_id,
                timeout_s=self._outcome_timeout_s,
            ) from None
        if outcome["status"] != "accepted":
            error = outcome["error"]
            raise Rejection(error["code"], error["message"], **error["details"])
        # Who calls by these names cannot ask for a position: what was accepted is seen by the next call.
        with contextlib.suppress(Rejection, DatabaseTrouble, LogError):
            await self._models.wait_for(outcome["position"], SEEN_TIMEOUT_S, model="layouts")
            if wait_s:
                return await spoken.with_output(self._models, verb, outcome, wait_s, self._after_timeout_s)
        return outcome["result"]

    def _seen_by(self, caller: str) -> Models:
        return self._models if caller == HOST else self._models.seen_from(caller)


def succeeded(name: str, result: Any) -> Answer:
    return _versioned(name, {"ok": True, "result": result})


def refused(name: str, refusal: Rejection) -> Answer:
    error = {"code": refusal.code, "message": refusal.message, "details": refusal.details}
    return _versioned(name, {"ok": False, "error": error})


def _versioned(name: str, answer: Answer) -> Answer:
    if name.startswith(methods.APP_PREFIX):
        answer["app_contract_version"] = methods.CONTRACT_VERSION
    return answer


def _decoded(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        decoded = msgspec.json.decode(body)
        # Looked at whole: a name that stands twice would be dropped silently otherwise.
        wire.refuse_repeated(body, None, -1)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise wire.invalid(error) from error
    if not isinstance(decoded, dict):
        raise _invalid("payload", "expected an object of parameters")
    return decoded


def _invalid(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


def _unavailable(part: str, error: Exception) -> Rejection:
    _log.warning("not answered", part=part, reason=str(error))
    message = f"the tower's {part} does not answer at the moment; try again"
    return Rejection("temporarily_unavailable", message, part=part)
