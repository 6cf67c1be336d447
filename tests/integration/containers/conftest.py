"""Real containers: a podman for each worker, and the same tests through the command lines of podman and docker."""

from collections.abc import Callable, Iterator

import pytest

from tests.integration.containers.engines import Container, Podman


@pytest.fixture(params=["podman", "docker"])
def cli(request: pytest.FixtureRequest, engine: Podman) -> str:
    """The program for the setting `container_cli`, either of both on the same containers."""
    return engine.command_line(request.param)


@pytest.fixture
def start(engine: Podman) -> Iterator[Callable[..., Container]]:
    """Starts containers that are removed after the test."""
    started: list[Container] = []

    def make(**options: object) -> Container:
        started.append(engine.start(**options))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for container in started:
        engine.run("rm", "-f", "-t", "0", "-i", container.container_id)
