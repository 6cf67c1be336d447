"""A person in the loop: code asks a question, the tower dies while it waits, the answer comes over HTTP.

    python examples/human_in_the_loop.py

Starts a tower of its own in a temporary folder with `agenttower up`; all else is HTTP and the standard library.
"""

import json
import os
import subprocess
import tempfile
import urllib.request
from pathlib import Path

CODE = """
order = {"item": "lamp", "price": 480}
answer = input(f"Buy a {order['item']} for {order['price']}? ")
print("buying it" if answer == "yes" else "leaving it")
{"bought": answer == "yes", **order}
"""


def start(home: Path) -> subprocess.Popen[str]:
    """A tower that takes commands."""
    environment = {**os.environ, "AGENTTOWER_HOME": str(home), "AGENTTOWER_HTTP": "127.0.0.1:0"}
    tower = subprocess.Popen(["agenttower", "up"], env=environment, stdout=subprocess.PIPE, text=True)
    assert tower.stdout is not None
    if not any("AgentTower runs" in line for line in tower.stdout):
        raise SystemExit("the tower does not start")
    return tower


def address(home: Path) -> str:
    return json.loads((home / "tower.json").read_text())["http"]


def get(home: Path, path: str) -> dict:
    with urllib.request.urlopen(address(home) + path, timeout=90) as answer:
        return json.load(answer)


def command(home: Path, noun: str, verb: str, **data: object) -> dict:
    """What an accepted command gives. Whoever may read the token is the operator."""
    request = urllib.request.Request(
        f"{address(home)}/v1/commands",
        data=json.dumps({"noun": noun, "verb": verb, "data": data}).encode(),
        headers={"Authorization": f"Bearer {(home / 'http.token').read_text().strip()}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]


def question(home: Path, execution_id: str) -> dict:
    """The first question that the execution asks, once it does: a promise that is pending."""
    asked = f"exec:{execution_id}:input:1"
    with urllib.request.urlopen(f"{address(home)}/v1/events/stream?kind=promise&after_position=0") as events:
        for line in events:
            if line.startswith(b"data:") and (event := json.loads(line[5:]))["subject"] == asked:
                return event["data"]["data"]
    raise SystemExit("the tower ended")


def main(home: Path) -> None:
    tower = start(home)
    try:
        # retry "safe": it may run again from its first line when the tower dies in the midst.
        execution_id = command(home, "execution", "request", code=CODE, retry="safe")["execution_id"]
        print("asked:     ", question(home, execution_id)["prompt"], flush=True)

        tower.kill()
        tower.wait()
        print("the tower is dead", flush=True)
        tower = start(home)
        print("another one runs; the question is still open", flush=True)

        command(home, "execution", "answer", execution_id=execution_id, value="yes")
        ended = get(home, f"/v1/executions/{execution_id}?wait=60")
        print("answered:   yes")
        print(f"it is {ended['state']} at attempt {ended['attempt']}, with the value", json.dumps(ended["value"]))
    finally:
        tower.terminate()
        tower.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="agenttower-") as folder:
        main(Path(folder))
