"""Arguments and command sequences as text for tmux's own command parser (man tmux, "PARSING SYNTAX").

One line holds one sequence: every byte that the parser, or the line itself, could take for something else is escaped.
"""

import re
from collections.abc import Sequence

from handlers.ports import TerminalError

Command = Sequence[str]

_PLAIN = re.compile(rb"[A-Za-z0-9_/.:@=+,-]+")
_SHELL_PLAIN = re.compile(r"[A-Za-z0-9_/.:@+,-]+")


def quote(argument: str) -> str:
    """One argument as tmux reads it back byte for byte. A lone surrogate stands for the byte it escapes."""
    raw = argument.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise TerminalError("an argument for tmux cannot hold a NUL byte")
    if _PLAIN.fullmatch(raw):
        return argument
    # Inside double quotes \ " $ and a first ~ are special; octal escapes keep control and broken bytes off the line.
    return '"' + "".join(_escaped(char) for char in argument) + '"'


def _escaped(char: str) -> str:
    if char in '\\"$':
        return "\\" + char
    if char < " " or char in "~\x7f":
        return f"\\{ord(char):03o}"
    if "\ud800" <= char <= "\udfff":
        return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
    return char


def sequence(commands: Sequence[Command]) -> str:
    """Commands as one line: tmux runs them without serving anything in between, and stops at the first error."""
    return " ; ".join(" ".join(quote(word) for word in command) for command in commands)


def shell_quote(word: str) -> str:
    """One word for /bin/sh."""
    if _SHELL_PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
