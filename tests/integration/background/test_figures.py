"""What /metrics tells of background sessions and of those who are subscribed."""

import httpx

from tests.integration.background.conftest import DEADLINE_S, Yard, echo, listening
from tests.waiting import eventually


def figures(yard: Yard) -> dict[str, float]:
    """Every figure by its name with its labels."""
    text = httpx.get(f"{yard.desk.tower.running.http}/metrics").text
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name.removeprefix("agenttower_"): float(value) for name, _, value in lines}


async def test_firings_runs_and_what_there_is_now_are_counted(yard: Yard) -> None:
    before = figures(yard)
    yard.write("worker", echo())
    parent = yard.spawn(yard.write("counted", echo(), listening("counted", "count:*")))
    ids = yard.of(parent)
    yard.emit("count:one")
    yard.emit("count:two")
    await yard.until(2, "background.run_ended", id=ids["counted"])
    found = figures(yard)

    def more(name: str) -> float:
        return found.get(name, 0) - before.get(name, 0)

    fired = sum(more(f'triggers_total{{outcome="{each}",type="session_event"}}') for each in ("run", "waiting"))
    assert (fired, more('background_runs_total{outcome="completed"}')) == (2, 2)
    assert more('background_sessions{state="starting"}') + more('background_sessions{state="running"}') == 1
    assert (found["background_running"], found["background_waiting"]) == (0, 0)
    yard.desk.accepted("session", "cancel", {"session_id": parent})
    assert figures(yard)['background_sessions{state="stopped"}'] == before['background_sessions{state="stopped"}']


async def test_those_who_are_subscribed_are_told_with_their_lag(yard: Yard) -> None:
    def lags() -> list[float]:
        return [value for name, value in figures(yard).items() if name.startswith("subscription_lag_events{")]

    assert lags() == []
    url = f"{yard.desk.tower.running.http}/v1/session-events/stream"
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client, client.stream("GET", url) as response:
        assert response.status_code == 200
        await eventually(lambda: lags() == [0.0], "the subscription")
    await eventually(lambda: lags() == [], "its end")
