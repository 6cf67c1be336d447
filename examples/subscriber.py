"""Every event of a tower as it happens, or from a position on: plain nats-py, nothing of AgentTower.

    python examples/subscriber.py            from now on
    python examples/subscriber.py 1          everything since the first event

NATS_URL is the broker (`cat "$AGENTTOWER_HOME/nats.url"`), AGENTTOWER_NODE the tower's name.
"""

import asyncio
import json
import os
import sys

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy


async def main(position: int | None) -> None:
    node = os.environ.get("AGENTTOWER_NODE", "local")
    connection = await nats.connect(os.environ["NATS_URL"])
    start = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    if position is not None:
        start = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=position)
    events = await connection.jetstream().subscribe(
        f"tower.evt.{node}.>",
        stream=f"TOWER_EVENTS_{node}",
        ordered_consumer=True,
        config=start,
    )
    async for message in events.messages:
        event = json.loads(message.data)
        print(message.metadata.sequence.stream, event["type"], event["subject"], json.dumps(event["data"]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else None))
