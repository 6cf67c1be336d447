"""A plan that is given whole, instead of a bundle: the same sections, without files."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.bundles.layers import plan_of
from domain.bundles.plan import Plan
from domain.bundles.shapes import faults, includes_of, layer_of
from domain.errors import Rejection

NAME: Final = "inline"
"""Of a plan that does not say another."""


def inline_plan(given: Mapping[str, Any]) -> Plan:
    """Raises `bundle_invalid`, as for a file, without file and line: also for what would have to be read."""
    for fault in faults(given, top=False):
        raise _invalid(fault.field, fault.expected, fault.found)
    if includes_of(given):
        raise _invalid("includes", "no includes in a plan that is given whole", "a list")
    layer = layer_of(given)
    if layer.context:
        raise _invalid("context", "no files in a plan that is given whole", "a map")
    for name, agent in layer.agents.items():
        if agent.required:
            raise _invalid("agents.include", f"{name} as a map: no files in a plan that is given whole", "a name")
    plan = plan_of(layer, agents={name: agent.inline for name, agent in layer.agents.items()})
    return plan if plan.name else msgspec.structs.replace(plan, name=NAME)


def _invalid(field: str, expected: str, found: str) -> Rejection:
    message = f"the plan is not one: {field or 'it'} has to be {expected}, not {found}"
    return Rejection("bundle_invalid", message, file=None, line=None, field=field, expected=expected)
