"""Subscriptions, background sessions and triggers as documented in `/openapi.json`; see `rows.py`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from adapters.http.rows import COMMAND_ID, TIME, PageOf

TOLD: dict[str, Any] = {
    "name": "work:completed",
    "source_session_id": "review-1",
    "data": {"issue_id": 7},
    "position": 1234,
    "time": TIME,
    "id": COMMAND_ID,
    "correlation_id": COMMAND_ID,
}
SUBSCRIPTION: dict[str, Any] = {
    "id": "http-1",
    "names": ["work:*"],
    "sources": [],
    "position": 1230,
    "lag": 4,
}


class Subscription(BaseModel):
    """Somebody who listens to what sessions tell."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUBSCRIPTION]})

    id: str = Field(description="`http-N` of this server, or the name of a consumer at the broker.")
    names: list[str]
    sources: list[str] = Field(description="Empty for all.")
    position: int = Field(ge=0, description="The last entry of the log that it has come by.")
    lag: int = Field(ge=0, description="Entries that it has not come by; at the broker only those that it asks for.")


class SubscriptionPage(PageOf[Subscription]):
    pass
