"""A command through the durable door: plain nats-py, nothing of AgentTower.

    python examples/publisher.py layout create '{"container_id": "host", "template_name": "1m+2s",
                                                 "tmux_session_name": "from-python"}'

Once the broker has acknowledged it, the command is queued for good, whether a tower runs or not; with a broker of its
own it is decided when one does. NATS_URL is the broker, AGENTTOWER_NODE the tower's name.
"""

import asyncio
import json
import os
import sys

import nats
import uuid_utils


async def main(noun: str, verb: str, data: str) -> None:
    node = os.environ.get("AGENTTOWER_NODE", "local")
    connection = await nats.connect(os.environ["NATS_URL"])
    inbox = connection.new_inbox()
    answers = await connection.subscribe(inbox)
    command_id = str(uuid_utils.uuid7())
    queued = await connection.jetstream().publish(
        f"tower.cmd.{node}.host.{noun}.{verb}",
        json.dumps({"id": command_id, "data": json.loads(data)}).encode(),
        headers={"Nats-Msg-Id": command_id, "Tower-Reply-To": inbox},
    )
    print(f"queued at {queued.seq}: {command_id}", flush=True)
    outcome = await answers.next_msg(timeout=float(os.environ.get("OUTCOME_TIMEOUT_S", "60")))
    print(outcome.data.decode())
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
