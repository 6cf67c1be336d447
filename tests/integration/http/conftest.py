"""`world`: a tower without effects behind a real HTTP server, one a test. `shared_world`: one a module, for tests that
only look or whose traces do not matter to others. Tests here run in the event loop of their module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.http.world import World, running_world
from tests.needs import need


@pytest_asyncio.fixture(loop_scope="module")
async def world() -> AsyncIterator[World]:
    need("tmux")
    async with running_world() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world() -> AsyncIterator[World]:
    need("tmux")
    async with running_world() as running:
        yield running
