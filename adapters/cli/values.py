"""JSON values on the command line."""

import json
import sys
from typing import Any

from adapters.cli.failures import Failure


def value_of(text: str | None) -> Any:
    """What stands on a command line for a value: JSON, or else the text; `-` reads it from standard input."""
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise Failure(f"standard input is not UTF-8, at byte {error.start}") from error
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
