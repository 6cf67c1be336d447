"""Running a program inside a container as the user whose tmux server is used."""

from domain.containers import ContainerFacts

ROOT = "root"


def exec_words(cli: str, container: ContainerFacts) -> tuple[str, ...]:
    """What stands before a program's own argv: `docker exec -i -u USER ID`. Its stdin is passed on."""
    # A container may have no passwd file in which root has a name.
    user = "0" if container.user == ROOT else container.user
    return (cli, "exec", "-i", *(("-u", user) if user else ()), container.container_id)
