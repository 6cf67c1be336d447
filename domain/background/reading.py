"""Definitions as people write them, checked: what is wrong is told with the path of its field."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from domain.background import configs
from domain.background.configs import Check
from domain.background.definition import (
    MAX_DECLARED,
    MAX_POOL,
    MAX_QUEUE,
    MAX_RESTARTS,
    MAX_TRIGGERS,
    Definition,
    TriggerDefinition,
)
from domain.background.instructions import fault
from domain.promises import MAX_TIMEOUT_S
from domain.sessions.decide import invalid

FIELD: Final = "background_sessions"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def _name(value: Any) -> str | None:
    right = isinstance(value, str) and _NAME.match(value) is not None
    return None if right else "1 to 64 characters of A-Z a-z 0-9 _ -, the first one no sign"


def _template(value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return "a text"
    wrong = fault(value)
    return None if wrong is None else f"a template with known fields ({wrong})"


_FIELDS: Final[Mapping[str, Check]] = {
    "name": _name,
    "bundle": configs.is_text,
    "pool_size": configs.is_whole(1, MAX_POOL),
    "queue_size": configs.is_whole(1, MAX_QUEUE),
    "overflow": configs.is_one_of("block", "drop_oldest", "reject"),
    "coalesce": configs.is_one_of("none", "latest"),
    "instruction": _template,
    "instruction_template": _template,
    "on_complete_emit": configs.is_name,
    "on_error_emit": configs.is_name,
    "start_on_parent_start": configs.is_bool,
    "stop_on_parent_stop": configs.is_bool,
    "restart_on_failure": configs.is_bool,
    "max_restarts": configs.is_whole(0, MAX_RESTARTS),
    "restart_window": configs.is_number(0, MAX_TIMEOUT_S),
    "timeout": configs.is_number(0, MAX_TIMEOUT_S),
}


def declared_in(plan: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """What a bundle declares: at its top level, and in the config of its orchestrator, which existing bundles use; of
    two of one name the one at the top level. Not checked but for that."""
    session = _map(plan.get("session"))
    inner = _map(_map(session.get("orchestrator")).get("config")).get(FIELD)
    at_top = [_map(each) for each in _list(plan.get(FIELD))]
    names = {each.get("name") for each in at_top}
    found = [each for each in map(_map, _list(inner)) if each.get("name") not in names]
    return tuple(dict(each) for each in (*at_top, *found))


def definitions(given: Sequence[Any], field: str = FIELD) -> tuple[Definition, ...]:
    """Raises `validation_failed`, its field being such as `background_sessions[2].triggers[0].config.cron`."""
    if len(given) > MAX_DECLARED:
        raise invalid(field, f"at most {MAX_DECLARED}")
    made = tuple(definition(each, f"{field}[{at}]") for at, each in enumerate(given))
    names: set[str] = set()
    for at, each in enumerate(made):
        if each.name in names:
            raise invalid(f"{field}[{at}].name", f"{each.name} is there twice")
        names.add(each.name)
    return made


def definition(given: Any, field: str) -> Definition:
    if not isinstance(given, Mapping):
        raise invalid(field, "a map with name, bundle and triggers was expected")
    told = {str(key): value for key, value in cast(Mapping[Any, Any], given).items()}
    for required in ("name", "bundle"):
        if told.get(required) is None:
            raise invalid(f"{field}.{required}", "is missing")
    values = {key: value for key, value in told.items() if key != "triggers" and value is not None}
    for key, value in values.items():
        check = _FIELDS.get(key)
        if check is None:
            raise invalid(f"{field}.{key}", f"is no field; there are triggers, {', '.join(_FIELDS)}")
        _demand(f"{field}.{key}", check(value), value)
    template = values.pop("instruction_template", None)
    if template is not None and "instruction" in values:
        raise invalid(f"{field}.instruction_template", "stands beside instruction, which is the same")
    if template is not None:
        values["instruction"] = template
    for name in ("restart_window", "timeout"):
        if name in values:
            values[name] = float(values[name])
    return Definition(**values, triggers=_triggers(told.get("triggers"), f"{field}.triggers"))


def _triggers(given: Any, field: str) -> tuple[TriggerDefinition, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise invalid(field, "a list of at least one trigger was expected")
    listed = cast(Sequence[Any], given)
    if len(listed) > MAX_TRIGGERS:
        raise invalid(field, f"at most {MAX_TRIGGERS}")
    return tuple(_trigger(each, f"{field}[{at}]") for at, each in enumerate(listed))


def _trigger(given: Any, field: str) -> TriggerDefinition:
    if not isinstance(given, Mapping):
        raise invalid(field, "a map with type and config was expected")
    told = _map(given)
    type_ = _type(told, field)
    for key in told:
        if key not in ("type", "module", "source", "config"):
            raise invalid(f"{field}.{key}", "is no field; there are type and config")
    config: Any = told.get("config")
    if config is not None and not isinstance(config, Mapping):
        raise invalid(f"{field}.config", "a map was expected")
    values = {str(key): value for key, value in _map(config).items() if value is not None}
    return TriggerDefinition(type=type_, config=_config(type_, values, f"{field}.config"))


def _type(told: Mapping[str, Any], field: str) -> str:
    """As it is named, or as the ecosystem of the bundles names its module: `trigger-session-event`."""
    module: Any = told.get("module")
    if told.get("type") is None and isinstance(module, str):
        named, key = module.removeprefix("trigger-").replace("-", "_"), "module"
    else:
        named, key = told.get("type"), "type"
    if not isinstance(named, str) or _TYPE.match(named) is None:
        raise invalid(f"{field}.{key}", f"one of {', '.join(configs.CONFIGS)}, or a type of an installed package")
    return named


def _config(type_: str, values: dict[str, Any], field: str) -> dict[str, Any]:
    checks = configs.CONFIGS.get(type_)
    if checks is None:
        return _plain(values, field)
    for key, value in values.items():
        check = checks.get(key)
        if check is None:
            raise invalid(f"{field}.{key}", f"is no field of {type_}; there are {', '.join(checks) or 'none'}")
        _demand(f"{field}.{key}", check(value), value)
    for key in configs.REQUIRED.get(type_, ()):
        if key not in values:
            raise invalid(f"{field}.{key}", "is missing")
    _demand_one(type_, values, field)
    return {**configs.DEFAULTS.get(type_, {}), **values}


def _demand_one(type_: str, values: Mapping[str, Any], field: str) -> None:
    if type_ not in configs.ONE_OF:
        return
    (one, other), needed = configs.ONE_OF[type_]
    if one in values and other in values:
        raise invalid(f"{field}.{other}", f"stands beside {one}: one of both")
    if needed and one not in values and other not in values:
        raise invalid(f"{field}.{one}", f"is missing, or {other}")


def _plain(values: dict[str, Any], field: str) -> dict[str, Any]:
    """As the log gives them back."""
    try:
        return msgspec.json.decode(msgspec.json.encode(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid(field, f"values that JSON can hold were expected: {error}") from None


def _demand(field: str, expected: str | None, value: Any) -> None:
    if expected is not None:
        raise invalid(field, f"{expected} was expected, not {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _map(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast(Sequence[Any], value) if isinstance(value, list | tuple) else ()
