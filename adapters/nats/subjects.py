"""Names of streams and subjects, and what may stand in them: the only place where they are spelled."""

import re
from typing import Final, NamedTuple

NODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
TOKEN: Final = re.compile(r"[A-Za-z0-9_:-]{1,128}\Z")


def checked_node(node: str) -> str:
    if NODE.match(node) is None:
        raise ValueError(f"node {node!r} must be 1 to 32 characters of A-Z a-z 0-9 _ -")
    return node


def checked_token(token: str) -> str:
    """`token` if it can stand in a subject: no wildcard, dot, space or line break."""
    if TOKEN.match(token) is None:
        raise ValueError(f"{token!r} must be 1 to 128 characters of A-Z a-z 0-9 _ : -")
    return token


def commands_stream(node: str) -> str:
    return f"TOWER_COMMANDS_{node}"


def events_stream(node: str) -> str:
    return f"TOWER_EVENTS_{node}"


def outcomes_stream(node: str) -> str:
    return f"TOWER_OUTCOMES_{node}"


def output_stream(node: str) -> str:
    return f"TOWER_OUTPUT_{node}"


def timers_stream(node: str) -> str:
    return f"TOWER_TIMERS_{node}"


def command_subject(node: str, origin: str, noun: str, verb: str) -> str:
    """The durable door."""
    return f"tower.cmd.{node}.{checked_token(origin)}.{checked_token(noun)}.{checked_token(verb)}"


def request_subject(node: str, origin: str, noun: str, verb: str) -> str:
    """The request door."""
    return f"tower.req.{node}.{checked_token(origin)}.{checked_token(noun)}.{checked_token(verb)}"


def output_prefix(node: str, execution_id: str) -> str:
    """Of the subjects of an execution's output, `{prefix}.stdout` and `{prefix}.stderr`. What a session writes between
    executions has `session:{session_id}` for an id (`between_executions`), longer than other tokens by that."""
    kind, colon, rest = execution_id.partition(":")
    checked_token(rest if colon and kind == "session" else execution_id)
    return f"tower.log.{node}.{execution_id}"


def rpc_subject(node: str, origin: str, method: str) -> str:
    """A method of the predecessor's; its name may hold dots."""
    return f"tower.rpc.{node}.{checked_token(origin)}.{'.'.join(map(checked_token, method.split('.')))}"


def outcome_subject(node: str, origin: str, command_id: str) -> str:
    return f"tower.out.{node}.{checked_token(origin)}.{checked_token(command_id)}"


def ping_subject(node: str) -> str:
    return f"tower.ctl.{node}.ping"


class Addressed(NamedTuple):
    """Who asks what, from the subject of a command: the broker's permissions make `origin` true."""

    origin: str
    noun: str
    verb: str


def addressed(subject: str) -> Addressed | None:
    """`tower.cmd|req.{node}.{origin}.{noun}.{verb}` taken apart; None for any other subject."""
    tokens = subject.split(".")
    if len(tokens) != 6 or tokens[0] != "tower" or tokens[1] not in ("cmd", "req"):
        return None
    return Addressed(tokens[3], tokens[4], tokens[5])


class Called(NamedTuple):
    """Who calls which method, as in `Addressed`; the method is not checked."""

    origin: str
    method: str


def called(subject: str) -> Called | None:
    """`tower.rpc.{node}.{origin}.{method}` taken apart; None for any other subject."""
    tokens = subject.split(".", 4)
    return Called(tokens[3], tokens[4]) if len(tokens) == 5 and tokens[:2] == ["tower", "rpc"] else None
