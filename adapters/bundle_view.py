"""What serves of a bundle, as people and programs are shown it: without secrets."""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.telemetry import REDACTED, is_secret_key
from handlers.bundle_ports import PreparedBundle


def shown(bundle: PreparedBundle) -> dict[str, Any]:
    """What serves, without secrets."""
    plan = msgspec.to_builtins(bundle.plan)
    paths = plan.pop("context")
    for name in ("name", "version", "description", "instruction"):
        del plan[name]
    return {
        "digest": bundle.digest,
        "instruction": bundle.instruction,
        "plan": without_secrets({name: value for name, value in plan.items() if value}),
        "context": [
            {"name": text.name, "path": paths.get(text.name, ""), "digest": text.digest, "length": len(text.text)}
            for text in bundle.context
        ],
        "files": list(bundle.files),
    }


def without_secrets(value: Any, key: str = "") -> Any:
    """Texts under names that look like secrets are not shown; numbers and names of variables are none."""
    match value:
        case Mapping():
            return {name: without_secrets(each, str(name)) for name, each in value.items()}
        case list() | tuple():
            return [without_secrets(each, key) for each in value]
        case str() if is_secret_key(key):
            return REDACTED
        case _:
            return value
