"""Running a program inside a container as the user whose tmux server is used."""

from domain.containers import ContainerFacts

ROOT = "root"


def exec_words(cli: str, container: ContainerFacts) -> tuple[str, ...]:
    """What stands before a program's own argv: `docker exec -i -u USER ID`. Its stdin is passed on."""
    return _words(cli, container, "-i")


def attached_words(cli: str, container: ContainerFacts) -> tuple[str, ...]:
    """The same with the terminal that this program runs in: `docker exec -it …`."""
    return _words(cli, container, "-it")


def _words(cli: str, container: ContainerFacts, how: str) -> tuple[str, ...]:
    # A container may have no passwd file in which root has a name.
    user = "0" if container.user == ROOT else container.user
    return (cli, "exec", how, *(("-u", user) if user else ()), container.container_id)
