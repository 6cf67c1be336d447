"""Bundles as documented in `/openapi.json`; see `rows.py`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.http.rows import TIME, PageOf, Row

BUNDLE_ID = "7d1c40f4f1c7a2cf9c3b1f2bb8ac3f5e"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

BUNDLE: dict[str, Any] = {
    "id": BUNDLE_ID,
    "name": "reviewer",
    "uri": "/srv/bundles/reviewer",
    "version": "1.2.0",
    "description": "reviews patches",
    "state": "serving",
    "digest": DIGEST,
    "warnings": [],
    "problem": None,
    "overlay": ["/etc/bundles/company.yaml"],
    "open_requests": [],
    "reload_count": 3,
    "prepare_s": 0.004,
    "first_seen_at": TIME,
    "prepared_at": TIME,
    "failed_at": None,
    "updated_at": TIME,
}
SERVING: dict[str, Any] = {
    "digest": DIGEST,
    "instruction": "Review the patch.",
    "plan": {"tools": [{"module": "tool-bash"}], "runtime": {"kind": "echo"}},
    "context": [{"name": "reviewer:rules", "path": "/srv/bundles/reviewer/rules.md", "digest": DIGEST, "length": 420}],
    "files": ["/srv/bundles/reviewer/bundle.md", "/srv/bundles/reviewer/rules.md"],
}


class Problem(BaseModel):
    code: str
    message: str
    details: dict[str, Any]


class Bundle(Row):
    """A bundle that the tower has prepared, or has tried to."""

    model_config = ConfigDict(json_schema_extra={"examples": [BUNDLE]})

    id: str = Field(description="The first 32 hex digits of the URI's blake2b.")
    name: str = Field(description="Empty where it could not be read yet.")
    uri: str
    version: str = Field(description="As the bundle says; what tells contents apart is the digest.")
    description: str
    state: Literal["serving", "failed"] = Field(description="`failed`: nothing of it serves.")
    digest: str | None = Field(description="Of what serves: blake2b-256 of all that it was made from.")
    warnings: list[str]
    problem: Problem | None = Field(description="Why the last preparation failed; what serves is older then.")
    overlay: list[str] = Field(description="Includes of its overlay, as the tower wrote them last.")
    open_requests: list[str] = Field(description="Ids of reloads and changes of the overlay that are not done.")
    reload_count: int
    prepare_s: float | None = Field(description="How long the last preparation took.")
    first_seen_at: datetime
    prepared_at: datetime | None
    failed_at: datetime | None
    updated_at: datetime


class ContextEntry(BaseModel):
    name: str
    path: str
    digest: str
    length: int = Field(description="Characters.")


class Serving(BaseModel):
    """What sessions get that are spawned now. Values of secret-looking names are `<redacted>`."""

    digest: str
    instruction: str
    plan: dict[str, Any]
    context: list[ContextEntry]
    files: list[str] = Field(description="What it was made from.")


class WholeBundle(Bundle):
    """One bundle with what serves of it, from memory."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**BUNDLE, "serving": SERVING}]})

    serving: Serving | None


class BundlePage(PageOf[Bundle]):
    pass
