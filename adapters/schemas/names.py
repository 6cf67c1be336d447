"""Names of the generated files, below `schemas/`."""

from domain.catalogue import EventType, RequestType


def command_file(entry: RequestType) -> str:
    return f"commands/{entry.name}.json"


def event_file(entry: EventType) -> str:
    return f"events/{entry.name}.v{entry.version}.json"
