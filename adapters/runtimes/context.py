"""What was said before, handed over with an instruction to a program that starts anew for each turn.

`text`: what the system says first, then the conversation, each message between tags of its role, then the instruction.

    You review patches.

    <conversation>
    <user>
    look at a.py
    </user>
    <assistant>
    it has no tests
    </assistant>
    </conversation>

    now b.py

`json`: one object, {"context": [{"role", "content", "name"?}], "instruction"}. `none`: the instruction alone. Without
anything said before, `text` is the instruction alone as well.
"""

from collections.abc import Sequence

import msgspec

from adapters.runtimes.shapes import Context
from handlers.session_ports import Message, Turn


def handed_over(turn: Turn, how: Context) -> str:
    match how:
        case "text":
            return _text(turn)
        case "json":
            messages = [_plain(message) for message in turn.context]
            return msgspec.json.encode({"context": messages, "instruction": turn.instruction}).decode()
        case "none":
            return turn.instruction


def _text(turn: Turn) -> str:
    parts = [message.content for message in turn.context if message.role == "system"]
    said = [message for message in turn.context if message.role != "system"]
    if said:
        parts.append(_conversation(said))
    return "\n\n".join([*parts, turn.instruction])


def _conversation(messages: Sequence[Message]) -> str:
    lines = ["<conversation>"]
    for message in messages:
        name = "" if message.name is None else f' name="{message.name}"'
        lines += [f"<{message.role}{name}>", message.content, f"</{message.role}>"]
    return "\n".join([*lines, "</conversation>"])


def _plain(message: Message) -> dict[str, str]:
    named = {} if message.name is None else {"name": message.name}
    return {"role": message.role, "content": message.content, **named}
