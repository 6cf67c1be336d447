"""A tower from elsewhere, through its broker.

`RemoteEngine`: the same calls as `LocalEngine`, on the workers of a tower; durable.

async with RemoteTower(nats_url, http_url=http_url) as tower, RemoteEngine(tower, "notebook") as engine:
    outcome = await engine.execute("1 + 1")

`nats_url` has the operator's credentials: it is the file `nats.url` in the tower's home; `http_url` stands in
`tower.json` there, and is needed for values over 256 KiB alone. A caller that goes away cancels nothing: whoever asks
again with the same `execution_id` and code gets the same end. Nothing is polled: ends and questions are heard as they
are recorded, and looked up in the log after a lost connection.

`RemoteTower.subscribe`: what sessions tell each other.

async with await tower.subscribe(["work:*"]) as told:
    async for event in told:
        print(event.name, event.source_session_id, event.data)
"""

from adapters.nats.subscribing import Subscription
from adapters.remote.engine import RemoteEngine
from adapters.remote.tower import RemoteTower
from domain.sessions.hearing import ToldEvent

__all__ = ("RemoteEngine", "RemoteTower", "Subscription", "ToldEvent")
