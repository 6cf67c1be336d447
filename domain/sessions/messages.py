"""What a conversation is made of."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a transcript. `role`: system, user, assistant, tool; `name`: of the tool or agent, where there is one."""

    role: str
    content: str
    name: str | None = None
